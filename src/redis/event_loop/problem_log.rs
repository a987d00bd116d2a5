//! Log lines about problems and their end: the link, missed changes, dead letters and namespaces
//! that back off.

use std::cell::Cell;

use crate::core::backlog::{Backlog, TroubleLine};
use crate::core::delivery::link_log::LinkLine;
use crate::core::registration::printable::printable;
use crate::redis::api::{clock, log};
use crate::redis::pipeline::Pipeline;

/// Maximum number of prefixes whose problems are logged in one event-loop iteration.
const LINES: usize = 8;
/// `dirty-max-bytes` being reached is logged at most once in this time.
const LOG_EVERY_US: u64 = 60_000_000;

/// What was logged about missed changes.
#[derive(Debug, Default)]
pub struct MissedLog {
    /// Registrations with missed changes at the last call.
    rescans: Cell<usize>,
    /// When the line was logged last, microseconds.
    last_us: Cell<u64>,
}

impl MissedLog {
    /// Logs that `dirty-max-bytes` is reached, rate-limited by [`LOG_EVERY_US`].
    pub fn missed(&self, pipeline: &Pipeline) {
        let rescans = pipeline.backlog.borrow().rescans_len();
        if rescans <= self.rescans.replace(rescans) {
            return;
        }
        let now_us = clock::now_us();
        if now_us.saturating_sub(self.last_us.get()) >= LOG_EVERY_US {
            self.last_us.set(now_us);
            log::warning(
                "dirty-max-bytes is reached: from now on changes are found by a scan of their prefix \
                 when MongoDB is back",
            );
        }
    }
}

/// Logs the state of the link if it has changed since it was logged last.
pub fn link(backlog: &mut Backlog) {
    if !backlog.link.is_unlogged() {
        return;
    }
    match backlog.link.line(clock::now_us()) {
        Some(LinkLine::Down { error }) => {
            log::warning(&format!("MongoDB is not reached, writes are kept: {error}"));
        }
        Some(LinkLine::Reached { after_ms: None }) => log::notice("MongoDB is reached"),
        Some(LinkLine::Reached { after_ms: Some(ms) }) => {
            let (seconds, ms) = (ms / 1000, ms % 1000);
            log::notice(&format!("MongoDB is reached again, after {seconds}.{ms:03} seconds"));
        }
        None => {}
    }
}

/// Logs new dead letters, and namespaces that begin or end to back off.
pub fn trouble(pipeline: &Pipeline, now_us: u64) {
    for _ in 0..LINES {
        let mut backlog = pipeline.backlog.borrow_mut();
        let Some(line) = backlog.trouble_line(now_us) else { return };
        drop(backlog);
        let TroubleLine { registration, letters, reason, backoff } = line;
        let prefix = printable(&registration.prefix);
        let of = format!("prefix '{prefix}' of database {}", registration.db);
        match backoff {
            Some(Err(why)) => log::warning(&format!("{of} backs off and is not written: {why}")),
            Some(Ok(())) => log::notice(&format!("{of} is written again")),
            None => {}
        }
        if letters > 0 {
            log::warning(&format!(
                "{letters} changes of {of} are dead letters now, see WB.DEADLETTER LIST; the last \
                 one: {reason}"
            ));
        }
    }
}
