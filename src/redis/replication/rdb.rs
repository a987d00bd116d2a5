//! The module's state in the RDB as auxiliary data: saved with the dataset and loaded before it,
//! and so exactly as durable and as replicated as the dataset itself.

use std::ffi::{CStr, c_int};

use super::data_type;
use crate::core::backlog::record::{Packer, Record, VERSION, unpack};
use crate::redis::api::context::{Ctx, raw_bytes};
use crate::redis::api::guard::guard;
use crate::redis::api::raw;
use crate::redis::api::raw::api;
use crate::redis::api::{clock, log};
use crate::redis::state::{Module, module};

/// Nine characters, as the server requires; every RDB file with the module's state contains it.
const TYPE_NAME: &CStr = c"writebehd";

/// Valkey's option without which it refuses CLUSTER MIGRATESLOTS while the module is loaded. Redis has no such
/// option, and may use the number for another one.
const HANDLES_SLOT_MIGRATION: u32 = 1 << 5;

/// Registers the data type with which state is saved in the RDB. No key ever has it.
///
/// # Errors
/// One sentence when the server refuses.
pub fn register(ctx: Ctx<'_>) -> Result<(), String> {
    let mut methods = raw::RedisModuleTypeMethods {
        aux_load: Some(load),
        // Redis 7.2 and newer call aux_save2 instead, which may write nothing.
        aux_save: Some(save_always),
        aux_save_triggers: raw::REDISMODULE_AUX_BEFORE_RDB as c_int,
        aux_save2: Some(save_if_any),
        ..data_type::methods()
    };
    // SAFETY: called in RedisModule_OnLoad with its context; the server copies the methods.
    let made = unsafe {
        api!(RedisModule_CreateDataType)(
            ctx.raw(),
            TYPE_NAME.as_ptr(),
            VERSION as c_int,
            &raw mut methods,
        )
    };
    if made.is_null() {
        return Err("the server refuses the data type that keeps the state in the RDB".to_owned());
    }
    // Without the first option, replicas do not load an RDB from the socket (diskless); without the
    // second, not asynchronously. The third allows keys to be opened for writing without signalling
    // a change: see `read_mode::mode`.
    let mut options = raw::REDISMODULE_OPTIONS_HANDLE_IO_ERRORS
        | raw::REDISMODULE_OPTIONS_HANDLE_REPL_ASYNC_LOAD
        | raw::REDISMODULE_OPTION_NO_IMPLICIT_SIGNAL_MODIFIED;
    if raw::is_valkey() {
        options |= HANDLES_SLOT_MIGRATION;
    }
    // SAFETY: as above.
    unsafe { api!(RedisModule_SetModuleOptions)(ctx.raw(), options as c_int) };
    Ok(())
}

unsafe extern "C" fn save_if_any(rdb: *mut raw::RedisModuleIO, when: c_int) {
    let blank = guard(true, || module().pipeline.backlog.borrow().is_blank());
    if !blank {
        // SAFETY: as the server calls it.
        unsafe { save_always(rdb, when) };
    }
}

/// Writes blocks, then an empty one as the end marker. Also runs in a forked child. The worker
/// thread does not exist there, and no state of the module is half changed, because the server
/// forks on its own thread.
unsafe extern "C" fn save_always(rdb: *mut raw::RedisModuleIO, _: c_int) {
    let write = |block: &[u8]| {
        // SAFETY: the server's stream is valid during the callback; the bytes are copied.
        unsafe { api!(RedisModule_SaveStringBuffer)(rdb, block.as_ptr().cast(), block.len()) };
    };
    guard((), || {
        let mut packer = Packer::new(write);
        module().pipeline.backlog.borrow_mut().save(clock::now_us(), |record| packer.push(&record));
        packer.end();
    });
    write(&[]);
}

unsafe extern "C" fn load(rdb: *mut raw::RedisModuleIO, version: c_int, _: c_int) -> c_int {
    let loaded = guard(false, || {
        if version as u64 > VERSION {
            log::warning("the RDB holds state of a newer version of writebehind: load that one");
            return false;
        }
        loop {
            // SAFETY: the server's stream is valid during the callback.
            let Some(block) = (unsafe { next_block(rdb) }) else { return false };
            if block.is_empty() {
                return true;
            }
            if let Err(error) = take_block(module(), block) {
                log::warning(&format!("the state in the RDB cannot be loaded: {error}"));
                return false;
            }
        }
    });
    if loaded { raw::REDISMODULE_OK as c_int } else { raw::REDISMODULE_ERR as c_int }
}

/// # Safety
/// `rdb` is the server's stream in an aux_load callback.
unsafe fn next_block(rdb: *mut raw::RedisModuleIO) -> Option<Vec<u8>> {
    let mut len = 0;
    // SAFETY: the caller vouches for the stream. The module must free the buffer, with the server's
    // own function.
    unsafe {
        let start = api!(RedisModule_LoadStringBuffer)(rdb, &raw mut len);
        if start.is_null() || api!(RedisModule_IsIOError)(rdb) != 0 {
            return None;
        }
        let block = raw_bytes(start, len).to_vec();
        api!(RedisModule_Free)(start.cast());
        Some(block)
    }
}

/// Loads a block, or during async loading keeps it until the dataset is complete.
fn take_block(module: &Module, block: Vec<u8>) -> Result<(), String> {
    check_dbs(module, &block)?;
    let Some(block) = module.async_loading.keep(block) else { return Ok(()) };
    let mut backlog = module.pipeline.backlog.borrow_mut();
    unpack(&block, |record| backlog.load(record, clock::now_us()))
}

/// Refuses state with a registration in a database that the server does not have: its keys could
/// never be read.
fn check_dbs(module: &Module, block: &[u8]) -> Result<(), String> {
    let (databases, mut most) = (module.databases.get(), 0);
    unpack(block, |record| {
        if let Record::Registration { registration, .. } = record {
            most = most.max(u32::from(registration.db.0));
        }
    })?;
    if most < databases {
        return Ok(());
    }
    Err(format!(
        "it has a registration in database {most}, and this server has {databases} databases: set \
         databases to {} at least",
        most + 1
    ))
}
