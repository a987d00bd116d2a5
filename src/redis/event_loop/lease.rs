//! Gives the data of a master its shard id, and replicates it with each new epoch.

use crate::core::registration::Namespace;
use crate::redis::api::context::{Ctx, NOT_NOW, must_not_replicate};
use crate::redis::pipeline::Pipeline;
use crate::redis::replication::propagate;

/// Makes a shard id with the first registration, and propagates what is new of the shard.
pub fn step(pipeline: &Pipeline, ctx: Ctx<'_>) {
    let first = {
        let backlog = pipeline.backlog.borrow();
        let has_shard = backlog.lease.shard().is_some();
        if has_shard && !backlog.lease.is_pending() {
            return;
        }
        if has_shard { None } else { first_namespace(pipeline) }
    };
    if ctx.flags() & NOT_NOW != 0 || must_not_replicate() {
        return;
    }
    if let Some(first) = first {
        begin(pipeline, &first);
    }
    let shard = pipeline.backlog.borrow_mut().lease.take_pending();
    if let Some(shard) = shard {
        propagate::lease(ctx, &shard);
        pipeline.configure_worker();
    }
}

/// Gives this data a new shard id, which is propagated in the next iteration.
pub fn begin(pipeline: &Pipeline, first: &Namespace) {
    pipeline.backlog.borrow_mut().lease.begin(fastrand::u128(..).to_be_bytes(), first);
}

/// The namespace of the first registration, if there is one.
pub fn first_namespace(pipeline: &Pipeline) -> Option<Namespace> {
    let backlog = pipeline.backlog.borrow();
    let first = backlog.registry.live_ids().next()?;
    Some(backlog.registry.at(first)?.registration.namespace.clone())
}
