//! The keys of a logical database, one after the other.

use crate::redis::api::context::Ctx;
use crate::redis::api::raw;
use crate::redis::api::raw::api;
use crate::redis::api::scan::{self, Cursor};

/// A walk through the keys of the selected database.
#[derive(Debug)]
pub struct Walk {
    cursor: Cursor,
    is_done: bool,
}

impl Walk {
    /// From the beginning.
    pub fn new() -> Self {
        Walk { cursor: Cursor::new(), is_done: false }
    }

    /// True if all keys were visited.
    pub fn is_done(&self) -> bool {
        self.is_done
    }

    /// The next few keys that are wanted. They are not read here: nothing may be opened while the server scans.
    pub fn next(&mut self, ctx: Ctx<'_>, is_wanted: impl Fn(&[u8]) -> bool) -> Vec<Vec<u8>> {
        let mut keys = Vec::new();
        let mut visit = |name: &[u8], _: *mut raw::RedisModuleKey| {
            if is_wanted(name) {
                keys.push(name.to_vec());
            }
        };
        self.is_done = !scan::bucket(ctx, &self.cursor, &mut visit);
        keys
    }

    /// Number of keys of the selected database.
    pub fn keys(&self, ctx: Ctx<'_>) -> u64 {
        // SAFETY: the context is that of a running callback.
        unsafe { api!(RedisModule_DbSize)(ctx.raw()) }
    }
}
