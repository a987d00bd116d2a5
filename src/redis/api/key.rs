//! Keys open for reading, in the way that leaves the fewest traces.

use std::cell::Cell;
use std::ffi::c_int;

use super::access_age::Age;
use super::context::{Ctx, Text};
use super::raw;
use super::raw::api;
use super::read_mode::is_counted;

/// Opens keys for reading, and counts those of its reads that the server counts, too.
#[derive(Debug, Default)]
pub struct KeyOpener {
    /// Access modes for reading without a trace, as far as the server has them.
    pub mode: Cell<c_int>,
    /// Keys that were there, of the reads in the server's `keyspace_hits` and `keyspace_misses`.
    pub hits: Cell<u64>,
    /// Keys that were not.
    pub misses: Cell<u64>,
}

impl KeyOpener {
    /// Opens the key `name` of the selected database; nothing when there is no such key.
    pub fn open(&self, ctx: Ctx<'_>, name: &Text) -> Option<Opened> {
        let mode = self.mode.get();
        let opened = Opened::with_mode(ctx, name, mode);
        if is_counted(mode) {
            self.count(opened.is_some());
        }
        opened
    }

    /// The server counts one more read.
    pub fn count(&self, is_hit: bool) {
        let counter = if is_hit { &self.hits } else { &self.misses };
        counter.set(counter.get() + 1);
    }
}

/// A key open for reading.
#[derive(Debug)]
pub struct Opened(*mut raw::RedisModuleKey);

impl Opened {
    /// # Safety
    /// `key` is open, and nothing else closes it.
    pub unsafe fn of(key: *mut raw::RedisModuleKey) -> Self {
        Opened(key)
    }

    /// Opens the key `name` of the selected database in `mode`; nothing when there is no such key.
    pub fn with_mode(ctx: Ctx<'_>, name: &Text, mode: c_int) -> Option<Opened> {
        // SAFETY: the context is that of a running callback in which keys may be opened (not a
        // one-shot), and the name lives until the key is closed.
        let key = unsafe { api!(RedisModule_OpenKey)(ctx.raw(), name.raw(), mode) };
        let opened = (!key.is_null()).then_some(Opened(key))?;
        // Opened as if for writing, a key that is not there is empty.
        (opened.key_type() != raw::REDISMODULE_KEYTYPE_EMPTY).then_some(opened)
    }

    /// When the key expires, milliseconds since 1970, or [`NO_EXPIRY`].
    pub fn expire_ms(&self) -> i64 {
        // SAFETY: the key is open. -1, which is NO_EXPIRY, says that it does not expire.
        unsafe { api!(RedisModule_GetAbsExpire)(self.0) }
    }

    /// Its `REDISMODULE_KEYTYPE_…`.
    pub fn key_type(&self) -> isize {
        // SAFETY: the key is open.
        unsafe { api!(RedisModule_KeyType)(self.0) as isize }
    }

    /// Elements, or bytes of a string.
    pub fn len(&self) -> usize {
        // SAFETY: the key is open.
        unsafe { api!(RedisModule_ValueLength)(self.0) }
    }

    /// The pointer itself; valid as long as this value.
    pub fn raw(&self) -> *mut raw::RedisModuleKey {
        self.0
    }

    /// How long it was not used.
    pub fn age(&self) -> Age {
        // SAFETY: the key is open.
        unsafe { Age::of(self.0) }
    }
}

impl Drop for Opened {
    fn drop(&mut self) {
        // SAFETY: opened by `new`, closed once.
        unsafe { api!(RedisModule_CloseKey)(self.0) };
    }
}
