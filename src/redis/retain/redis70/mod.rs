//! Redis 7.0 reports an expired or evicted key only when its value is gone already. So it looks ahead,
//! and captures values before that.
//!
//! - [`ttl`]: the time to live of keys that became dirty.
//! - [`eviction`]: memory that becomes short.
//! - [`overdue`]: keys that have expired and are still there.

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

/// Shortest slice in which keys are asked for their time to live, microseconds.
const LOOK_US: u64 = 2_000;

/// While one of these holds, no key is looked at.
const NOT_NOW: u32 = raw::REDISMODULE_CTX_FLAGS_LOADING
    | raw::REDISMODULE_CTX_FLAGS_ASYNC_LOADING
    | raw::REDISMODULE_CTX_FLAGS_LUA
    | raw::REDISMODULE_CTX_FLAGS_MULTI;

/// What is known of the ends of dirty keys, beside what the backlog knows.
#[derive(Debug)]
pub struct Redis70 {
    /// True when keys were left that should be looked at at once.
    is_behind: Cell<bool>,
    ttl: Ttl,
    eviction: Eviction,
}

impl Redis70 {
    /// Begins to look ahead. `filter` comes before each command once keys can be evicted.
    pub fn start(pipeline: &Pipeline, ctx: Ctx<'_>, filter: Filter) -> Self {
        pipeline.backlog.borrow_mut().watch();
        let eviction = Eviction::start(ctx);
        eviction.watch_limit(ctx, filter);
        Redis70 { is_behind: Cell::new(false), ttl: Ttl::default(), eviction }
    }

    /// Looks at what has become dirty, and captures what is about to expire, for a slice each, before
    /// the loop sleeps and after the log was folded. On a replica, too, so that it has nothing to look
    /// for when it is promoted. True if there was anything to do.
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
        let retained = ttl.capture_last(pipeline, ctx, is_replica);
        // Longer than other slices: a key may have less time to live than a turn takes.
        let end_us = end_of_slice(pipeline).max(clock::now_us() + LOOK_US);
        // A replica evicts nothing.
        let looked = !is_replica && eviction.step(pipeline, ttl, ctx, end_us)
            || ttl.look(pipeline, ctx, end_us, is_replica);
        let scanned = ttl.overdue.step(pipeline, ctx, end_of_slice(pipeline));
        self.is_behind.set(!self.is_idle(pipeline));
        retained || looked || scanned
    }

    /// True if no key is to be looked at now. Most turns end here, so that the clock is asked only if
    /// some key has an end.
    fn is_idle(&self, pipeline: &Pipeline) -> bool {
        let backlog = pipeline.backlog.borrow();
        let is_due = |end_ms: u64| end_ms <= clock::unix_ms();
        !self.ttl.overdue.is_pending()
            && !backlog.has_newly_dirty()
            && !backlog.next_end_ms().is_some_and(is_due)
    }

    /// When keys must be looked at next, microseconds.
    pub fn next_us(&self, pipeline: &Pipeline) -> u64 {
        if self.is_behind.get() {
            return 0;
        }
        let end_ms = pipeline.backlog.borrow().next_end_ms();
        end_ms.map_or(u64::MAX, |end_ms| end_ms.saturating_mul(1000))
    }

    /// Settings of the server have changed.
    pub fn on_config(&self, pipeline: &Pipeline, ctx: Ctx<'_>, filter: Filter) {
        self.eviction.watch_limit(ctx, filter);
        self.eviction.on_config(pipeline, &self.ttl, ctx);
    }

    /// A command is about to run.
    pub fn before_command(&self, pipeline: &Pipeline) {
        self.eviction.before_command(pipeline, &self.ttl);
    }

    /// Data was loaded.
    pub fn on_loaded(&self, pipeline: &Pipeline, ctx: Ctx<'_>) {
        self.ttl.overdue.on_loaded(pipeline, ctx);
    }

    /// This server is a master now.
    pub fn on_promoted(&self, pipeline: &Pipeline, ctx: Ctx<'_>) {
        self.ttl.overdue.on_promoted(pipeline, ctx);
    }
}
