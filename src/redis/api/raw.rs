//! The server's function table: how a function of it is called, and what must be in it.

pub use redis_module::raw::*;

/// The function `name` of the server's table, to be called inside `unsafe`.
///
/// The table is filled before anything else runs and never written again; [`missing_function`]
/// has refused to load when one that is needed without fallback is not there.
macro_rules! api {
    ($name:ident) => {
        match $crate::redis::api::raw::$name {
            Some(function) => function,
            None => $crate::redis::api::raw::absent(stringify!($name)),
        }
    };
}
pub(crate) use api;

/// A function that was checked at load is gone: impossible, and caught by the guard if not.
#[allow(clippy::panic, reason = "nothing can go on without the function")]
#[cold]
pub fn absent(name: &str) -> ! {
    panic!("the server has no {name}");
}

/// The first function that the module cannot do without and the server does not have.
pub fn missing_function() -> Option<&'static str> {
    // SAFETY: the table was filled by RedisModule_Init on this thread; reading it is a copy.
    let needed = unsafe {
        [
            ("EventLoopAddOneShot", { RedisModule_EventLoopAddOneShot }.is_some()),
            ("SubscribeToServerEvent", { RedisModule_SubscribeToServerEvent }.is_some()),
            ("RegisterStringConfig", { RedisModule_RegisterStringConfig }.is_some()),
            ("RegisterNumericConfig", { RedisModule_RegisterNumericConfig }.is_some()),
            ("LoadConfigs", { RedisModule_LoadConfigs }.is_some()),
            ("SetCommandInfo", { RedisModule_SetCommandInfo }.is_some()),
            ("CreateSubcommand", { RedisModule_CreateSubcommand }.is_some()),
            ("ReplyWithMap", { RedisModule_ReplyWithMap }.is_some()),
            ("ScanKey", { RedisModule_ScanKey }.is_some()),
            ("GetAbsExpire", { RedisModule_GetAbsExpire }.is_some()),
            ("AvoidReplicaTraffic", { RedisModule_AvoidReplicaTraffic }.is_some()),
        ]
    };
    needed.into_iter().find(|(_, there)| !there).map(|(name, _)| name)
}
