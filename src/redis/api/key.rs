//! Keys opened for reading with the fewest side effects.

use std::cell::Cell;
use std::ffi::c_int;

use super::access_age::AccessAge;
use super::context::{Ctx, Text};
use super::raw;
use super::raw::api;
use super::read_mode::is_counted;

/// Opens keys for reading, and counts those of its reads that the server's statistics include.
#[derive(Debug, Default)]
pub struct KeyOpener {
    /// The mode that RedisModule_OpenKey is called with, see `read_mode::mode`.
    pub mode: Cell<c_int>,
    /// Reads of existing keys that the server counted in `keyspace_hits`.
    pub hits: Cell<u64>,
    /// Reads of missing keys that the server counted in `keyspace_misses`.
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

    /// Adds a read that the server has counted.
    pub fn count(&self, is_hit: bool) {
        let counter = if is_hit { &self.hits } else { &self.misses };
        counter.set(counter.get() + 1);
    }
}

/// Tells clients that keep the key `name` of the selected database themselves that it has changed.
pub fn signal_change(ctx: Ctx<'_>, name: &Text) {
    // SAFETY: the context is that of a callback; the name lives until after the call.
    unsafe { api!(RedisModule_SignalModifiedKey)(ctx.raw(), name.raw()) };
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
        // SAFETY: the name lives until the key is closed.
        unsafe { Opened::named(ctx, name.raw(), mode) }
    }

    /// The same with a string of the server.
    ///
    /// # Safety
    /// `name` lives until the key is closed.
    pub unsafe fn named(
        ctx: Ctx<'_>,
        name: *mut raw::RedisModuleString,
        mode: c_int,
    ) -> Option<Opened> {
        // SAFETY: the context is that of a running callback in which keys may be opened (not a
        // one-shot); the caller vouches for the name.
        let key = unsafe { api!(RedisModule_OpenKey)(ctx.raw(), name, mode) };
        let opened = (!key.is_null()).then_some(Opened(key))?;
        // Opened for writing, a missing key is reported as empty.
        (opened.key_type() != raw::REDISMODULE_KEYTYPE_EMPTY).then_some(opened)
    }

    /// When the key expires, milliseconds since 1970, or [`NO_EXPIRY`].
    pub fn expire_ms(&self) -> i64 {
        // SAFETY: the key is open. -1, which is NO_EXPIRY, means that it does not expire.
        unsafe { api!(RedisModule_GetAbsExpire)(self.0) }
    }

    /// Its `REDISMODULE_KEYTYPE_…`.
    pub fn key_type(&self) -> isize {
        // SAFETY: the key is open.
        unsafe { api!(RedisModule_KeyType)(self.0) as isize }
    }

    /// The length of the value: elements, or bytes of a string.
    pub fn len(&self) -> usize {
        // SAFETY: the key is open.
        unsafe { api!(RedisModule_ValueLength)(self.0) }
    }

    /// The pointer itself; valid as long as this value.
    pub fn raw(&self) -> *mut raw::RedisModuleKey {
        self.0
    }

    /// Its access age: LRU idle time or LFU frequency.
    pub fn age(&self) -> AccessAge {
        // SAFETY: the key is open.
        unsafe { AccessAge::of(self.0) }
    }
}

impl Drop for Opened {
    fn drop(&mut self) {
        // SAFETY: opened by `new`, closed once.
        unsafe { api!(RedisModule_CloseKey)(self.0) };
    }
}
