//! The client of a command.

use super::context::{Ctx, OwnedString};
use super::raw;
use super::raw::api;

/// What is of interest of a client.
#[derive(Clone, Copy, Debug, Default)]
pub struct Client {
    /// True if it has subscribed to a channel.
    pub subscribes: bool,
    /// True if it is in a MULTI.
    pub in_multi: bool,
    /// True if it has the server tell it of keys that change, because it keeps them itself.
    pub tracks: bool,
}

impl Client {
    /// The client with this number; nothing is true of one that the server does not know.
    pub fn numbered(ctx: Ctx<'_>, id: u64) -> Self {
        if !is_real(ctx, id) {
            return Client::default();
        }
        // SAFETY: an all-zero value is valid: numbers and an array of bytes.
        let mut info: raw::RedisModuleClientInfo = unsafe { std::mem::zeroed() };
        info.version = 1;
        // SAFETY: the server fills the structure of this version.
        let refused =
            unsafe { api!(RedisModule_GetClientInfoById)((&raw mut info).cast(), id) != 0 };
        let has = |flag: u32| !refused && info.flags & u64::from(flag) != 0;
        Client {
            subscribes: has(raw::REDISMODULE_CLIENTINFO_FLAG_PUBSUB),
            in_multi: has(raw::REDISMODULE_CLIENTINFO_FLAG_MULTI),
            tracks: has(raw::REDISMODULE_CLIENTINFO_FLAG_TRACKING),
        }
    }

    /// The client of `ctx`; without one, or a fake one, nothing is true of it.
    pub fn of(ctx: Ctx<'_>) -> Self {
        Client::numbered(ctx, id(ctx))
    }

    /// True if a client has sent the command of `ctx`; another module may run it for none.
    pub fn is_there(ctx: Ctx<'_>) -> bool {
        let id = id(ctx);
        // SAFETY: without a place for it the server returns no information.
        let is_known =
            unsafe { api!(RedisModule_GetClientInfoById)(std::ptr::null_mut(), id) == 0 };
        is_known && is_real(ctx, id)
    }

    /// The name of its user; nothing for a fake one, of a command that another module runs.
    pub fn user(ctx: Ctx<'_>) -> Option<Vec<u8>> {
        user_name(ctx, id(ctx)).map(|name| name.bytes().to_vec())
    }

    /// False for a client that the server does not block: Valkey, one that has subscribed.
    pub fn may_block(self) -> bool {
        !(self.subscribes && raw::is_valkey())
    }
}

/// The number of the client of a command.
pub fn id(ctx: Ctx<'_>) -> u64 {
    // SAFETY: the context is that of a running command.
    unsafe { api!(RedisModule_GetClientId)(ctx.raw()) }
}

/// False for the fake client of a command that another module runs. On Valkey 9.1 `VM_GetClientInfoById` finds the one whose
/// command is running, and asking for the information ends the server: it has no connection. It has no user, either.
fn is_real(ctx: Ctx<'_>, id: u64) -> bool {
    !raw::is_valkey() || user_name(ctx, id).is_some()
}

fn user_name(ctx: Ctx<'_>, id: u64) -> Option<OwnedString> {
    // SAFETY: the context is valid, and the name is the module's to free.
    unsafe {
        let name = api!(RedisModule_GetClientUserNameById)(ctx.raw(), id);
        (!name.is_null()).then(|| OwnedString::new(name))
    }
}
