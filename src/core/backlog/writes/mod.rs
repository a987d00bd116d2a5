//! Write-through: clients that wait until MongoDB has acknowledged what their commands have left, or something newer.
//!
//! While a command runs, the keys that it changes are collected. Each of them is then due at once, and the client waits
//! for its entry in the dirty table, in the version that it had after the command.

pub mod counts;
mod state;

use self::counts::WriteCounts;
pub use self::state::Writes;
use self::state::{Entries, Wait};
use super::change_log::ChangeKind;
use super::table::Settled;
use super::{Backlog, KeyList};
use crate::core::ids::{Db, EntryId, RegistrationId, Version, WaitId};
use crate::core::settings::WhenDown;

/// Longest time for which keys are gathered for a batch, microseconds.
const GATHERED_US: u64 = 1_000;

/// The error of clients whose server is no longer the one that writes.
const OTHER_DATA: &str = "WBDOWN the server has loaded other data or has another role: it is not known if MongoDB has \
                          the write";
const LEFT: &str = "WBDOWN the key has left with its hash slot: the node that has it now has the write, and writes it \
                    to MongoDB";
const LOST: &str = "WBREFUSED the value was removed from Redis before it could be read: MongoDB does not get the \
                    write";

/// A client whose command has run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Held {
    /// The client.
    pub wait: WaitId,
    /// How long it waits at most, milliseconds.
    pub timeout_ms: u64,
    registration_id: RegistrationId,
}

impl Backlog {
    /// The registration of a key, if clients wait for its writes.
    #[inline]
    pub fn writes_through(&self, db: Db, key: &[u8]) -> Option<RegistrationId> {
        let id = self.registry.route(db, key)?;
        self.active(id)?.registration.write_through.map(|_| id)
    }

    /// True if clients wait for writes of a key of this name in any database.
    pub fn writes_through_any(&self, key: &[u8]) -> bool {
        self.registry.writer_dbs().any(|db| self.writes_through(db, key).is_some())
    }

    /// A command begins whose client may have to wait. False inside of another one, and while no client is held.
    pub fn collect_writes(&mut self) -> bool {
        let begins = self.writes.is_on && !std::mem::replace(&mut self.writes.collects, true);
        if begins {
            self.writes.touched.clear();
        }
        begins
    }

    /// A key was changed.
    #[inline]
    pub(super) fn see_change(
        &mut self,
        id: RegistrationId,
        (db, key): (Db, &[u8]),
        kind: ChangeKind,
    ) {
        let of = self.active(id).and_then(|active| active.registration.write_through);
        // A time to live that no document shows is no change of it.
        if of.is_none() || kind == ChangeKind::ExpiryOnly {
            return;
        }
        if self.writes.collects {
            self.writes.touched.push(db, key);
        } else if !matches!(kind, ChangeKind::Expired | ChangeKind::Evicted) {
            self.count_writes(id, |counts| counts.unheld += 1);
        }
    }

    /// The command has run: its client waits for the keys that it has changed, if it may. Otherwise they are written as
    /// with MODE BEHIND.
    pub fn hold_write(&mut self, may_wait: bool, now_us: u64) -> Option<Held> {
        self.writes.collects = false;
        let touched = std::mem::take(&mut self.writes.touched);
        let mut held = None;
        if may_wait && !touched.is_empty() {
            held = self.wait_for(&touched, now_us);
        } else {
            touched.iter().for_each(|(db, key)| self.count_unheld(db, key));
        }
        self.writes.touched = touched;
        held
    }

    fn count_unheld(&mut self, db: Db, key: &[u8]) {
        if let Some(id) = self.writes_through(db, key) {
            self.count_writes(id, |counts| counts.unheld += 1);
        }
    }

    fn wait_for(&mut self, touched: &KeyList, now_us: u64) -> Option<Held> {
        self.fold(now_us);
        let mut missed = false;
        for (db, key) in touched.iter() {
            if let Some(id) = self.maybe_missed(db, key) {
                self.found(id, key, ChangeKind::Found, now_us);
                missed = true;
            }
        }
        if missed {
            self.fold(now_us);
        }
        let wait = WaitId(self.writes.last_wait.0 + 1);
        let mut entries = Entries::default();
        let (mut first, mut timeout_ms, mut left) = (None, u64::MAX, 0);
        for (db, key) in touched.iter() {
            let Some(id) = self.writes_through(db, key) else { continue };
            let Some(entry) = self.dirty.hasten(db, key) else { continue };
            first = first.or(Some(id));
            let of = self.active(id).and_then(|active| active.registration.write_through);
            let setting_ms = self.settings.through_timeout_ms.unsigned_abs();
            timeout_ms = timeout_ms.min(of.and_then(|of| of.timeout_ms).unwrap_or(setting_ms));
            let version = self.dirty.version(entry);
            let waits = self.writes.by_entry.entry(entry).or_default();
            // A key may have been changed more than once.
            if waits.last().is_none_or(|(_, last)| *last != wait) {
                waits.push((version, wait));
                entries.add(entry);
                left += 1;
            }
        }
        let registration_id = first?;
        self.changed = true;
        self.writes.last_wait = wait;
        self.writes.entries += left;
        if let Some(active) = self.active_mut(registration_id) {
            active.writes.gathers_since_us.get_or_insert(now_us);
        }
        let of = Wait { left, entries, registration_id, since_us: now_us, reply_bytes: 0 };
        self.writes.waits.insert(wait, of);
        self.count_writes(registration_id, |counts| counts.writes += 1);
        if self.settings.through_when_down == WhenDown::Fail && self.link.name() == "down" {
            self.writes.forget(wait);
            self.count_writes(registration_id, |counts| counts.timeouts += 1);
            let error = self.write_is_down();
            self.writes.ended.push((wait, Some(error)));
        }
        Some(Held { wait, timeout_ms, registration_id })
    }

