//! Look-ahead retention for eviction, on servers that report an evicted key only after its value is
//! removed (Redis 7.0). From 85 % of maxmemory on, every dirty value is retained in slices; from 95
//! % on, before the next command.
//!
//! The server evicts before it executes a command, and in a timer after maxmemory was lowered. So
//! while maxmemory is set, a command filter retains, before each command, what became dirty since
//! the loop slept. Without maxmemory the filter of [`units`](crate::redis::units) does nothing here: it
//! would cost time in every command.

use std::cell::Cell;
use std::ffi::CStr;

use super::ttl::Ttl;
use crate::redis::api::config;
use crate::redis::api::context::{Ctx, NOT_NOW};
use crate::redis::api::raw;
use crate::redis::api::raw::api;
use crate::redis::pipeline::Pipeline;
use crate::redis::retain::last_value;

/// Share of maxmemory from which on the next commands may cause eviction.
const PRESSURE: f32 = 0.85;

/// Share of maxmemory from which on all dirty values are retained at once, and none is left for the
/// next slice.
const URGENT: f32 = 0.95;

/// While one of these context flags is set, this server evicts nothing.
const EVICTS_NOTHING: u32 = raw::REDISMODULE_CTX_FLAGS_SLAVE
    | raw::REDISMODULE_CTX_FLAGS_LOADING
    | raw::REDISMODULE_CTX_FLAGS_ASYNC_LOADING;

/// A command filter: the server calls it before each command.
pub type Filter = unsafe extern "C" fn(*mut raw::RedisModuleCommandFilterCtx);

/// The state of memory pressure.
#[derive(Debug)]
pub struct Eviction {
    /// True while the server is under memory pressure, so that every newly dirty value is retained.
    on: Cell<bool>,
    /// True once the command filter is registered; it is never unregistered.
    filters: Cell<bool>,
    /// True once the server may evict keys.
    evicts: Cell<bool>,
    /// A context for the command filter, which has none of its own.
    detached: *mut raw::RedisModuleCtx,
}

impl Eviction {
    /// To be called in RedisModule_OnLoad.
    pub fn start(ctx: Ctx<'_>) -> Self {
        // SAFETY: the context is that of RedisModule_OnLoad. The detached one lives as long as the
        // module.
        let detached = unsafe { api!(RedisModule_GetDetachedThreadSafeContext)(ctx.raw()) };
        let no = || Cell::new(false);
        Eviction { on: no(), filters: no(), evicts: no(), detached }
    }

    /// Registers the command filter if the server can evict keys at all.
    pub fn watch_limit(&self, ctx: Ctx<'_>, filter: Filter) {
        let setting = |name: &CStr| config::value(ctx, name).unwrap_or_default();
        if self.evicts.get()
            || setting(c"maxmemory") == b"0"
            || setting(c"maxmemory-policy") == b"noeviction"
        {
            return;
        }
        self.evicts.set(true);
        self.register(ctx, filter);
    }

    /// Registers the command filter, if it is not registered yet.
    pub fn register(&self, ctx: Ctx<'_>, filter: Filter) {
        if self.filters.replace(true) {
            return;
        }
        // SAFETY: the context is that of a callback of the server, in which no filter is running.
        // The filter is the module's; it is not called for commands that the module itself runs.
        unsafe {
            let no_self = raw::REDISMODULE_CMDFILTER_NOSELF as i32;
            api!(RedisModule_RegisterCommandFilter)(ctx.raw(), Some(filter), no_self);
        }
    }

    /// Called after settings of the server have changed. After maxmemory is lowered, the server
    /// evicts in a timer, which may fire before the loop sleeps again.
    pub fn on_config(&self, pipeline: &Pipeline, ttl: &Ttl, ctx: Ctx<'_>) {
        if ctx.flags() & EVICTS_NOTHING == 0 && is_used(PRESSURE) {
            self.retain_dirty(pipeline, ttl, ctx, u64::MAX);
        }
    }

    /// Called before a command is executed; the server may evict keys before that.
    pub fn before_command(&self, pipeline: &Pipeline, ttl: &Ttl) {
        if !self.evicts.get() {
            return;
        }
        // Memory may have got scarce since the loop slept; then no value is retained yet.
        let has_any = match self.on.get() {
            true => pipeline.backlog.borrow().has_newly_dirty(),
            false => pipeline.backlog.borrow().has_only_values(),
        };
        if !has_any || !is_used(URGENT) {
            return;
        }
        // SAFETY: the detached context is valid for the module's life; the filter runs on the
        // server's thread, between commands or inside a script.
        let ctx = unsafe { Ctx::new(self.detached) };
        if ctx.flags() & NOT_NOW == 0 {
            self.retain_dirty(pipeline, ttl, ctx, u64::MAX);
        }
    }

    /// Under memory pressure, retains dirty values until `end_us`, or all of them from 95 % of
    /// maxmemory on. False without pressure. Called before the loop sleeps.
    pub fn step(&self, pipeline: &Pipeline, ttl: &Ttl, ctx: Ctx<'_>, end_us: u64) -> bool {
        let under_pressure = is_used(PRESSURE);
        if under_pressure {
            self.retain_dirty(pipeline, ttl, ctx, if is_used(URGENT) { u64::MAX } else { end_us });
        } else {
            self.on.set(false);
        }
        under_pressure
    }

    /// True if there is no memory pressure, and was none in the last iteration.
    pub fn is_idle(&self) -> bool {
        !is_used(PRESSURE) && !self.on.get()
    }

    /// Retains every dirty value until `end_us`, if the policy lets keys be evicted at all.
    fn retain_dirty(&self, pipeline: &Pipeline, ttl: &Ttl, ctx: Ctx<'_>, end_us: u64) {
        if !self.on.get() {
            let policy = config::value(ctx, c"maxmemory-policy");
            if policy.as_deref() == Some(b"noeviction") {
                ttl.check_newly_dirty(pipeline, ctx, end_us, false);
                return;
            }
            self.on.set(true);
            pipeline.backlog.borrow_mut().check_all_again();
        }
        ttl.newly_dirty.each(pipeline, end_us, 1, |watched, key| {
            ctx.select(watched.db);
            last_value::retain_value(pipeline, ctx, watched.db, key);
        });
    }
}

/// True when at least that share of maxmemory is in use. The server evicts before the first command
/// that finds all of it in use.
fn is_used(share: f32) -> bool {
    // SAFETY: takes no argument and reads the server's counters.
    unsafe { api!(RedisModule_GetUsedMemoryRatio)() >= share }
}
