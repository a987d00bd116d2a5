//! WB.SYNC: marks the keys that exist already, as WB.REGISTER … SYNC does.

use crate::redis::call::Call;

/// Runs the command. The keys are marked in the background.
pub fn command(call: &Call<'_>) {
    let [prefix] = call.arguments() else { return call.reply.wrong_arity() };
    if call.is_refused_on_replica("existing keys are marked") {
        return;
    }
    let mut backlog = call.module.pipeline.backlog.borrow_mut();
    let Some(slot) = backlog.live_slot(call.db, prefix) else {
        return call.no_registration(&backlog, prefix);
    };
    backlog.begin_sync(slot);
    drop(backlog);
    call.module.scans.restart(slot);
    call.ctx.replicate_verbatim();
    call.reply.ok();
}
