//! Eviction on servers that report it only when the value is gone already (Redis 7.0): from 85 % of
//! maxmemory on, every dirty value is captured: in slices at first, and from 95 % on before the next
//! command.
//!
//! The server evicts at the beginning of a command, and in a timer after its limit was lowered. So
//! while there is a limit, a filter looks before each command at what became dirty since the loop
//! slept. Without a limit there is no filter, which would cost every command.

use std::ffi::{CStr, c_void};

use super::ttl::{each_fresh, look, with};
use crate::redis::api::config;
use crate::redis::api::context::{Ctx, NOT_NOW};
use crate::redis::api::guard::guard;
use crate::redis::api::raw;
use crate::redis::api::raw::api;
use crate::redis::retain::last_value;
use crate::redis::state::{Module, module};

/// Share of maxmemory from which on eviction may come with the next command.
const PRESSURE: f32 = 0.85;

/// Share of maxmemory from which on nothing is left for the next slice.
const URGENT: f32 = 0.95;

/// What is known of memory.
#[derive(Debug)]
pub struct Pressure {
    /// True while every dirty value is captured at once.
    on: bool,
    /// True once the command filter is in place, for good.
    filters: bool,
    /// A context for the command filter, which has none of its own.
    detached: *mut raw::RedisModuleCtx,
}

impl Pressure {
    /// To be called in RedisModule_OnLoad.
    pub fn start(ctx: Ctx<'_>) -> Self {
        // SAFETY: the context is that of RedisModule_OnLoad. The detached one lives as long as the
        // module.
        let detached = unsafe { api!(RedisModule_GetDetachedThreadSafeContext)(ctx.raw()) };
        Pressure { on: false, filters: false, detached }
    }
}

/// Looks whether keys can be evicted at all, and if so, before each command from now on.
pub fn watch_limit(module: &Module, ctx: Ctx<'_>) {
    let filters = module.early.borrow().as_ref().is_none_or(|early| early.pressure.filters);
    let setting = |name: &CStr| config::value(ctx, name).unwrap_or_default();
    if filters || setting(c"maxmemory") == b"0" || setting(c"maxmemory-policy") == b"noeviction" {
        return;
    }
    // SAFETY: the context is that of a callback of the server, in which no filter is running. The
    // filter is ours; it leaves out the commands that we call ourselves.
    unsafe {
        let no_self = raw::REDISMODULE_CMDFILTER_NOSELF as i32;
        api!(RedisModule_RegisterCommandFilter)(ctx.raw(), Some(on_command), no_self);
    }
    with(module, |early| early.pressure.filters = true);
}

/// CONFIG SET has changed settings. A lower limit evicts in a timer, which may come before the loop
/// sleeps again.
pub unsafe extern "C" fn on_config(
    ctx: *mut raw::RedisModuleCtx,
    _: raw::RedisModuleEvent,
    _: u64,
    _: *mut c_void,
) {
    guard((), || {
        let module = module();
        // SAFETY: the server's context is valid during the callback.
        let ctx = unsafe { Ctx::new(ctx) };
        watch_limit(module, ctx);
        if ctx.flags() & ELSEWHERE == 0 && is_pressed(PRESSURE) {
            press(module, ctx, u64::MAX);
        }
    });
}

/// While one of these holds, this server evicts nothing: its master does, or nobody.
const ELSEWHERE: u32 = raw::REDISMODULE_CTX_FLAGS_SLAVE
    | raw::REDISMODULE_CTX_FLAGS_LOADING
    | raw::REDISMODULE_CTX_FLAGS_ASYNC_LOADING;

/// A command is about to run, and before it the server may evict keys.
unsafe extern "C" fn on_command(_: *mut raw::RedisModuleCommandFilterCtx) {
    guard((), || {
        let module = module();
        if !module.engine.borrow().has_fresh() || !is_pressed(URGENT) {
            return;
        }
        let detached = module.early.borrow().as_ref().map(|early| early.pressure.detached);
        // SAFETY: the detached context is valid for the module's life; the filter runs on the
        // server's thread, between commands or inside a script.
        let Some(ctx) = detached.map(|raw| unsafe { Ctx::new(raw) }) else { return };
        if ctx.flags() & NOT_NOW == 0 {
            press(module, ctx, u64::MAX);
        }
    });
}

/// Captures what is dirty, if memory is short, until `end_us` or, if it is very short, all of it;
/// false if it is not. Before the loop sleeps.
pub fn step(module: &Module, ctx: Ctx<'_>, end_us: u64) -> bool {
    let pressed = is_pressed(PRESSURE);
    if pressed {
        press(module, ctx, if is_pressed(URGENT) { u64::MAX } else { end_us });
    } else {
        with(module, |early| early.pressure.on = false);
    }
    pressed
}

/// True if memory is not short, and was not in the last turn.
pub fn is_idle(module: &Module) -> bool {
    !is_pressed(PRESSURE) && module.early.borrow().as_ref().is_none_or(|early| !early.pressure.on)
}

/// True when that share of maxmemory is in use. Eviction comes with the first command after the
/// whole of it.
fn is_pressed(share: f32) -> bool {
    // SAFETY: takes no argument and reads the server's counters.
    unsafe { api!(RedisModule_GetUsedMemoryRatio)() >= share }
}

/// Captures every dirty value until `end_us`, if keys can be evicted at all.
fn press(module: &Module, ctx: Ctx<'_>, end_us: u64) {
    if !module.early.borrow().as_ref().is_some_and(|early| early.pressure.on) {
        let policy = config::value(ctx, c"maxmemory-policy");
        if policy.as_deref() == Some(b"noeviction") {
            look(module, ctx, end_us, false);
            return;
        }
        with(module, |early| early.pressure.on = true);
        module.engine.borrow_mut().look_back();
    }
    each_fresh(module, end_us, 1, |watched, key| {
        ctx.select(watched.db);
        last_value::capture(module, ctx, watched.db, key);
    });
}
