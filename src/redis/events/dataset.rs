//! Events of the dataset as a whole: FLUSHALL, SWAPDB, loading, a change of role.

use std::ffi::{c_int, c_void};

use crate::core::hash_slot;
use crate::core::ids::Db;
use crate::redis::api::context::Ctx;
use crate::redis::api::guard::guard;
use crate::redis::api::raw;
use crate::redis::api::{clock, log, read_mode};
use crate::redis::retain::last_value;
use crate::redis::state::{Module, module};

/// The database number in the event of FLUSHALL.
const ALL: c_int = -1;

/// Called before FLUSHDB or FLUSHALL removes the keys: retains the values of dirty keys.
pub unsafe extern "C" fn on_flush(
    ctx: *mut raw::RedisModuleCtx,
    _: raw::RedisModuleEvent,
    subevent: u64,
    info: *mut c_void,
) {
    if subevent != raw::REDISMODULE_SUBEVENT_FLUSHDB_START {
        return;
    }
    guard((), || {
        // SAFETY: for this event the server gives a RedisModuleFlushInfo.
        let db: c_int = unsafe { (*info.cast::<raw::RedisModuleFlushInfo>()).dbnum };
        // SAFETY: the server's context is valid during the callback.
        let ctx = unsafe { Ctx::new(ctx) };
        let db = match u16::try_from(db) {
            Ok(db) => Some(Db(db)),
            Err(_) if db == ALL => None,
            // A database past 65,535 has no registrations, so none of its keys is dirty.
            Err(_) => return,
        };
        let module = module();
        let pipeline = &module.pipeline;
        last_value::retain_all(pipeline, ctx, db, |db| c_int::from(db.0));
        pipeline.backlog.borrow_mut().reads_see_flushed();
        // A replica also empties its dataset, with this event, before it loads its master's.
        if ctx.flags() & raw::REDISMODULE_CTX_FLAGS_REPLICA_IS_TRANSFERRING == 0 {
            retain_missed(module, ctx, db, |db| c_int::from(db.0));
        }
    });
}

/// Called after SWAPDB has swapped two databases: retains for dirty keys the values that they had
/// before.
pub unsafe extern "C" fn on_swap(
    ctx: *mut raw::RedisModuleCtx,
    _: raw::RedisModuleEvent,
    _: u64,
    info: *mut c_void,
) {
    guard((), || {
        // SAFETY: for this event the server gives a RedisModuleSwapDbInfo.
        let (first, second) = unsafe {
            let info = &*info.cast::<raw::RedisModuleSwapDbInfo>();
            (info.dbnum_first, info.dbnum_second)
        };
        if first == second {
            return;
        }
        // SAFETY: the server's context is valid during the callback.
        let ctx = unsafe { Ctx::new(ctx) };
        let module = module();
        let pipeline = &module.pipeline;
        pipeline.backlog.borrow_mut().reads_see_flushed();
        let swapped = [(first, second), (second, first)];
        // One of them may be past 65,535, where there are no registrations.
        let swapped = swapped.map(|(db, now)| u16::try_from(db).ok().map(|db| (Db(db), now)));
        for (db, now) in swapped.into_iter().flatten() {
            last_value::retain_all(pipeline, ctx, Some(db), |_| now);
        }
        for (db, now) in swapped.into_iter().flatten() {
            retain_missed(module, ctx, Some(db), |_| now);
        }
    });
}

/// Retains the values of keys whose changes may have been missed; then their registrations need no
/// scan.
fn retain_missed(module: &Module, ctx: Ctx<'_>, db: Option<Db>, source_of: impl Fn(Db) -> c_int) {
    for id in last_value::retain_missed(&module.pipeline, ctx, db, source_of) {
        module.scans.restart(id);
    }
}

/// Called when a dataset is loaded in place of the current one: at start, on a replica, by DEBUG
/// RELOAD.
pub unsafe extern "C" fn on_loading(
    ctx: *mut raw::RedisModuleCtx,
    _: raw::RedisModuleEvent,
    subevent: u64,
    _: *mut c_void,
) {
    guard((), || {
        let module = module();
        if module.async_loading.is_loading() {
            return;
        }
        match subevent {
            raw::REDISMODULE_SUBEVENT_LOADING_ENDED | raw::REDISMODULE_SUBEVENT_LOADING_FAILED => {
                // SAFETY: the server's context is valid during the callback.
                let ctx = unsafe { Ctx::new(ctx) };
                module.units.is_loading.set(false);
                module.units.end();
                if let Some(redis70) = module.redis70.get() {
                    redis70.on_loaded(&module.pipeline, ctx);
                }
                loaded(module);
            }
            _ => {
                module.units.is_loading.set(true);
                module.units.end();
                module.pipeline.backlog.borrow_mut().clear();
            }
        }
    });
}

/// Called for async loading: a replica loads a dataset (`repl-diskless-load swapdb`) while it
/// serves the old one until the new one is complete.
pub unsafe extern "C" fn on_async_loading(
    _: *mut raw::RedisModuleCtx,
    _: raw::RedisModuleEvent,
    subevent: u64,
    _: *mut c_void,
) {
    guard((), || {
        let module = module();
        if subevent == raw::REDISMODULE_SUBEVENT_REPL_ASYNC_LOAD_STARTED {
            return module.async_loading.begin();
        }
        let is_complete = subevent == raw::REDISMODULE_SUBEVENT_REPL_ASYNC_LOAD_COMPLETED;
        module.async_loading.end(&mut module.pipeline.backlog.borrow_mut(), is_complete);
        if is_complete {
            loaded(module);
        }
    });
}

fn loaded(module: &Module) {
    let mut backlog = module.pipeline.backlog.borrow_mut();
    backlog.data_loaded(clock::now_us());
    let warnings = backlog.pause_warning().into_iter();
    for warning in warnings.chain(backlog.sharing_warning()) {
        log::warning(&warning);
    }
    drop(backlog);
    module.pipeline.configure_worker();
}

/// Called when the server has become a master or a replica.
pub unsafe extern "C" fn on_role(
    ctx: *mut raw::RedisModuleCtx,
    _: raw::RedisModuleEvent,
    subevent: u64,
    _: *mut c_void,
) {
    guard((), || {
        let module = module();
        let mut backlog = module.pipeline.backlog.borrow_mut();
        let is_master = subevent == raw::REDISMODULE_EVENT_REPLROLECHANGED_NOW_MASTER;
        if let Some(given) = module.cluster.gave_all().filter(|_| !is_master) {
            // A master without slots becomes a replica, of a node that has none of its dirty keys.
            let is_given = |key: &[u8]| given.contains(hash_slot::slot(key));
            backlog.leave_given_to_others(is_given, clock::now_us());
        }
        backlog.role_changed(clock::now_us());
        if is_master && module.cluster.leaves() {
            // The lease is that of the data which it had.
            backlog.lease.clear();
        }
        backlog.lease.role_changed(is_master);
        drop(backlog);
        module.pipeline.is_replica.set(!is_master);
        module.pipeline.configure_worker();
        module.pipeline.opener.mode.set(read_mode::mode(!is_master));
        if is_master {
            // SAFETY: the server's context is valid during the callback.
            let ctx = unsafe { Ctx::new(ctx) };
            if let Some(redis70) = module.redis70.get() {
                redis70.on_promoted(&module.pipeline, ctx);
            }
        }
    });
}
