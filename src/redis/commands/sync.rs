//! WB.SYNC: marks the existing keys of a prefix, as WB.REGISTER … SYNC does.

use super::revise::revise;
use crate::core::cluster::agreed::Mark;
use crate::redis::call::Call;
use crate::redis::command_spec::{ADMIN, ArgKind, DANGEROUS, Spec, arg};

/// The declaration of the command.
pub const SPEC: Spec = Spec {
    name: c"WB.SYNC",
    run: Some(command),
    flags: ADMIN,
    acl: DANGEROUS,
    arity: 2,
    summary: c"Marks every existing key under a prefix to be written, in the background.",
    complexity: c"O(N) where N is the number of registrations; the scan, of keys",
    since: c"0.1.0",
    args: &[arg(c"prefix", ArgKind::Text)],
    keys: None,
    syntax: &["SYNC <prefix>"],
    help: &[
        "Mark every existing key under the prefix, in the background. WB.STATUS shows how far.",
    ],
};

/// Runs the command. The event loop marks the keys in the background.
fn command(call: &Call<'_>) {
    let prefix = call.first_argument();
    if call.is_refused_on_replica("existing keys are marked") {
        return;
    }
    let mut backlog = call.module.pipeline.backlog.borrow_mut();
    let Some(id) = backlog.registry.find_live(call.db, prefix) else {
        return call.no_registration(&backlog, prefix);
    };
    backlog.begin_sync(id);
    drop(backlog);
    call.module.scans.restart(id);
    call.ctx.replicate_verbatim();
    revise(call, Some((call.db, prefix.to_vec())), Mark::Synced);
    call.reply.ok();
}
