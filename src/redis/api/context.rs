//! The server's context of one callback, and its strings.

use std::ffi::{CStr, c_char, c_int};
use std::marker::PhantomData;
use std::ptr;

use super::raw;
use super::raw::api;
use crate::core::ids::Db;

/// While one of these context flags is set, keys are neither read nor sent.
pub const NOT_NOW: u32 = raw::REDISMODULE_CTX_FLAGS_SLAVE
    | raw::REDISMODULE_CTX_FLAGS_LOADING
    | raw::REDISMODULE_CTX_FLAGS_ASYNC_LOADING
    | raw::REDISMODULE_CTX_FLAGS_LUA
    | raw::REDISMODULE_CTX_FLAGS_MULTI;

/// Minimum delay before work that replication is paused for is tried again, microseconds.
pub const PAUSED_US: u64 = 10_000;

/// The context of the running callback.
#[derive(Clone, Copy)]
pub struct Ctx<'a> {
    raw: *mut raw::RedisModuleCtx,
    callback: PhantomData<&'a ()>,
}

impl Ctx<'_> {
    /// # Safety
    /// `raw` is the context that the server handed to a callback on this thread, and the value
    /// does not outlive that callback.
    pub unsafe fn new(raw: *mut raw::RedisModuleCtx) -> Self {
        Ctx { raw, callback: PhantomData }
    }

    /// The pointer itself.
    pub fn raw(self) -> *mut raw::RedisModuleCtx {
        self.raw
    }

    /// The selected logical database; nothing past 65,535, where there are no registrations.
    pub fn db(self) -> Option<Db> {
        u16::try_from(self.raw_db()).ok().map(Db)
    }

    /// The selected logical database as the server numbers it.
    pub fn raw_db(self) -> c_int {
        // SAFETY: the context is valid while the callback runs (see `new`).
        unsafe { api!(RedisModule_GetSelectedDb)(self.raw) }
    }

    /// Selects a logical database for the calls that follow.
    pub fn select(self, db: Db) {
        self.select_raw(c_int::from(db.0));
    }

    /// The same with the server's database number, which may be past 65,535.
    pub fn select_raw(self, db: c_int) {
        // SAFETY: as in `raw_db`.
        unsafe { api!(RedisModule_SelectDb)(self.raw, db) };
    }

    /// `REDISMODULE_CTX_FLAGS_…`.
    pub fn flags(self) -> u32 {
        // SAFETY: as in `raw_db`.
        unsafe { api!(RedisModule_GetContextFlags)(self.raw) as u32 }
    }

    /// Writes `name key …` to the replication stream and the AOF, in the selected database.
    pub fn replicate(self, name: &CStr, words: &[Text]) {
        self.replicate_with(name, None, words);
    }

    /// The same with one more argument in front of the others.
    pub fn replicate_with(self, name: &CStr, first: Option<&Text>, words: &[Text]) {
        let words = first.into_iter().chain(words);
        let mut raw: Vec<*mut raw::RedisModuleString> = words.map(|text| text.raw).collect();
        // SAFETY: "v" takes an array of strings and its length; the strings live until after the
        // call, and the server copies what it keeps.
        unsafe {
            api!(RedisModule_Replicate)(
                self.raw,
                name.as_ptr(),
                c"v".as_ptr(),
                raw.as_mut_ptr(),
                raw.len(),
            );
        }
    }

    /// Has the server send replies, and handle the other events that there are. It does so only if the context is older
    /// than `busy-reply-threshold`, and at most once in 1/hz. Commands of clients wait, without the flag for them: a
    /// SHUTDOWN in a SHUTDOWN would free the server's state twice.
    pub fn handle_events(self) {
        // SAFETY: as in `raw_db`; the reply to commands of clients is the server's own. The function may be missing.
        unsafe {
            if let Some(handle) = raw::RedisModule_Yield {
                let none = raw::REDISMODULE_YIELD_FLAG_NONE as c_int;
                handle(self.raw, none, std::ptr::null());
            }
        }
    }

    /// Replicates the running command as it was sent.
    pub fn replicate_verbatim(self) {
        // SAFETY: as in `raw_db`.
        unsafe { api!(RedisModule_ReplicateVerbatim)(self.raw) };
    }
}

