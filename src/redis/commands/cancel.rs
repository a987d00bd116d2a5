//! WB.CANCEL: ends what runs in the background for a prefix.

use crate::redis::call::Call;
use crate::redis::command_spec::{ADMIN, ArgKind, DANGEROUS, Spec, arg};

/// The declaration of the command.
pub const SPEC: Spec = Spec {
    name: c"WB.CANCEL",
    run: Some(command),
    flags: ADMIN,
    acl: DANGEROUS,
    arity: 2,
    summary:
        c"Ends WB.SYNC, WB.LOAD and WB.VERIFY of a prefix; the reply is how many had not ended.",
    complexity: c"O(N) where N is the number of registrations",
    since: c"0.1.0",
    args: &[arg(c"prefix", ArgKind::Text)],
    keys: None,
    syntax: &["CANCEL <prefix>"],
    help: &["End WB.SYNC, WB.LOAD and WB.VERIFY of the prefix; reply how many had not ended."],
};

/// Runs the command.
fn command(call: &Call<'_>) {
    let prefix = call.first_argument();
    if call.is_refused_on_replica("loads and syncs are cancelled") {
        return;
    }
    let mut backlog = call.module.pipeline.backlog.borrow_mut();
    let Some(id) = backlog.registry.find_live(call.db, prefix) else {
        return call.no_registration(&backlog, prefix);
    };
    let cancelled = [backlog.cancel_sync(id), backlog.cancel_load(id), backlog.cancel_verify(id)];
    drop(backlog);
    call.module.scans.restart(id);
    call.ctx.replicate_verbatim();
    call.reply.integer(cancelled.iter().filter(|is| **is).count() as u64);
}
