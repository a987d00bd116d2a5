//! Eviction on servers that report it only when the value is gone already (Redis 7.0): from 85 % of
//! maxmemory on, every dirty value is captured: in slices at first, and from 95 % on before the next
//! command.
//!
//! The server evicts at the beginning of a command, and in a timer after its limit was lowered. So
//! while there is a limit, a filter looks before each command at what became dirty since the loop
//! slept. Without a limit there is no filter, which would cost every command.

use std::cell::Cell;
use std::ffi::CStr;

use super::ttl::Ttl;
use crate::redis::api::config;
use crate::redis::api::context::{Ctx, NOT_NOW};
use crate::redis::api::raw;
use crate::redis::api::raw::api;
use crate::redis::pipeline::Pipeline;
use crate::redis::retain::last_value;

/// Share of maxmemory from which on eviction may come with the next command.
const PRESSURE: f32 = 0.85;

/// Share of maxmemory from which on nothing is left for the next slice.
const URGENT: f32 = 0.95;

/// While one of these holds, this server evicts nothing.
const ELSEWHERE: u32 = raw::REDISMODULE_CTX_FLAGS_SLAVE
    | raw::REDISMODULE_CTX_FLAGS_LOADING
    | raw::REDISMODULE_CTX_FLAGS_ASYNC_LOADING;

/// The server calls it before each command.
pub type Filter = unsafe extern "C" fn(*mut raw::RedisModuleCommandFilterCtx);

/// What is known of memory.
#[derive(Debug)]
pub struct Eviction {
    /// True while every dirty value is captured at once.
    on: Cell<bool>,
    /// True once the command filter is in place, for good.
    filters: Cell<bool>,
    /// A context for the command filter, which has none of its own.
    detached: *mut raw::RedisModuleCtx,
}

impl Eviction {
    /// To be called in RedisModule_OnLoad.
    pub fn start(ctx: Ctx<'_>) -> Self {
        // SAFETY: the context is that of RedisModule_OnLoad. The detached one lives as long as the
        // module.
        let detached = unsafe { api!(RedisModule_GetDetachedThreadSafeContext)(ctx.raw()) };
        Eviction { on: Cell::new(false), filters: Cell::new(false), detached }
    }

    /// Looks whether keys can be evicted at all, and if so, before each command from now on.
    pub fn watch_limit(&self, ctx: Ctx<'_>, filter: Filter) {
        let setting = |name: &CStr| config::value(ctx, name).unwrap_or_default();
        if self.filters.get()
            || setting(c"maxmemory") == b"0"
            || setting(c"maxmemory-policy") == b"noeviction"
        {
            return;
        }
        // SAFETY: the context is that of a callback of the server, in which no filter is running. The
        // filter is ours; it leaves out the commands that we call ourselves.
        unsafe {
            let no_self = raw::REDISMODULE_CMDFILTER_NOSELF as i32;
            api!(RedisModule_RegisterCommandFilter)(ctx.raw(), Some(filter), no_self);
        }
        self.filters.set(true);
    }

    /// Settings of the server have changed. A lower limit evicts in a timer, which may come before the loop
    /// sleeps again.
    pub fn on_config(&self, pipeline: &Pipeline, ttl: &Ttl, ctx: Ctx<'_>) {
        if ctx.flags() & ELSEWHERE == 0 && is_pressed(PRESSURE) {
            self.press(pipeline, ttl, ctx, u64::MAX);
        }
    }

    /// A command is about to run, and before it the server may evict keys.
    pub fn before_command(&self, pipeline: &Pipeline, ttl: &Ttl) {
        if !pipeline.backlog.borrow().has_newly_dirty() || !is_pressed(URGENT) {
            return;
        }
        // SAFETY: the detached context is valid for the module's life; the filter runs on the
        // server's thread, between commands or inside a script.
        let ctx = unsafe { Ctx::new(self.detached) };
        if ctx.flags() & NOT_NOW == 0 {
            self.press(pipeline, ttl, ctx, u64::MAX);
        }
    }

    /// Captures what is dirty, if memory is short, until `end_us` or, if it is very short, all of it;
    /// false if it is not. Before the loop sleeps.
    pub fn step(&self, pipeline: &Pipeline, ttl: &Ttl, ctx: Ctx<'_>, end_us: u64) -> bool {
        let pressed = is_pressed(PRESSURE);
        if pressed {
            self.press(pipeline, ttl, ctx, if is_pressed(URGENT) { u64::MAX } else { end_us });
        } else {
            self.on.set(false);
        }
        pressed
    }

    /// True if memory is not short, and was not in the last turn.
    pub fn is_idle(&self) -> bool {
        !is_pressed(PRESSURE) && !self.on.get()
    }

    /// Captures every dirty value until `end_us`, if keys can be evicted at all.
    fn press(&self, pipeline: &Pipeline, ttl: &Ttl, ctx: Ctx<'_>, end_us: u64) {
        if !self.on.get() {
            let policy = config::value(ctx, c"maxmemory-policy");
            if policy.as_deref() == Some(b"noeviction") {
                ttl.look(pipeline, ctx, end_us, false);
                return;
            }
            self.on.set(true);
            pipeline.backlog.borrow_mut().look_back();
        }
        ttl.newly_dirty.each(pipeline, end_us, 1, |watched, key| {
            ctx.select(watched.db);
            last_value::retain_value(pipeline, ctx, watched.db, key);
        });
    }
}

/// True when that share of maxmemory is in use. Eviction comes with the first command after the
/// whole of it.
fn is_pressed(share: f32) -> bool {
    // SAFETY: takes no argument and reads the server's counters.
    unsafe { api!(RedisModule_GetUsedMemoryRatio)() >= share }
}
