//! The methods for values of the module's data type. The type exists only to save state in the RDB,
//! and no key ever has it; but a client may send such a value in RESTORE, and an RDB file or a
//! master's dataset may contain one. Servers call most of these methods without a check for null.

use std::ffi::{c_int, c_void};
use std::ptr;

use crate::redis::api::guard::guard;
use crate::redis::api::log;
use crate::redis::api::raw;
use crate::redis::api::raw::api;

/// The methods for values: loading a value is refused, so the others have nothing to do.
pub fn methods() -> raw::RedisModuleTypeMethods {
    raw::RedisModuleTypeMethods {
        version: u64::from(raw::REDISMODULE_TYPE_METHOD_VERSION),
        rdb_load: Some(refuse),
        rdb_save: Some(save),
        aof_rewrite: Some(rewrite),
        mem_usage: Some(memory),
        digest: Some(digest),
        free: Some(free),
        aux_load: None,
        aux_save: None,
        aux_save_triggers: 0,
        free_effort: None,
        unlink: None,
        // Without it, COPY of such a key is an error.
        copy: None,
        defrag: None,
        mem_usage2: None,
        free_effort2: None,
        unlink2: None,
        copy2: None,
        aux_save2: None,
    }
}

/// Returning null makes RESTORE fail, and aborts the loading of a dataset with such a key.
unsafe extern "C" fn refuse(rdb: *mut raw::RedisModuleIO, _: c_int) -> *mut c_void {
    guard((), || {
        // SAFETY: the server's stream is valid during the callback, and so is its context.
        let flags = unsafe {
            api!(RedisModule_GetContextFlags)(api!(RedisModule_GetContextFromIO)(rdb)) as u32
        };
        let loading = raw::REDISMODULE_CTX_FLAGS_LOADING | raw::REDISMODULE_CTX_FLAGS_ASYNC_LOADING;
        // Not logged for RESTORE: a client could fill the log.
        if flags & loading != 0 {
            log::warning(
                "the data holds a key of the type in which writebehind keeps its state; no key can \
                 have it, so this data was damaged or made by hand and is not loaded",
            );
        }
    });
    ptr::null_mut()
}

unsafe extern "C" fn save(_: *mut raw::RedisModuleIO, _: *mut c_void) {}

unsafe extern "C" fn rewrite(
    _: *mut raw::RedisModuleIO,
    _: *mut raw::RedisModuleString,
    _: *mut c_void,
) {
}

unsafe extern "C" fn memory(_: *const c_void) -> usize {
    0
}

unsafe extern "C" fn digest(_: *mut raw::RedisModuleDigest, _: *mut c_void) {}

unsafe extern "C" fn free(_: *mut c_void) {}