/// True while a client pause or a failover forbids replication. Replicating in that state fails an
/// assertion, which ends the server.
pub fn must_not_replicate() -> bool {
    // SAFETY: takes no argument and reads the server's state on the server's thread.
    unsafe { api!(RedisModule_AvoidReplicaTraffic)() != 0 }
}

/// A string of the server that the module owns.
#[derive(Debug)]
pub struct Text {
    raw: *mut raw::RedisModuleString,
}

impl Text {
    /// A copy of `bytes`.
    pub fn new(bytes: &[u8]) -> Self {
        // SAFETY: without a context the module must free the string; the bytes are copied.
        let raw = unsafe {
            api!(RedisModule_CreateString)(ptr::null_mut(), bytes.as_ptr().cast(), bytes.len())
        };
        Text { raw }
    }

    /// A string that the server has.
    ///
    /// # Safety
    /// `raw` is a valid string.
    pub unsafe fn hold(raw: *mut raw::RedisModuleString) -> Self {
        // SAFETY: the caller vouches for the string; without a context the module must free what is returned.
        Text { raw: unsafe { api!(RedisModule_HoldString)(ptr::null_mut(), raw) } }
    }

    /// The pointer itself; valid as long as this value.
    pub fn raw(&self) -> *mut raw::RedisModuleString {
        self.raw
    }

    /// Hands the string over to the server, which frees it.
    pub fn into_raw(self) -> *mut raw::RedisModuleString {
        let raw = self.raw;
        std::mem::forget(self);
        raw
    }
}

impl Drop for Text {
    fn drop(&mut self) {
        // SAFETY: made by `new` without a context, freed once.
        unsafe { api!(RedisModule_FreeString)(ptr::null_mut(), self.raw) };
    }
}

/// A string that the server returned and the module must free.
#[derive(Debug)]
pub struct OwnedString(*mut raw::RedisModuleString);

impl OwnedString {
    /// # Safety
    /// `raw` is a string that the server returned for the module to free, without automatic memory
    /// management.
    pub unsafe fn new(raw: *mut raw::RedisModuleString) -> Self {
        OwnedString(raw)
    }

    /// Its bytes.
    pub fn bytes(&self) -> &[u8] {
        // SAFETY: nothing else holds the string, and it lives as long as this value.
        unsafe { bytes(self.0) }
    }
}

impl Drop for OwnedString {
    fn drop(&mut self) {
        // SAFETY: owned since `new`, freed once.
        unsafe { api!(RedisModule_FreeString)(ptr::null_mut(), self.0) };
    }
}

/// The bytes of a string of the server.
///
/// # Safety
/// `raw` is a valid string that is not freed or changed while the bytes are in use.
pub unsafe fn bytes<'a>(raw: *const raw::RedisModuleString) -> &'a [u8] {
    let mut len = 0;
    // SAFETY: the caller vouches for `raw`.
    let start = unsafe { api!(RedisModule_StringPtrLen)(raw, &raw mut len) };
    // SAFETY: the server returns the address and the length of the string's bytes.
    unsafe { raw_bytes(start, len) }
}

/// # Safety
/// `start` is null, or points to `len` readable bytes that are not changed while in use.
pub unsafe fn raw_bytes<'a>(start: *const c_char, len: usize) -> &'a [u8] {
    if start.is_null() || len == 0 {
        return &[];
    }
    // SAFETY: the caller vouches for the bytes.
    unsafe { std::slice::from_raw_parts(start.cast(), len) }
}

/// The words of a command, its name first.
///
/// # Safety
/// `argv` holds `argc` valid strings that outlive the result: those of the running command.
pub unsafe fn words<'a>(argv: *mut *mut raw::RedisModuleString, argc: c_int) -> Vec<&'a [u8]> {
    (0..usize::try_from(argc).unwrap_or(0))
        // SAFETY: within `argc`; the caller vouches for the strings.
        .map(|at| unsafe { bytes(*argv.add(at)) })
        .collect()
}

/// The same as the server has them.
///
/// # Safety
/// As [`words`].
pub unsafe fn raw_words<'a>(
    argv: *mut *mut raw::RedisModuleString,
    argc: c_int,
) -> &'a [*mut raw::RedisModuleString] {
    let len = usize::try_from(argc).unwrap_or(0);
    if argv.is_null() || len == 0 {
        return &[];
    }
    // SAFETY: the caller vouches for `argc` words.
    unsafe { std::slice::from_raw_parts(argv, len) }
}
