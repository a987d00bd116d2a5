//! Every callback for which the module subscribes: keyspace events and server events (event loop,
//! shutdown, dataset, configuration).

mod dataset;
mod key_events;

use std::ffi::{c_char, c_int, c_void};

use super::api::command_filter::FilteredCall;
use super::api::context::Ctx;
use super::api::guard::guard;
use super::api::raw;
use super::api::raw::api;
use super::retain::redis70::Redis70;
use super::state::{Module, module};
use super::{nodes, shutdown, tick};

const TOO_OLD: &str = "the server refuses to report changes of keys, of its settings or turns of \
                       its event loop; use Redis 7.0 or newer, or Valkey";

/// Subscribes to all events.
///
/// # Errors
/// One sentence when the server refuses.
pub fn subscribe(ctx: Ctx<'_>) -> Result<(), String> {
    // SAFETY: the context is that of RedisModule_OnLoad; the callbacks are the module's and live as
    // long as the library, which is never unmapped.
    let refused = unsafe {
        api!(RedisModule_SubscribeToKeyspaceEvents)(
            ctx.raw(),
            key_events::KINDS,
            Some(key_events::on_key),
        ) | subscribe_to(ctx, raw::REDISMODULE_EVENT_EVENTLOOP, on_event_loop)
            | subscribe_to(ctx, raw::REDISMODULE_EVENT_SHUTDOWN, on_shutdown)
            | subscribe_to(ctx, raw::REDISMODULE_EVENT_MODULE_CHANGE, on_module)
            | subscribe_to(ctx, raw::REDISMODULE_EVENT_FLUSHDB, dataset::on_flush)
            | subscribe_to(ctx, raw::REDISMODULE_EVENT_SWAPDB, dataset::on_swap)
            | subscribe_to(ctx, raw::REDISMODULE_EVENT_LOADING, dataset::on_loading)
            | subscribe_to(ctx, raw::REDISMODULE_EVENT_REPL_ASYNC_LOAD, dataset::on_async_loading)
            | subscribe_to(ctx, raw::REDISMODULE_EVENT_REPLICATION_ROLE_CHANGED, dataset::on_role)
    };
    if refused != 0 {
        return Err(TOO_OLD.to_owned());
    }
    module().cluster.start(ctx, on_cluster_command);
    module().nodes.start(ctx, on_message);
    // SAFETY: as above. Redis 7.0 does not have this event.
    let has_key_event =
        unsafe { subscribe_to(ctx, raw::REDISMODULE_EVENT_KEY, key_events::on_key_event) == 0 };
    if !has_key_event {
        // SAFETY: as above.
        let refused = unsafe { subscribe_to(ctx, raw::REDISMODULE_EVENT_CONFIG, on_config) };
        if refused != 0 {
            return Err(TOO_OLD.to_owned());
        }
        module().redis70.get_or_init(|| Redis70::start(&module().pipeline, ctx, on_command));
    }
    Ok(())
}

type EventCallback =
    unsafe extern "C" fn(*mut raw::RedisModuleCtx, raw::RedisModuleEvent, u64, *mut c_void);

/// # Safety
/// `ctx` is that of RedisModule_OnLoad, and `callback` fits the event.
unsafe fn subscribe_to(ctx: Ctx<'_>, id: u64, callback: EventCallback) -> c_int {
    let event = raw::RedisModuleEvent { id, dataver: 1 };
    // SAFETY: the caller vouches for both.
    unsafe { api!(RedisModule_SubscribeToServerEvent)(ctx.raw(), event, Some(callback)) }
}

unsafe extern "C" fn on_event_loop(
    ctx: *mut raw::RedisModuleCtx,
    _: raw::RedisModuleEvent,
    subevent: u64,
    _: *mut c_void,
) {
    guard((), || {
        // SAFETY: the server's context is valid during the callback.
        let ctx = unsafe { Ctx::new(ctx) };
        if subevent == raw::REDISMODULE_SUBEVENT_EVENTLOOP_BEFORE_SLEEP {
            let module = module();
            module.units.end();
            module.cluster.end();
            if let Some(redis70) = module.redis70.get() {
                filter_if_of_use(module, redis70, ctx);
            }
            follow_through(module, ctx);
            tick::before_sleep(ctx);
        } else {
            tick::after_sleep(ctx);
        }
    });
}

unsafe extern "C" fn on_shutdown(
    ctx: *mut raw::RedisModuleCtx,
    _: raw::RedisModuleEvent,
    _: u64,
    _: *mut c_void,
) {
    guard((), || {
        // SAFETY: the server's context is valid during the callback.
        shutdown::drain(unsafe { Ctx::new(ctx) });
    });
}

/// Called after CONFIG SET has changed settings of the server.
unsafe extern "C" fn on_config(
    ctx: *mut raw::RedisModuleCtx,
    _: raw::RedisModuleEvent,
    _: u64,
    _: *mut c_void,
) {
    guard((), || {
        let module = module();
        // SAFETY: the server's context is valid during the callback.
        let ctx = unsafe { Ctx::new(ctx) };
        if let Some(redis70) = module.redis70.get() {
            redis70.on_config(&module.pipeline, ctx, on_command);
        }
    });
}

/// On Redis 7.0: where one unit ends matters if one must stay whole, or if units that count as one are
/// large.
fn filter_if_of_use(module: &Module, redis70: &Redis70, ctx: Ctx<'_>) {
    if module.units.wants_filter() || module.pipeline.backlog.borrow().keeps_groups_whole() {
        redis70.filter(ctx, on_command);
        module.units.is_filtered();
    }
}

/// Registers the filter of read-through and write-through while a registration asks for it. Not to be called by a filter.
pub fn follow_through(module: &Module, ctx: Ctx<'_>) {
    module.through.filter.follow(&module.pipeline, ctx, on_through);
}

/// The command filter of read-through and write-through.
unsafe extern "C" fn on_through(filter: *mut raw::RedisModuleCommandFilterCtx) {
    guard((), || {
        let module = module();
        // SAFETY: the server's context of the filter is valid during the callback.
        let call = unsafe { FilteredCall::new(filter) };
        module.through.filter.before_command(&module.pipeline, call);
    });
}

/// Called after a module was loaded or unloaded.
unsafe extern "C" fn on_module(
    _: *mut raw::RedisModuleCtx,
    _: raw::RedisModuleEvent,
    _: u64,
    _: *mut c_void,
) {
    guard((), || module().through.filter.commands_changed());
}

/// The command filter: called before a command is executed.
unsafe extern "C" fn on_command(filter: *mut raw::RedisModuleCommandFilterCtx) {
    guard((), || {
        let module = module();
        // SAFETY: the server's context of the filter is valid during the callback.
        unsafe { module.units.before_command(filter) };
        if let Some(redis70) = module.redis70.get() {
            redis70.before_command(&module.pipeline);
        }
    });
}

/// A message of another node of the cluster.
unsafe extern "C" fn on_message(
    _: *mut raw::RedisModuleCtx,
    sender: *const c_char,
    _: u8,
    payload: *const u8,
    len: u32,
) {
    guard((), || {
        // SAFETY: the server's arguments are valid during the callback.
        unsafe { module().nodes.received(sender, payload, len) };
    });
}

/// The command filter in a cluster.
unsafe extern "C" fn on_cluster_command(filter: *mut raw::RedisModuleCommandFilterCtx) {
    guard((), || {
        // SAFETY: the server's context of the filter is valid during the callback.
        unsafe { module().cluster.before_command(filter, nodes::own_id) };
    });
}
