//! The functions that the server looks up in the library.

use std::ffi::{CStr, c_int};

use super::api::context::{Ctx, words};
use super::api::guard;
use super::api::guard::guard;
use super::api::raw;
use super::api::{clock, config, log, read_mode};
use super::commands::{info, registrations_file};
use super::replication::rdb;
use super::state::module;
use super::{commands, durability_warnings, events, place, settings};

const NAME: &CStr = c"writebehind";
/// Major, minor and patch with two digits each.
const VERSION: c_int = 100;

/// Called by the server when the library is loaded.
///
/// # Safety
/// For the server only, with its context and the words of the loadmodule line.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn RedisModule_OnLoad(
    ctx: *mut raw::RedisModuleCtx,
    argv: *mut *mut raw::RedisModuleString,
    argc: c_int,
) -> c_int {
    // SAFETY: the server's context; this fills the function table that everything else uses.
    let refused = unsafe {
        raw::Export_RedisModule_Init(
            ctx,
            NAME.as_ptr(),
            VERSION,
            raw::REDISMODULE_APIVER_1 as c_int,
        )
    };
    if refused != raw::REDISMODULE_OK as c_int {
        return raw::REDISMODULE_ERR as c_int;
    }
    guard::install(release_clients);
    let loaded = guard(Err(String::new()), || {
        // SAFETY: the server's context and words are valid during this call.
        let (ctx, words) = unsafe { (Ctx::new(ctx), words(argv, argc)) };
        load(ctx, &words)
    });
    match loaded {
        Ok(()) => raw::REDISMODULE_OK as c_int,
        Err(reason) => {
            if !reason.is_empty() {
                log::warning(&format!("not loaded: {reason}"));
            }
            raw::REDISMODULE_ERR as c_int
        }
    }
}

/// Called by the server at MODULE UNLOAD, and by Valkey 9 at the end of a shutdown. The module
/// refuses to be unloaded: dirty keys would be lost, and its thread may hold a connection.
///
/// # Safety
/// For the server only.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn RedisModule_OnUnload(_: *mut raw::RedisModuleCtx) -> c_int {
    guard((), || {
        if module().is_shut_down.get() {
            return;
        }
        log::warning(
            "MODULE UNLOAD is refused, because dirty keys would be lost: WB.UNREGISTER every \
             prefix, WB.FLUSH, BGREWRITEAOF with appendonly yes or else SAVE, and restart the \
             server without the module",
        );
    });
    raw::REDISMODULE_ERR as c_int
}

fn load(ctx: Ctx<'_>, words: &[&[u8]]) -> Result<(), String> {
    clock::now_us();
    if let Some(name) = raw::missing_function() {
        return Err(format!(
            "the server has no RedisModule_{name}; writebehind needs Redis 7.0 or newer, or Valkey"
        ));
    }
    let module = module();
    module.pipeline.is_replica.set(ctx.flags() & raw::REDISMODULE_CTX_FLAGS_SLAVE != 0);
    module.databases.set(config::databases(ctx));
    module.pipeline.opener.mode.set(read_mode::mode(module.pipeline.is_replica.get()));
    module.pipeline.holder.get_or_init(|| place::holder(ctx));
    settings::register(ctx)?;
    settings::take_arguments(words)?;
    settings::log_notes(&module.pipeline.sources.borrow().check_environment()?);
    commands::register_all(ctx)?;
    info::register(ctx);
    rdb::register(ctx)?;
    registrations_file::register_from_file(module)?;
    events::subscribe(ctx)?;
    module.pipeline.start_worker()?;
    if let Err(error) = settings::check(&module.pipeline.settings()) {
        log::warning(&error);
    }
    for warning in durability_warnings::all(ctx) {
        log::warning(warning);
    }
    log::notice(concat!("version ", env!("CARGO_PKG_VERSION"), " is loaded"));
    Ok(())
}

/// Unblocks the clients that wait for a flush or a check: once the module is broken, nothing else
/// would.
fn release_clients() {
    let module = module();
    module.checks.release();
    module.flushes.release();
    module.asks.release();
    module.through.readers.release(&format!("ERR {}", guard::broken_error()));
    module.through.writers.release(module.through.filter.ctx());
}
