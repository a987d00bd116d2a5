//! Rewrites: keys that are written once more, because an older indeterminate write of them may
//! still be applied.

use crate::redis::api::clock;
use crate::redis::api::context::{Ctx, PAUSED_US, Text, must_not_replicate};
use crate::redis::pipeline::Pipeline;
use crate::redis::replication::propagate;

/// When a rewrite is due, microseconds; while replication is paused, when to check again.
pub fn due_us(pipeline: &Pipeline) -> u64 {
    let due_us = pipeline.backlog.borrow().rewrites_due_us().unwrap_or(u64::MAX);
    if due_us != u64::MAX && must_not_replicate() {
        return due_us.max(clock::now_us() + PAUSED_US);
    }
    due_us
}

/// Makes the keys dirty whose rewrite is due. True if there were any.
pub fn mark(pipeline: &Pipeline, ctx: Ctx<'_>) -> bool {
    let now_us = clock::now_us();
    if !pipeline.backlog.borrow().has_due_rewrites(now_us) || must_not_replicate() {
        return false;
    }
    let marked = pipeline.backlog.borrow_mut().mark_due_rewrites(now_us);
    for keys in marked.chunk_by(|a, b| a.0 == b.0) {
        let registration = {
            let backlog = pipeline.backlog.borrow();
            keys.first()
                .and_then(|(id, _)| backlog.registry.at(*id))
                .map(|s| s.registration.clone())
        };
        let Some(registration) = registration else { continue };
        ctx.select(registration.db);
        let keys: Vec<Text> = keys.iter().map(|(_, key)| Text::new(key)).collect();
        propagate::marked(ctx, &registration.prefix, &keys);
    }
    true
}
