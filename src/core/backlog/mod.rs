//! The backlog: everything the server thread knows. Changes come in, batches go out, reports come
//! back. It calls nothing above it; the caller passes the time.

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
mod in_flight;
mod key_list;
mod lookahead;
mod moved_keys;
mod pause;
mod problems;
pub mod record;
mod registered;
mod registry;
mod removal;
mod replicated;
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

use std::sync::Arc;

use self::blocked_keys::BlockedKeys;
use self::change_log::{Change, ChangeKind, Log};
use self::dead_letters::DeadLetters;
use self::flush_waiters::{KeyEnd, Waiters};
use self::in_flight::InFlight;
use self::registry::Registry;
use self::slow_keys::SlowKeys;
use self::table::Dirty;
use super::delivery::lag::Percentiles;
use super::delivery::link_log::LinkWatch;
use super::registration::Registration;
use super::registration::shared_collections::Sharing;
use super::settings::Settings;
use crate::core::ids::{Db, RegistrationId};
pub use dead_letter_ops::{LetterScope, Refused};
pub use dispatch::{Missing, item};
pub use explain::Explained;
#[cfg(test)]
pub use explain::{KeyState, Obstacle};
pub use flushes::FlushScope;
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
    /// Settings as they are now.
    pub settings: Settings,
    /// Refused changes.
    pub dead: DeadLetters,
    /// The link to MongoDB.
    pub link: LinkWatch,
    /// Registrations, and which keys are theirs.
    pub registry: Registry,
    schedule: schedule::DueRegistrations,
    log: Log,
    dirty: Dirty,
    waiters: Waiters,
    /// Batches in flight.
    pub in_flight: InFlight,
    /// True when keys became dirty since [`take_changed`](Self::take_changed).
    changed: bool,
    /// The registration that the last batch was of; the next one is asked first.
    last_sent: Option<RegistrationId>,
    /// When the lag was reported, and what it was.
    lag: Option<(u64, Percentiles)>,
    /// Why the link failed last; empty since the next acknowledgement.
    link_error: String,
    /// The registration that had trouble last.
    last_trouble: Option<RegistrationId>,
    /// The ids that rest, because their namespaces refuse or their keys cannot be read.
    backing_off: std::collections::BTreeSet<RegistrationId>,
    /// The ids that have something to be logged, by the time from which on they may.
    trouble_lines: std::collections::BTreeSet<(u64, RegistrationId)>,
    /// True while nothing is sent at all.
    paused: bool,
    /// Counters of all registrations, those that are gone included; captured and coalesced are counted
    /// in the dirty set.
    counted: Counters,
    /// The ids of the registrations that are being loaded, by their saved numbers.
    loaded_ids: std::collections::HashMap<RegistrationId, RegistrationId>,
    /// The key whose removal was announced, and why: see [`gone`](Self::gone).
    announced: Option<(Db, Vec<u8>)>,
    indeterminate: rewrite::IndeterminateWrites,
    /// The sessions in which this server writes, or its master does.
    pub sessions: sessions::KnownSessions,
    contested: contested::ContestedKeys,
    /// The key that left a database last: see [`arrives`](Self::arrives).
    left: Option<(Db, Vec<u8>)>,
    /// Keys whose values take long to read.
    pub slow_keys: SlowKeys,
    watched_letters: lookahead::WatchedLetters,
    /// Which registrations write to the same collection.
    sharing: Sharing,
    /// Keys that wait by themselves.
    blocked: BlockedKeys,
    /// Registrations whose batches need credits for slow ones.
    slow_registrations: std::collections::BTreeSet<RegistrationId>,
    /// Dirty values that could not be captured before their keys went away.
    pub lost_total: u64,
    /// The longest time for which the server's thread read values or took in reports, microseconds.
    pub slice_max_us: u64,
}

impl Backlog {
    /// Binds a prefix, or gives a registered one new options. What is dirty stays dirty. Returns its
    /// registration, or nothing when there are 65,535 registrations already.
    pub fn register(&mut self, registration: Registration) -> Option<RegistrationId> {
        let (db, prefix) = (registration.db, registration.prefix.clone());
        let id = self.bind(registration)?;
        self.inherit_missed(id, db, &prefix);
        self.changed = true;
        Some(id)
    }

