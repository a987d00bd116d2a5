//! Dead letters that a unique index refused are retried automatically. Replicas and the AOF get it
//! as a WB.DEADLETTER RETRY of each key.

use crate::redis::api::clock;
use crate::redis::api::context::{Ctx, NOT_NOW, PAUSED_US, must_not_replicate};
use crate::redis::pipeline::Pipeline;
use crate::redis::replication::propagate;

/// Makes the keys of the dead letters dirty that are due for a retry. True if there were any.
pub fn retry(pipeline: &Pipeline, ctx: Ctx<'_>) -> bool {
    let now_us = clock::now_us();
    let is_due = pipeline.backlog.borrow().letters_due_us().is_some_and(|due_us| due_us <= now_us);
    if !is_due || must_not_replicate() || ctx.flags() & NOT_NOW != 0 {
        return false;
    }
    let retried = pipeline.backlog.borrow_mut().retry_contested(now_us);
    for (db, key) in retried {
        ctx.select(db);
        propagate::dead_letter_retried(ctx, &key);
    }
    true
}

/// When [`retry`] has something to do, microseconds; while replication is paused, when to check
/// again.
pub fn due_us(pipeline: &Pipeline) -> u64 {
    let due_us = pipeline.backlog.borrow().letters_due_us().unwrap_or(u64::MAX);
    if due_us != u64::MAX && must_not_replicate() {
        return due_us.max(clock::now_us() + PAUSED_US);
    }
    due_us
}
