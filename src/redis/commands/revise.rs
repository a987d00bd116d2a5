//! The revision of what a command has changed, for the other nodes of a cluster.

use crate::core::backlog::revisions::Revised;
use crate::core::cluster::agreed::Mark;
use crate::redis::api::clock;
use crate::redis::api::raw::REDISMODULE_CTX_FLAGS_SLAVE;
use crate::redis::call::Call;
use crate::redis::nodes;
use crate::redis::replication::propagate;

/// In cluster mode, gives what a client's command has changed a revision, which is replicated behind the
/// command and sent to the other nodes. Of the pause of all, `mark` is `Registered` if it began and
/// `Unregistered` if it ended.
pub fn revise(call: &Call<'_>, of: Revised, mark: Mark) {
    let is_replica = call.ctx.flags() & REDISMODULE_CTX_FLAGS_SLAVE != 0;
    if !call.module.nodes.is_on() || call.is_from_stream() || is_replica {
        return;
    }
    let Some(node) = nodes::own_id() else { return };
    let now_ms = clock::unix_ms();
    let stamp = call.module.pipeline.backlog.borrow_mut().revise(of.clone(), mark, node, now_ms);
    if let Some((db, _)) = &of {
        call.ctx.select(*db);
    }
    propagate::revision(call.ctx, of.as_ref().map(|(_, prefix)| prefix.as_slice()), &stamp);
    // It is the client's own.
    call.ctx.select(call.db);
    call.module.peers.changed(of);
}
