//! WB.LIST: the registrations as the lines that make them again.

use crate::core::backlog::registry::Registry;
use crate::core::ids::Db;
use crate::core::registration::{args, file_lines};
use crate::redis::call::Call;
use crate::redis::command_spec::Spec;

/// The declaration of the command.
pub const SPEC: Spec = Spec {
    name: c"WB.LIST",
    run: Some(command),
    flags: c"readonly allow-stale no-mandatory-keys",
    acl: c"read",
    arity: 1,
    summary: c"Lists every registration as the command that makes it again.",
    complexity: c"O(N log(N)) where N is the number of registrations",
    since: c"0.1.0",
    args: &[],
    keys: None,
    syntax: &["LIST"],
    help: &[
        "Every registration as the command that makes it again: lines of a registrations-file.",
    ],
};

fn command(call: &Call<'_>) {
    let lines = lines(&call.module.pipeline.backlog.borrow().registry);
    call.reply.array(lines.len());
    for line in lines {
        call.reply.bytes(&line);
    }
}

/// `WB.REGISTER …` of every registration that captures, by database and prefix; `SELECT <n>` before the
/// first one of each database but 0.
fn lines(registry: &Registry) -> Vec<Vec<u8>> {
    let live = registry.iter().filter(|active| active.live);
    let mut registrations: Vec<_> = live.map(|active| &*active.registration).collect();
    registrations.sort_unstable_by_key(|of| (of.db, &of.prefix));
    let mut lines = Vec::with_capacity(registrations.len());
    let mut selected = Db(0);
    for registration in registrations {
        if registration.db != selected {
            selected = registration.db;
            lines.push(format!("SELECT {selected}").into_bytes());
        }
        let mut words = vec![b"WB.REGISTER".to_vec()];
        words.extend(args::words(registration));
        lines.push(file_lines::line(&words));
    }
    lines
}
