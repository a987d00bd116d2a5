//! Look-ahead retention. Redis 7.0 reports an expired or evicted key only after its value is
//! removed, so the module retains values before that.
//!
//! - [`ttl`]: the time to live of keys that became dirty.
//! - [`eviction`]: memory pressure.
//! - [`overdue`]: logically expired keys that the server has not deleted yet.

pub mod eviction;
pub mod expiry;
pub mod newly_dirty;
pub mod overdue;
pub mod ttl;

use std::cell::Cell;

use self::eviction::{Eviction, Filter};
use self::ttl::{Ttl, end_of_slice};
use crate::redis::api::clock;
use crate::redis::api::context::Ctx;
use crate::redis::api::raw;
use crate::redis::pipeline::Pipeline;

/// Minimum slice in which the time to live of keys is read, microseconds.
const MIN_SLICE_US: u64 = 2_000;

/// While one of these context flags is set, no key is checked.
const NOT_NOW: u32 = raw::REDISMODULE_CTX_FLAGS_LOADING
    | raw::REDISMODULE_CTX_FLAGS_ASYNC_LOADING
    | raw::REDISMODULE_CTX_FLAGS_LUA
    | raw::REDISMODULE_CTX_FLAGS_MULTI;

/// The state of look-ahead retention; the backlog has the newly dirty keys and the times to check
/// keys again.
#[derive(Debug)]
pub struct Redis70 {
    /// True when the last slice ended before all due keys were checked.
    is_behind: Cell<bool>,
    ttl: Ttl,
    eviction: Eviction,
}

impl Redis70 {
    /// Starts look-ahead retention. `filter` is registered as a command filter once keys can be
    /// evicted.
    pub fn start(pipeline: &Pipeline, ctx: Ctx<'_>, filter: Filter) -> Self {
        pipeline.backlog.borrow_mut().watch();
        let eviction = Eviction::start(ctx);
        eviction.watch_limit(ctx, filter);
        Redis70 { is_behind: Cell::new(false), ttl: Ttl::default(), eviction }
    }

    /// Checks newly dirty keys, and retains the values of keys that are about to expire, for a
    /// slice each. Called before the loop sleeps, after the change log was folded. A replica does
    /// it, too, so that no keys are left to check when it is promoted. True if there was anything
    /// to do.
    pub fn step(&self, pipeline: &Pipeline, ctx: Ctx<'_>) -> bool {
        let flags = ctx.flags();
        if flags & NOT_NOW != 0 {
            return false;
        }
        let Redis70 { ttl, eviction, .. } = self;
        let is_replica = flags & raw::REDISMODULE_CTX_FLAGS_SLAVE != 0;
        if self.is_idle(pipeline) && (is_replica || eviction.is_idle()) {
            self.is_behind.set(false);
            return false;
        }
        let retained = ttl.retain_expiring(pipeline, ctx, is_replica);
        // Longer than other slices: a key may have less time to live than an iteration takes.
        let end_us = end_of_slice(pipeline).max(clock::now_us() + MIN_SLICE_US);
        // A replica evicts nothing.
        let checked = !is_replica && eviction.step(pipeline, ttl, ctx, end_us)
            || ttl.check_newly_dirty(pipeline, ctx, end_us, is_replica);
        let scanned = ttl.overdue.step(pipeline, ctx, end_of_slice(pipeline));
        self.is_behind.set(!self.is_idle(pipeline));
        retained || checked || scanned
    }

    /// True if no key has to be checked now. Most iterations end here, so the clock is read only if
    /// a key is tracked until its expiry.
    fn is_idle(&self, pipeline: &Pipeline) -> bool {
        let backlog = pipeline.backlog.borrow();
        let is_due = |end_ms: u64| end_ms <= clock::unix_ms();
        !self.ttl.overdue.is_pending()
            && !backlog.has_newly_dirty()
            && !backlog.next_end_ms().is_some_and(is_due)
    }

    /// When keys have to be checked next, microseconds; `u64::MAX` for never.
    pub fn next_us(&self, pipeline: &Pipeline) -> u64 {
        if self.is_behind.get() {
            return 0;
        }
        let end_ms = pipeline.backlog.borrow().next_end_ms();
        end_ms.map_or(u64::MAX, |end_ms| end_ms.saturating_mul(1000))
    }

    /// Called after settings of the server have changed.
    pub fn on_config(&self, pipeline: &Pipeline, ctx: Ctx<'_>, filter: Filter) {
        self.eviction.watch_limit(ctx, filter);
        self.eviction.on_config(pipeline, &self.ttl, ctx);
    }

    /// Registers `filter` as a command filter, unless it is registered already.
    pub fn filter(&self, ctx: Ctx<'_>, filter: Filter) {
        self.eviction.register(ctx, filter);
    }

    /// Called before a command is executed.
    pub fn before_command(&self, pipeline: &Pipeline) {
        self.eviction.before_command(pipeline, &self.ttl);
    }

    /// Called after data was loaded.
    pub fn on_loaded(&self, pipeline: &Pipeline, ctx: Ctx<'_>) {
        self.ttl.overdue.on_loaded(pipeline, ctx);
    }

    /// Called when this server has become a master.
    pub fn on_promoted(&self, pipeline: &Pipeline, ctx: Ctx<'_>) {
        self.ttl.overdue.on_promoted(pipeline, ctx);
    }
}
