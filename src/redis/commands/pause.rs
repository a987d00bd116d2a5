//! WB.PAUSE and WB.RESUME: stop and restart writing to MongoDB; changes are still captured.

use super::revise::revise;
use crate::core::backlog::Backlog;
use crate::core::cluster::agreed::Mark;
use crate::core::ids::RegistrationId;
use crate::core::registration::printable::printable;
use crate::redis::api::log;
use crate::redis::call::Call;
use crate::redis::command_spec::{ADMIN, DANGEROUS, PREFIX, Spec};

/// The declaration of WB.PAUSE. WB.HELP has one text for both, below WB.RESUME.
pub const PAUSE: Spec = Spec {
    name: c"WB.PAUSE",
    run: Some(pause),
    flags: ADMIN,
    acl: DANGEROUS,
    arity: -1,
    summary: c"Stops writing to MongoDB; changes are captured and kept.",
    complexity: c"O(N) where N is the number of registrations",
    since: c"0.1.0",
    args: &[PREFIX],
    keys: None,
    syntax: &["PAUSE [<prefix>]"],
    help: &[],
};

/// The declaration of WB.RESUME.
pub const RESUME: Spec = Spec {
    name: c"WB.RESUME",
    run: Some(resume),
    flags: ADMIN,
    acl: DANGEROUS,
    arity: -1,
    summary: c"Restarts writing to MongoDB; without a prefix it ends every pause.",
    complexity: c"O(N) where N is the number of registrations",
    since: c"0.1.0",
    args: &[PREFIX],
    keys: None,
    syntax: &["RESUME [<prefix>]"],
    help: &["Stop and restart writing; capture goes on. RESUME alone ends every pause."],
};

/// `WB.PAUSE [<prefix>]`.
fn pause(call: &Call<'_>) {
    change(call, "paused", true, Backlog::pause);
}

/// `WB.RESUME [<prefix>]`; without a prefix it also ends the pauses of single prefixes.
fn resume(call: &Call<'_>) {
    change(call, "resumed", false, Backlog::resume);
}

fn change(
    call: &Call<'_>,
    done: &str,
    pauses: bool,
    change: fn(&mut Backlog, Option<RegistrationId>),
) {
    let prefix = match call.arguments() {
        [] => None,
        [prefix] => Some(*prefix),
        _ => return call.reply.wrong_arity(),
    };
    if call.is_refused_on_replica("writing is paused and resumed") {
        return;
    }
    let mut backlog = call.module.pipeline.backlog.borrow_mut();
    let db = call.db;
    let id = prefix.and_then(|prefix| backlog.registry.find(db, prefix));
    if let Some(prefix) = prefix.filter(|_| id.is_none()) {
        return call.no_registration(&backlog, prefix);
    }
    let ends = if pauses || prefix.is_some() { Vec::new() } else { backlog.paused_prefixes() };
    change(&mut backlog, id);
    drop(backlog);
    call.ctx.replicate_verbatim();
    match prefix {
        Some(prefix) => revise(call, Some((db, prefix.to_vec())), Mark::Registered),
        None => revise(call, None, if pauses { Mark::Registered } else { Mark::Unregistered }),
    }
    ends.into_iter().for_each(|of| revise(call, Some(of), Mark::Registered));
    let of = prefix.map(|prefix| format!(" for prefix '{}' of database {db}", printable(prefix)));
    log::notice(&format!("writing to MongoDB is {done}{}", of.unwrap_or_default()));
    call.reply.ok();
}
