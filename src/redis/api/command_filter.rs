//! Command filters: called by the server before each command.

use std::ffi::{CStr, c_int};

use super::context::{Ctx, Text, bytes};
use super::raw;
use super::raw::api;

/// A filter of the module.
pub type Filter = unsafe extern "C" fn(*mut raw::RedisModuleCommandFilterCtx);

/// A registered filter.
#[derive(Debug)]
pub struct Registered(*mut raw::RedisModuleCommandFilter);

impl Registered {
    /// Registers a filter, which is not called for commands that the module itself runs. Not to be called by a
    /// filter.
    pub fn new(ctx: Ctx<'_>, filter: Filter) -> Option<Self> {
        let no_self = raw::REDISMODULE_CMDFILTER_NOSELF as c_int;
        // SAFETY: the context is that of a callback of the server, in which no filter is running; the filter
        // is the module's.
        let raw =
            unsafe { api!(RedisModule_RegisterCommandFilter)(ctx.raw(), Some(filter), no_self) };
        (!raw.is_null()).then_some(Registered(raw))
    }

    /// Ends it. Not to be called by a filter.
    pub fn end(self, ctx: Ctx<'_>) {
        // SAFETY: as above; it was registered, and is not used again.
        unsafe { api!(RedisModule_UnregisterCommandFilter)(ctx.raw(), self.0) };
    }
}

/// True if a filter can tell which client a command is of.
pub fn tells_clients() -> bool {
    // SAFETY: the table was filled when the module was loaded; reading it is a copy.
    unsafe { { raw::RedisModule_CommandFilterGetClientId }.is_some() }
}

/// The command that is about to be executed.
#[derive(Clone, Copy)]
pub struct FilteredCall(*mut raw::RedisModuleCommandFilterCtx);

impl FilteredCall {
    /// # Safety
    /// `raw` is the context that the server has passed to the running filter, and the value does not outlive it.
    pub unsafe fn new(raw: *mut raw::RedisModuleCommandFilterCtx) -> Self {
        FilteredCall(raw)
    }

    /// Number of words.
    pub fn len(self) -> usize {
        // SAFETY: the filter is running, as `new` requires.
        usize::try_from(unsafe { api!(RedisModule_CommandFilterArgsCount)(self.0) }).unwrap_or(0)
    }

    /// A word; valid until words are inserted. Null if there are not so many.
    pub fn raw(self, at: usize) -> *mut raw::RedisModuleString {
        let at = c_int::try_from(at).unwrap_or(c_int::MAX);
        // SAFETY: as above; the server checks the position.
        unsafe { api!(RedisModule_CommandFilterArgGet)(self.0, at) }
    }

    /// The bytes of a word; empty if there are not so many.
    pub fn word<'a>(self, at: usize) -> &'a [u8] {
        let word = self.raw(at);
        // SAFETY: not null, and valid as long as the filter runs.
        if word.is_null() { &[] } else { unsafe { bytes(word) } }
    }

    /// All words.
    pub fn words(self) -> Vec<*mut raw::RedisModuleString> {
        (0..self.len()).map(|at| self.raw(at)).collect()
    }

    /// The number of the client; nothing on a server that does not tell (Redis 7.0).
    pub fn client(self) -> Option<u64> {
        // SAFETY: the table was filled when the module was loaded; reading it is a copy.
        let function = unsafe { raw::RedisModule_CommandFilterGetClientId }?;
        // SAFETY: the filter is running, as `new` requires.
        Some(unsafe { function(self.0) })
    }

    /// Makes it an unknown command of this name, without arguments: the client gets an error with it.
    pub fn refuse(self, name: &str) {
        let name = Text::new(name.as_bytes()).into_raw();
        // SAFETY: as above; the server takes over the string.
        unsafe {
            api!(RedisModule_CommandFilterArgReplace)(self.0, 0, name);
            while self.len() > 1 && api!(RedisModule_CommandFilterArgDelete)(self.0, 1) == 0 {}
        }
    }

    /// Makes `name` the command, and what it was its first argument.
    pub fn prepend(self, name: &CStr) {
        let name = Text::new(name.to_bytes()).into_raw();
        // SAFETY: as above; the server takes over the string.
        unsafe { api!(RedisModule_CommandFilterArgInsert)(self.0, 0, name) };
    }
}