    /// The same without a look at what others have missed.
    fn bind(&mut self, mut registration: Registration) -> Option<RegistrationId> {
        let (db, prefix) = (registration.db, registration.prefix.clone());
        let id = match self.registry.find(db, &prefix) {
            Some(id) => {
                self.sharing.join(id, &registration);
                // SHARED is remembered.
                registration.shared = self.sharing.is_shared(id);
                if let Some(active) = self.active_mut(id) {
                    active.former_key = active.left_behind_by(&registration);
                    active.registration = Arc::new(registration);
                    // How long a draining id stays is not the same everywhere: a pause ends.
                    active.paused &= active.live;
                    active.live = true;
                    active.discards = false;
                    active.hold_us = 0;
                }
                self.reset_back_off(id);
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
        self.registry.route_to(id);
        self.slow_registrations.remove(&id);
        self.changed_registration(id);
        Some(id)
    }

    /// Stops capturing a prefix. Returns the number of keys that are still to be written, or
    /// with `discard` the number of keys dropped; nothing if the prefix is not registered.
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
        if let Some(active) = self.active_mut(id) {
            active.live = false;
            active.discards = discard;
            active.hold_us = 0;
        }
        // Nothing more will be coalesced, so nothing needs to wait.
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
    }

    /// Records that a key was touched, if it belongs to a registration. `clock` is asked for the time,
    /// microseconds, once for many changes.
    #[inline]
    pub fn record(&mut self, db: Db, key: &[u8], kind: ChangeKind, clock: impl FnOnce() -> u64) {
        let Some(id) = self.registry.route(db, key) else { return };
        let kind = match kind {
            ChangeKind::ExpiryOnly if self.shows_lifetime(id) => ChangeKind::ExpiryMayHaveChanged,
            // A value that was refused must not be lost when its key goes.
            ChangeKind::ExpiryOnly if self.dead.find(db, key).is_some() => {
                ChangeKind::ExpiryMayHaveChanged
            }
            // Only a server that looks ahead must know of it.
            ChangeKind::ExpiryOnly if !self.dirty.is_watching() => return,
            other => other,
        };
        if self.log.push(Change { db, registration_id: id, kind, key }) {
            self.fold(clock());
        }
    }

    fn shows_lifetime(&self, id: RegistrationId) -> bool {
        self.active(id).is_some_and(|active| active.registration.ttl_field.is_some())
    }

    /// Keys in the dirty set, in flight ones included.
    pub fn dirty_len(&self) -> usize {
        self.dirty.len()
    }

    /// The backlog with every change that was recorded until `now_us`, to read from.
    pub fn up_to_date(&mut self, now_us: u64) -> &Self {
        self.fold(now_us);
        self
    }

    /// Moves the logged changes into the dirty set. Whatever asks or changes what is known of a key does
    /// this first.
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

    /// The same when there are any.
    fn fold_logged(&mut self, now_us: u64) {
        if !self.log.is_empty() {
            self.fold(now_us);
        }
    }

    /// True once after something changed that may be due, with what was recorded until `now_us`.
    pub fn take_changed(&mut self, now_us: u64) -> bool {
        self.fold_logged(now_us);
        std::mem::take(&mut self.changed)
    }

    fn active(&self, id: RegistrationId) -> Option<&ActiveRegistration> {
        self.registry.at(id)
    }

    fn discard(&mut self, id: RegistrationId) {
        let (waiters, contested) = (&mut self.waiters, &mut self.contested);
        self.dirty.discard(id, |entry, since_us| {
            contested.ended(id, since_us, None);
            waiters.ended(KeyEnd {
                entry,
                registration_id: id,
                since_us,
                again_us: None,
                persisted: false,
            });
        });
    }

    fn active_mut(&mut self, id: RegistrationId) -> Option<&mut ActiveRegistration> {
        self.registry.at_mut(id)
    }

    /// A registration captures or not from now on, has other keys to mark, or is due at another time.
    fn changed_registration(&mut self, id: RegistrationId) {
        self.registry.changed(id);
        self.dirty.stir(id);
    }

    /// Counts for a registration, and for all of them.
    fn count(&mut self, id: RegistrationId, count: impl Fn(&mut Counters)) {
        count(&mut self.counted);
        if let Some(active) = self.active_mut(id) {
            count(&mut active.counters);
        }
    }

    /// Frees the registration of an unregistered prefix when its last key is written or dropped.
    fn retire_if_done(&mut self, id: RegistrationId) {
        let Some(active) = self.active(id).filter(|active| !active.live) else { return };
        let discards = active.discards;
        // Blocked keys that have gone to another registration wait for this one no more.
        if discards || self.dirty.queue(id).dirty() == 0 {
            self.release_blocked(id);
        }
        if discards {
            self.discard(id);
            self.dead.remove_registration(id);
            self.clear_missed(id);
        }
        // A batch of its may still report, even if its keys belong to others now.
        let flies = self.in_flight.has_any_of(id);
        let dead = self.dead.count(id) > 0;
        let missed = self.dirty.has_missed(id);
        if flies || dead || missed || self.dirty.queue(id).dirty() > 0 {
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
