//! The backlog: the state of the server thread. Input are changes and the worker's reports, output
//! are batches. It calls no higher layer; the caller passes the time.

mod blocked_key_waits;
pub mod blocked_keys;
pub mod change_log;
mod contested;
mod dead_letter_ops;
pub mod dead_letters;
pub mod deadline_heap;
mod dispatch;
mod explain;
pub mod flush_waiters;
mod flushes;
mod groups;
mod handover;
mod in_flight;
mod key_list;
pub mod lease;
pub mod loads;
mod lookahead;
mod moved_keys;
mod pause;
mod problems;
pub mod reads;
pub mod record;
mod registered;
pub mod registry;
mod removal;
mod replicated;
pub mod revisions;
mod rewrite;
mod scan;
mod schedule;
mod sessions;
mod settle;
mod sharing;
mod slow_key_waits;
pub mod slow_keys;
mod snapshot;
mod stats;
pub mod stream_words;
pub mod table;
mod trouble;
pub mod verify;
pub mod writes;

use std::sync::Arc;

use self::blocked_keys::BlockedKeys;
use self::change_log::{Change, ChangeKind, Log};
use self::dead_letters::DeadLetters;
use self::flush_waiters::Waiters;
use self::in_flight::InFlight;
use self::registry::Registry;
use self::slow_keys::SlowKeys;
use self::table::Dirty;
use super::delivery::buckets::WriteTimes;
use super::delivery::lag::Percentiles;
use super::delivery::link_log::LinkWatch;
use super::registration::shared_collections::Sharing;
use super::registration::{Atomic, Registration};
use super::settings::Settings;
use crate::core::ids::{Db, EntryId, GroupId, RegistrationId};
pub use dead_letter_ops::{LetterScope, Refused};
pub use dispatch::{Due, Missing, item};
pub use explain::Explained;
#[cfg(test)]
pub use explain::{KeyState, Obstacle};
pub use flushes::FlushScope;
pub use groups::DueGroup;
pub use in_flight::Flight;
pub use key_list::KeyList;
pub use lookahead::Watched;
pub use registered::{ActiveRegistration, Counters, Scanned};
pub use settle::Acknowledged;
pub use stats::{BacklogState, Figure};
pub use trouble::TroubleLine;

/// All state of the module that belongs to the server thread.
#[derive(Debug, Default)]
pub struct Backlog {
    /// Current settings.
    pub settings: Settings,
    /// Dead letters.
    pub dead: DeadLetters,
    /// The link to MongoDB.
    pub link: LinkWatch,
    /// The registrations, and the routing of keys to them.
    pub registry: Registry,
    schedule: schedule::DueRegistrations,
    log: Log,
    dirty: Dirty,
    waiters: Waiters,
    /// Batches in flight.
    pub in_flight: InFlight,
    /// True if keys may have become due since the last [`take_changed`](Self::take_changed).
    changed: bool,
    /// The registration of the last batch; the search for the next one starts after it.
    last_sent: Option<RegistrationId>,
    /// The last reported lag and when it was reported.
    lag: Option<(u64, Percentiles)>,
    /// The last reported times of writes.
    pub times: WriteTimes,
    /// Why the link failed last; empty after the next acknowledgement.
    link_error: String,
    /// The registration that had an error last.
    last_trouble: Option<RegistrationId>,
    /// Registrations that back off because their namespaces refuse writes or their keys cannot be
    /// read.
    backing_off: std::collections::BTreeSet<RegistrationId>,
    /// Registrations with a line to log, by the time from which it may be logged.
    trouble_lines: std::collections::BTreeSet<(u64, RegistrationId)>,
    /// True while all registrations are paused.
    paused: bool,
    /// Counters of all registrations, including removed ones; captured and coalesced are counted in
    /// the dirty table.
    counted: Counters,
    /// Ids of the registrations that are being loaded, by their saved ids.
    loaded_ids: std::collections::HashMap<RegistrationId, RegistrationId>,
    /// A key of each group that is being loaded, by the saved number of the group.
    loaded_groups: std::collections::HashMap<GroupId, EntryId>,
    /// The key whose removal was announced: see [`announce`](Self::announce).
    announced: Option<(Db, Vec<u8>)>,
    /// Keys whose move to another node was announced: see [`left`](Self::left).
    announced_left: std::collections::HashSet<(Db, Vec<u8>)>,
    indeterminate: rewrite::IndeterminateWrites,
    /// The MongoDB sessions of this server or its master.
    pub sessions: sessions::KnownSessions,
    /// The shard and its lease.
    pub lease: lease::LeaseView,
    /// Documents that are loaded into Redis.
    pub loads: loads::Loads,
    /// Keys that are loaded when clients read them.
    pub reads: reads::Reads,
    /// Clients that wait until MongoDB has what they wrote.
    pub writes: writes::Writes,
    /// Keys that are compared with their documents.
    pub verifies: verify::Verifies,
    /// Keys that are handed over to other nodes of a cluster.
    pub handovers: handover::Handovers,
    /// The revisions of registrations in a cluster.
    pub revisions: revisions::Revisions,
    contested: contested::ContestedKeys,
    groups: groups::GroupState,
    /// True once a registration had `ATOMIC WHOLE`.
    keeps_groups_whole: bool,
    /// The key of the last `move_from` event: see [`move_to`](Self::move_to).
    left: Option<(Db, Vec<u8>)>,
    /// Keys whose values are slow to read.
    pub slow_keys: SlowKeys,
    watched_letters: lookahead::WatchedLetters,
    /// Registrations that write to the same collection.
    sharing: Sharing,
    /// Blocked keys, each of which is retried in a batch of its own.
    blocked: BlockedKeys,
    /// Registrations whose batches need credits for slow batches.
    slow_registrations: std::collections::BTreeSet<RegistrationId>,
    /// Number of dirty values that could not be retained before their keys were removed.
    pub lost_total: u64,
    /// The longest time for which the server thread read values or settled reports, microseconds.
    pub slice_max_us: u64,
}

