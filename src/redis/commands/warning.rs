//! The sentences of `warning` in WB.STATUS about single prefixes.

use crate::core::backlog::Backlog;
use crate::core::registration::Registration;
use crate::core::registration::printable::printable;

/// Maximum number of prefixes that a warning names; the others are only counted.
const NAMED: usize = 5;

/// The current problems of prefixes, one sentence for each kind of problem.
pub fn of_prefixes(backlog: &Backlog) -> impl Iterator<Item = String> {
    let back_off = |(registration, why)| format!("{} backs off: {why}", name(registration));
    let letters = |(registration, count, why)| {
        format!("{} has {count} dead letters, see WB.DEADLETTER LIST: {why}", name(registration))
    };
    let back_off = listed(backlog.backing_off().map(back_off));
    let letters = listed(backlog.refused().map(letters));
    let live = backlog.registry.live_ids().filter_map(|id| backlog.registry.at(id));
    let stars = listed(live.filter_map(|active| of_star(&active.registration)));
    [back_off, letters, stars].into_iter().flatten()
}

/// A warning for a prefix that looks like a glob pattern.
pub fn of_star(registration: &Registration) -> Option<String> {
    let has_star = registration.prefix.contains(&b'*');
    has_star.then(|| {
        let which = name(registration);
        format!("{which} has a * that is no wildcard: it matches keys that begin with just that")
    })
}

fn name(registration: &Registration) -> String {
    let prefix = printable(&registration.prefix);
    format!("prefix '{prefix}' of database {}", registration.db)
}

fn listed(mut sentences: impl Iterator<Item = String>) -> Option<String> {
    let named: Vec<String> = sentences.by_ref().take(NAMED).collect();
    let others = sentences.count();
    match (named.is_empty(), others) {
        (true, _) => None,
        (false, 0) => Some(named.join("; ")),
        (false, others) => Some(format!("{}; and {others} prefixes more", named.join("; "))),
    }
}
