//! WB.VERIFY: compares keys with their documents.

use crate::core::registration::args;
use crate::core::registration::args::verify::Verification;
use crate::redis::api::clock;
use crate::redis::call::Call;
use crate::redis::command_spec::{ADMIN, Arg, ArgKind, DANGEROUS, Spec, arg, flag, option};

/// The declaration of the command.
pub const SPEC: Spec = Spec {
    name: c"WB.VERIFY",
    run: Some(command),
    flags: ADMIN,
    acl: DANGEROUS,
    arity: -2,
    summary: c"Compares the keys of a prefix with their documents, in the background.",
    complexity: c"O(N) where N is the number of registrations; the verification, of keys",
    since: c"0.1.0",
    args: ARGS,
    keys: None,
    syntax: &["VERIFY <prefix> [REPAIR] [FULL] | EVERY <seconds>"],
    help: &[
        "Compare the keys of the prefix with their documents, in the background. REPAIR has",
        "those written again that differ; FULL also looks for documents without keys. EVERY",
        "compares again and again, 0 ends that. WB.STATUS shows what was found.",
    ],
};

const ARGS: &[Arg] = &[
    arg(c"prefix", ArgKind::Text),
    flag(c"repair", c"REPAIR"),
    flag(c"full", c"FULL"),
    option(c"every-seconds", c"EVERY", ArgKind::Number),
];

/// Runs the command. The event loop reads the keys in the background.
fn command(call: &Call<'_>) {
    let prefix = call.first_argument();
    if call.is_refused_on_replica("documents are compared") {
        return;
    }
    let what = match args::verify::parse(call.subarguments()) {
        Ok(what) => what,
        Err(error) => return call.reply.error(&error),
    };
    let mut backlog = call.module.pipeline.backlog.borrow_mut();
    let Some(id) = backlog.registry.find_live(call.db, prefix) else {
        return call.no_registration(&backlog, prefix);
    };
    backlog.begin_verify(id, what, clock::now_us());
    drop(backlog);
    if matches!(what, Verification::Every(_)) {
        call.ctx.replicate_verbatim();
    }
    call.reply.ok();
}