impl Backlog {
    /// Registers a prefix, or changes the options of a registered one; dirty keys stay dirty.
    /// Returns the id, or `None` if there are 65,535 registrations already.
    pub fn register(&mut self, registration: Registration) -> Option<RegistrationId> {
        let (db, prefix) = (registration.db, registration.prefix.clone());
        let id = self.bind(registration)?;
        self.inherit_missed(id, db, &prefix);
        self.changed = true;
        Some(id)
    }

    /// The same without taking over missed changes of shorter prefixes.
    fn bind(&mut self, mut registration: Registration) -> Option<RegistrationId> {
        let (db, prefix) = (registration.db, registration.prefix.clone());
        let id = match self.registry.find(db, &prefix) {
            Some(id) => {
                self.sharing.join(id, &registration);
                // A registration that was shared once stays shared.
                registration.shared = self.sharing.is_shared(id);
                if self.active(id).is_some_and(|active| *active.registration != registration) {
                    self.loads.changed(id);
                    self.reads.changed(id);
                    self.verifies.changed(id);
                }
                if let Some(active) = self.active_mut(id) {
                    active.former_key = active.left_behind_by(&registration);
                    active.registration = Arc::new(registration);
                    // A draining registration is removed at different times on master and replicas,
                    // so its pause must end here on all of them.
                    active.paused &= active.live;
                    active.live = true;
                    active.discards = false;
                    active.hold_us = 0;
                }
                self.reset_back_off(id);
                self.dirty.release_held();
                id
            }
            None => {
                let registration = Arc::new(registration);
                let id = self.registry.add(ActiveRegistration::new(Arc::clone(&registration)))?;
                self.sharing.join(id, &registration);
                id
            }
        };
        self.dirty.open_registration(id);
        let atomic = self.active(id).map(|active| active.registration.atomic);
        self.keeps_groups_whole |= atomic == Some(Atomic::Whole);
        self.dirty.set_apart(id, atomic == Some(Atomic::None));
        self.registry.route_to(id);
        self.slow_registrations.remove(&id);
        self.changed_registration(id);
        Some(id)
    }

    /// Stops capturing a prefix. Returns the number of keys that are still to be written, or with
    /// `discard` the number of keys dropped; `None` if the prefix is not registered.
    pub fn unregister(
        &mut self,
        db: Db,
        prefix: &[u8],
        discard: bool,
        now_us: u64,
    ) -> Option<usize> {
        let id = self.registry.find_live(db, prefix)?;
        self.fold(now_us);
        self.changed = true;
        self.registry.stop_routing(db, prefix);
        self.sharing.leave(id);
        self.loads.remove(id);
        self.verifies.remove(id);
        self.end_reads(Some(id), &reads::LoadEnd::Unknown, now_us);
        self.reads.changed(id);
        if let Some(active) = self.active_mut(id) {
            active.live = false;
            active.discards = discard;
            active.hold_us = 0;
        }
        if discard {
            // Those that wait with their groups are dropped, too.
            self.dirty.unpark_all();
        }
        self.dirty.release_held();
        // No further change will be coalesced, so its keys are due immediately.
        self.changed_registration(id);
        let watermark_us = self.dirty.watermark_us(now_us);
        self.dirty.flush(id, watermark_us);
        let queue = self.dirty.queue(id);
        let keys = if discard { queue.waiting() } else { queue.dirty() };
        self.retire_if_done(id);
        Some(keys)
    }