    fn write_is_down(&self) -> String {
        format!(
            "WBDOWN MongoDB is not reached; Redis has the write, and MongoDB gets it later: {}",
            self.link.error()
        )
    }

    /// When the next batch of a registration can begin, microseconds. While a batch is in flight, keys for which
    /// clients wait are gathered for a short time, until they are an equal share of all: one after the other they would
    /// leave in batches of few keys, for each of which MongoDB has the same work.
    pub(super) fn gathered_due_us(&self, id: RegistrationId) -> Option<u64> {
        let due_us = self.registration_due_us(id)?;
        let since_us = self.active(id)?.writes.gathers_since_us;
        let batches = usize::try_from(self.settings.max_in_flight_batches).unwrap_or(1).max(1);
        let is_share = || self.dirty.queue(id).waiting() >= self.writes.waiting() / batches;
        match since_us {
            Some(since_us) if self.in_flight.has_sent(id) && !is_share() => {
                Some(due_us.max(since_us.saturating_add(GATHERED_US)))
            }
            _ => Some(due_us),
        }
    }

    /// An item of this entry and version has ended; `refused` tells why MongoDB refused it.
    pub(super) fn end_writes(
        &mut self,
        entry: EntryId,
        (version, settled): (Version, Settled),
        refused: Option<&str>,
        now_us: u64,
    ) {
        if self.writes.by_entry.is_empty() {
            return;
        }
        let Some(waits) = self.writes.by_entry.get_mut(&entry) else { return };
        // Versions wrap around.
        let is_newer = |of: &Version| version.0.wrapping_sub(of.0) < u32::MAX / 2;
        let is_over = |of: &Version| settled == Settled::Clean || is_newer(of);
        let over: Vec<WaitId> =
            waits.extract_if(.., |(of, _)| is_over(of)).map(|(_, wait)| wait).collect();
        if waits.is_empty() {
            self.writes.by_entry.remove(&entry);
        }
        for wait in over {
            self.end_write(wait, refused, now_us);
        }
    }

    fn end_write(&mut self, wait: WaitId, refused: Option<&str>, now_us: u64) {
        let Some(of) = self.writes.waits.get_mut(&wait) else { return };
        of.left = of.left.saturating_sub(1);
        let (id, since_us) = (of.registration_id, of.since_us);
        if let Some(reason) = refused {
            self.writes.forget(wait);
            self.count_writes(id, |counts| counts.refused += 1);
            let error =
                format!("WBREFUSED MongoDB has refused the write, which Redis keeps: {reason}");
            self.writes.ended.push((wait, Some(error)));
        } else if of.left == 0 {
            self.writes.remove(wait);
            if let Some(active) = self.active_mut(id) {
                active.writes.waited(now_us.saturating_sub(since_us), now_us);
            }
            self.writes.ended.push((wait, None));
        }
    }

    /// A key has left with its hash slot.
    pub(super) fn writes_see_left(&mut self, db: Db, key: &[u8]) {
        self.end_writes_of(db, key, LEFT);
    }

    /// The value of a key is lost.
    pub(super) fn writes_see_lost(&mut self, db: Db, key: &[u8]) {
        self.end_writes_of(db, key, LOST);
    }

    fn end_writes_of(&mut self, db: Db, key: &[u8], error: &str) {
        if !self.writes.by_entry.is_empty()
            && let Some(standing) = self.dirty.standing(db, key)
        {
            let entry = standing.entry;
            self.writes.end_entry(entry, error);
        }
    }

    /// The client of a command cannot be held after all.
    pub fn cannot_hold(&mut self, Held { wait, registration_id, .. }: Held) {
        let has_failed = self.writes.ended.iter().any(|(of, _)| *of == wait);
        self.writes.ended.retain(|(of, _)| *of != wait);
        self.writes.forget(wait);
        self.count_writes(registration_id, |counts| {
            counts.writes -= 1;
            counts.timeouts -= u64::from(has_failed);
            counts.unheld += 1;
        });
    }

    /// The timeout of a client has passed, or it was unblocked.
    pub fn write_timed_out(&mut self, wait: WaitId) {
        let id = self.writes.waits.get(&wait).map(|of| of.registration_id);
        if let Some(id) = id {
            self.writes.forget(wait);
            self.count_writes(id, |counts| counts.timeouts += 1);
        }
    }

    /// MongoDB is not reached any more.
    pub(super) fn writes_lose_link(&mut self) {
        if self.link.name() == "down" && self.settings.through_when_down == WhenDown::Fail {
            let error = self.write_is_down();
            let ids: Vec<RegistrationId> =
                self.writes.waits.values().map(|of| of.registration_id).collect();
            for id in ids {
                self.count_writes(id, |counts| counts.timeouts += 1);
            }
            self.writes.end_all(&error);
        }
    }

    /// The server has other data, or another role.
    pub(super) fn writes_begin_epoch(&mut self) {
        self.writes.end_all(OTHER_DATA);
    }

    fn count_writes(&mut self, id: RegistrationId, count: impl Fn(&mut WriteCounts)) {
        count(&mut self.writes.counts);
        if let Some(active) = self.active_mut(id) {
            count(&mut active.writes.counts);
        }
    }
}
