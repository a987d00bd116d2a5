//! Redis Cluster: a key that leaves with its hash slot was not deleted, and the documents of a slot belong to
//! the node that has it.

use std::cell::{Cell, OnceCell};
use std::ops::RangeInclusive;

use super::api::context::{Ctx, Text, bytes, raw_bytes};
use super::api::raw;
use super::api::raw::api;
use crate::core::hash_slot;

/// The filter that calls [`before_command`](Cluster::before_command).
type Filter = unsafe extern "C" fn(*mut raw::RedisModuleCommandFilterCtx);

/// What is known of the running command.
#[derive(Debug, Default)]
pub struct Cluster {
    /// True while MIGRATE runs.
    is_migrating: Cell<bool>,
}

impl Cluster {
    /// Registers `filter` as a command filter, on a server in cluster mode.
    pub fn start(&self, ctx: Ctx<'_>, filter: Filter) {
        if is_on(ctx) {
            // SAFETY: called in RedisModule_OnLoad with its context; the filter is the module's.
            unsafe { api!(RedisModule_RegisterCommandFilter)(ctx.raw(), Some(filter), 0) };
        }
    }

    /// Called before a command is executed, also in scripts.
    ///
    /// # Safety
    /// `filter` is the context that the server has passed to a command filter.
    pub unsafe fn before_command(&self, filter: *mut raw::RedisModuleCommandFilterCtx) {
        // SAFETY: every command has a name, which is valid during the filter.
        let name = unsafe { bytes(api!(RedisModule_CommandFilterArgGet)(filter, 0)) };
        self.is_migrating.set(name.eq_ignore_ascii_case(b"migrate"));
    }

    /// No command is running.
    pub fn end(&self) {
        self.is_migrating.set(false);
    }

    /// True if keys that are deleted now have been moved to another node.
    pub fn moves_keys(&self) -> bool {
        self.is_migrating.get()
    }
}

/// True in cluster mode.
pub fn is_on(ctx: Ctx<'_>) -> bool {
    ctx.flags() & raw::REDISMODULE_CTX_FLAGS_CLUSTER != 0
}

/// Who has the slot of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owner {
    /// This node.
    This,
    /// Another one: it writes the document.
    Other,
    /// The cluster is down.
    Unknown,
}

/// The slots of this node, as they were when they were needed first.
#[derive(Debug, Default)]
pub struct Slots(OnceCell<Vec<RangeInclusive<u16>>>);

impl Slots {
    /// Who has the slot of the key `name`. Not for notifications: there some servers answer for the client.
    ///
    /// The server runs EXISTS for a module only if this node has the slot and, while that is on its way to
    /// another node, the key; otherwise it sets errno to EPERM, or to ENETDOWN while the cluster is down
    /// (observed on Redis 7.0.15, 8.2.3 and Valkey 9.1.2).
    pub fn owner(&self, ctx: Ctx<'_>, name: &Text, key: &[u8]) -> Owner {
        // SAFETY: "s" takes one string, which lives until after the call; the reply is freed.
        let error = unsafe {
            let reply =
                api!(RedisModule_Call)(ctx.raw(), c"EXISTS".as_ptr(), c"s".as_ptr(), name.raw());
            if !reply.is_null() {
                api!(RedisModule_FreeCallReply)(reply);
                return Owner::This;
            }
            std::io::Error::last_os_error().raw_os_error()
        };
        match error {
            Some(libc::ENETDOWN) => Owner::Unknown,
            Some(libc::EPERM) => {
                let own = self.0.get_or_init(|| own_slots(ctx));
                let slot = hash_slot::slot(key);
                let is_own = own.iter().any(|slots| slots.contains(&slot));
                if is_own { Owner::This } else { Owner::Other }
            }
            // EXISTS was renamed.
            _ => Owner::This,
        }
    }
}

fn own_slots(ctx: Ctx<'_>) -> Vec<RangeInclusive<u16>> {
    // SAFETY: "c" takes a string that ends with NUL; the reply and the bytes in it are valid until it is freed.
    unsafe {
        let reply = api!(RedisModule_Call)(
            ctx.raw(),
            c"CLUSTER".as_ptr(),
            c"c".as_ptr(),
            c"NODES".as_ptr(),
        );
        if reply.is_null() {
            return Vec::new();
        }
        let mut len = 0;
        let start = api!(RedisModule_CallReplyStringPtr)(reply, &raw mut len);
        let text = if start.is_null() { &[][..] } else { raw_bytes(start, len) };
        let slots = hash_slot::own_slots(&String::from_utf8_lossy(text));
        api!(RedisModule_FreeCallReply)(reply);
        slots
    }
}
