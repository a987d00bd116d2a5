//! WB.UNREGISTER: stops capturing a prefix.

use super::revise::revise;
use crate::core::cluster::agreed::Mark;
use crate::redis::api::clock;
use crate::redis::call::Call;
use crate::redis::command_spec::{ADMIN, ArgKind, DANGEROUS, Spec, arg, flag};

/// The declaration of the command.
pub const SPEC: Spec = Spec {
    name: c"WB.UNREGISTER",
    run: Some(command),
    flags: ADMIN,
    acl: DANGEROUS,
    arity: -2,
    summary: c"Stops capturing a prefix; what is dirty is still written, or dropped.",
    complexity: c"O(N) where N is the number of registrations, with DISCARD of dirty keys",
    since: c"0.1.0",
    args: &[arg(c"prefix", ArgKind::Text), flag(c"discard", c"DISCARD")],
    keys: None,
    syntax: &["UNREGISTER <prefix> [DISCARD]"],
    help: &["Stop capturing. What is dirty is still written, or with DISCARD dropped."],
};

/// Runs the command.
fn command(call: &Call<'_>) {
    let (prefix, discard) = match call.arguments() {
        [prefix] => (*prefix, false),
        [prefix, word] if word.eq_ignore_ascii_case(b"DISCARD") => (*prefix, true),
        [_, _] => {
            return call.reply.error("WB.UNREGISTER takes <prefix> [DISCARD]");
        }
        _ => return call.reply.wrong_arity(),
    };
    if call.is_refused_on_replica("registrations are ended") {
        return;
    }
    let now_us = clock::now_us();
    let keys =
        call.module.pipeline.backlog.borrow_mut().unregister(call.db, prefix, discard, now_us);
    let Some(keys) = keys else {
        return call.no_registration(&call.module.pipeline.backlog.borrow(), prefix);
    };
    call.ctx.replicate_verbatim();
    let mark = if discard { Mark::Discarded } else { Mark::Unregistered };
    revise(call, Some((call.db, prefix.to_vec())), mark);
    call.reply.integer(keys as u64);
}
