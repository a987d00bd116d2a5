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
    pub fn numbered(id: u64) -> Self {
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
        // SAFETY: the context is that of a running command.
        Client::numbered(unsafe { api!(RedisModule_GetClientId)(ctx.raw()) })
    }

    /// True if a client has sent the command of `ctx`; another module may run it for none.
    pub fn is_there(ctx: Ctx<'_>) -> bool {
        // SAFETY: the context is that of a running command; without a place for it the server returns no information.
        unsafe {
            let id = api!(RedisModule_GetClientId)(ctx.raw());
            api!(RedisModule_GetClientInfoById)(std::ptr::null_mut(), id) == 0
        }
    }

    /// The name of its user; nothing for a fake one, of a command that another module runs.
    pub fn user(ctx: Ctx<'_>) -> Option<Vec<u8>> {
        // SAFETY: the context is that of a running command; the name is the module's to free.
        unsafe {
            let id = api!(RedisModule_GetClientId)(ctx.raw());
            let name = api!(RedisModule_GetClientUserNameById)(ctx.raw(), id);
            (!name.is_null()).then(|| OwnedString::new(name).bytes().to_vec())
        }
    }

    /// False for a client that the server does not block: Valkey, one that has subscribed.
    pub fn may_block(self) -> bool {
        !(self.subscribes && raw::is_valkey())
    }
}
