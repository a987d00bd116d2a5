//! WB.LIST: the registrations as the lines that recreate them.

use std::collections::HashMap;

use crate::core::backlog::registry::Registry;
use crate::core::ids::Db;
use crate::core::registration::{Registration, args, file_lines};
use crate::redis::call::Call;
use crate::redis::command_spec::Spec;

/// The declaration of the command.
pub const SPEC: Spec = Spec {
    name: c"WB.LIST",
    run: Some(command),
    flags: c"readonly allow-stale no-mandatory-keys",
    acl: c"read",
    arity: 1,
    summary: c"Lists every registration as the command that recreates it.",
    complexity: c"O(N log(N)) where N is the number of registrations",
    since: c"0.1.0",
    args: &[],
    keys: None,
    syntax: &["LIST"],
    help: &["Every registration as the command that recreates it: lines of a registrations-file."],
};

fn command(call: &Call<'_>) {
    let lines = lines(&call.module.pipeline.backlog.borrow().registry);
    call.reply.array(lines.len());
    for line in lines {
        call.reply.bytes(&line);
    }
}

/// `WB.REGISTER …` of every live registration by database, with `SELECT <n>` in front of the first one
/// of each database but 0.
///
/// SHARED allows a collection that has registrations already. So it follows those without SHARED: in
/// its database, or at the end if such a one is in a later database.
fn lines(registry: &Registry) -> Vec<Vec<u8>> {
    let live = registry.iter().filter(|active| active.live);
    let mut registrations: Vec<&Registration> = live.map(|active| &*active.registration).collect();
    let mut last_without = HashMap::new();
    for of in registrations.iter().filter(|of| !of.shared) {
        let last = last_without.entry((&of.namespace, &of.key_field)).or_insert(of.db);
        *last = of.db.max(*last);
    }
    let is_early = |of: &Registration| {
        of.shared && last_without.get(&(&of.namespace, &of.key_field)) > Some(&of.db)
    };
    registrations.sort_by_cached_key(|of| (is_early(of), of.db, of.shared, &of.prefix));
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
