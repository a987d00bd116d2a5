//! The server's function table: how its functions are called, and which of them the module
//! requires.

use std::ffi::c_void;

pub use redis_module::raw::*;

/// The function `name` of the server's table, to be called inside `unsafe`.
///
/// The table is filled before anything else runs and never written again. The load fails when
/// [`missing_function`] finds that the server lacks a function for which there is no fallback.
macro_rules! api {
    ($name:ident) => {
        match $crate::redis::api::raw::$name {
            Some(function) => function,
            None => $crate::redis::api::raw::absent(stringify!($name)),
        }
    };
}
pub(crate) use api;

/// Called for a function that is missing although it was checked at load. This cannot happen; if it
/// does, the guard catches the panic.
#[allow(clippy::panic, reason = "nothing can go on without the function")]
#[cold]
pub fn absent(name: &str) -> ! {
    panic!("the server has no {name}");
}

/// True on Valkey: it alone has functions under its own name.
pub fn is_valkey() -> bool {
    let mut function: *mut c_void = std::ptr::null_mut();
    // SAFETY: the name ends with NUL; the server writes the address of the function, if it has it.
    unsafe {
        let place = (&raw mut function).cast();
        api!(RedisModule_GetApi)(c"ValkeyModule_Call".as_ptr(), place) == 0 && !function.is_null()
    }
}

/// The first required function that the server does not have.
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
    needed.into_iter().find(|(_, exists)| !exists).map(|(name, _)| name)
}
