//! WB.SYNC: marks the keys that exist already, as WB.REGISTER … SYNC does.

use crate::redis::call::Call;

/// Runs the command. The keys are marked in the background.
pub fn command(call: &Call<'_>) {
    let [prefix] = call.arguments() else { return call.reply.wrong_arity() };
    if call.is_refused_on_replica("existing keys are marked") {
        return;
    }
    let mut engine = call.module.pipeline.engine.borrow_mut();
    let Some(slot) = engine.live_slot(call.db, prefix) else {
        return call.no_registration(&engine, prefix);
    };
    engine.begin_sync(slot);
    drop(engine);
    call.module.scans.restart(slot);
    call.ctx.replicate_verbatim();
    call.reply.ok();
}