    /// Changes settings.
    pub fn change_settings(&mut self, change: impl FnOnce(&mut Settings)) {
        change(&mut self.settings);
        self.changed = true;
        self.writes_lose_link();
    }

    /// Records a change of a key, if it belongs to a registration. `joins` tells, for such a key only,
    /// whether the MULTI, script or command that changed the recorded key before has changed this one,
    /// too. `clock` returns the time in microseconds; it is called once for many changes.
    #[inline]
    pub fn record(
        &mut self,
        (db, key): (Db, &[u8]),
        kind: ChangeKind,
        joins: impl FnOnce() -> bool,
        clock: impl FnOnce() -> u64,
    ) {
        let Some(id) = self.registry.route(db, key) else { return };
        let kind = match kind {
            ChangeKind::ExpiryOnly if self.shows_lifetime(id) => ChangeKind::ExpiryMayHaveChanged,
            // The value of a dead letter must not be lost when its key is removed.
            ChangeKind::ExpiryOnly if self.dead.find(db, key).is_some() => {
                ChangeKind::ExpiryMayHaveChanged
            }
            // Only needed if values are retained ahead of expiration.
            ChangeKind::ExpiryOnly if !self.dirty.is_watching() => return,
            other => other,
        };
        if self.writes.is_on {
            self.see_change(id, (db, key), kind);
        }
        let joins = self.registry.has_groups() && joins();
        if self.log.push(Change { db, registration_id: id, kind, joins, key }) {
            self.fold(clock());
        }
    }

    fn shows_lifetime(&self, id: RegistrationId) -> bool {
        self.active(id).is_some_and(|active| active.registration.ttl_field.is_some())
    }

    /// Number of dirty keys, including those in flight.
    pub fn dirty_len(&self) -> usize {
        self.dirty.len()
    }

    /// Folds the change log and returns the backlog for reading.
    pub fn up_to_date(&mut self, now_us: u64) -> &Self {
        self.fold(now_us);
        self
    }

    /// Folds the change log into the dirty table. Every method that reads or changes the state of a
    /// key does this first, or [`fold_logged`](Self::fold_logged).
    fn fold(&mut self, now_us: u64) {
        self.changed |= !self.log.is_empty();
        self.dirty.set_limit(usize::try_from(self.settings.dirty_max_bytes).unwrap_or(0));
        self.dirty.fold(&mut self.log, now_us);
        for moved in self.dirty.moved() {
            self.waiters.moved(moved.registration_id, moved.since_us);
            self.contested.ended(moved.registration_id, moved.since_us, None);
            self.retire_if_done(moved.registration_id);
        }
    }

    /// The same if the log is not empty; only then `clock` is called.
    fn fold_logged(&mut self, clock: impl FnOnce() -> u64) {
        if !self.log.is_empty() {
            self.fold(clock());
        }
    }

    /// True once after a change that may have made keys due. Folds the change log.
    pub fn take_changed(&mut self, now_us: u64) -> bool {
        self.fold_logged(|| now_us);
        std::mem::take(&mut self.changed)
    }

    fn active(&self, id: RegistrationId) -> Option<&ActiveRegistration> {
        self.registry.at(id)
    }

    fn active_mut(&mut self, id: RegistrationId) -> Option<&mut ActiveRegistration> {
        self.registry.at_mut(id)
    }

    /// Must be called after a registration began or stopped capturing or syncing, or when its due
    /// time may have changed.
    fn changed_registration(&mut self, id: RegistrationId) {
        self.registry.changed(id);
        self.dirty.reschedule(id);
    }

    /// Updates the counters of a registration and the totals.
    fn count(&mut self, id: RegistrationId, count: impl Fn(&mut Counters)) {
        count(&mut self.counted);
        if let Some(active) = self.active_mut(id) {
            count(&mut active.counters);
        }
    }

    /// Removes an unregistered registration if its last key was written or dropped.
    fn retire_if_done(&mut self, id: RegistrationId) {
        let Some(active) = self.active(id).filter(|active| !active.live) else { return };
        let discards = active.discards;
        // Blocked keys that moved to another registration are no longer blocked in this one.
        if discards || self.dirty.queue(id).dirty() == 0 {
            self.release_blocked(id);
        }
        if discards {
            self.discard(id);
            self.dead.remove_registration(id);
            self.clear_missed(id);
        }
        // A batch of this registration may still be reported, even if its keys have moved to others.
        let in_flight = self.in_flight.has_any_of(id);
        let dead = self.dead.count(id) > 0;
        let missed = self.dirty.has_missed(id);
        if in_flight || dead || missed || self.dirty.queue(id).dirty() > 0 {
            return;
        }
        if self.registry.remove(id).is_some() {
            self.dirty.forget_counters(id);
            self.backing_off.remove(&id);
            self.dead.remove_registration(id);
        }
    }
}

#[cfg(test)]
mod tests;
