//! WB.LEASE NEW: makes the data of this server independent of the data that it was copied from.

use crate::redis::api::log;
use crate::redis::call::Call;
use crate::redis::command_spec::{ADMIN, DANGEROUS, Spec, word};
use crate::redis::event_loop::lease;

/// The declaration of the command.
pub const SPEC: Spec = Spec {
    name: c"WB.LEASE",
    run: Some(command),
    flags: ADMIN,
    acl: DANGEROUS,
    arity: 2,
    summary: c"Makes a copy of the data independent, with a lease of its own.",
    complexity: c"O(1)",
    since: c"0.1.0",
    args: &[word(c"new", c"NEW")],
    keys: None,
    syntax: &["LEASE NEW"],
    help: &["For a copy of the data: a lease of its own, so that it writes beside the original."],
};

/// `WB.LEASE NEW`.
fn command(call: &Call<'_>) {
    if !call.first_argument().eq_ignore_ascii_case(b"NEW") {
        return call.reply.error("WB.LEASE takes NEW");
    }
    if call.is_refused_on_replica("the lease is changed") {
        return;
    }
    let pipeline = &call.module.pipeline;
    let Some(first) = lease::first_namespace(pipeline) else {
        return call
            .reply
            .error("there is no lease: nothing is registered; WB.REGISTER a prefix first");
    };
    // Replicated as the new id, in the next iteration of the event loop.
    lease::begin(pipeline, &first);
    log::notice("WB.LEASE NEW: this data has a lease of its own now");
    call.reply.ok();
}
