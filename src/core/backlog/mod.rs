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

use std::sync::Arc;

use self::blocked_keys::BlockedKeys;
use self::change_log::{Change, Log, Touch};
use self::dead_letters::DeadLetters;
use self::flush_waiters::{Ended, Waiters};
use self::slow_keys::Heavy;
use self::table::Dirty;
use super::delivery::lag::Percentiles;
use super::delivery::link_log::LinkWatch;
use super::registration::Registration;
use super::registration::router::Routes;
use super::registration::shared_collections::Sharing;
use super::settings::Settings;
pub use dead_letter_ops::{LetterScope, Refused};
pub use dispatch::{Flight, Missing, item};
pub use explain::Explained;
#[cfg(test)]
pub use explain::{KeyState, Obstacle};
pub use flushes::FlushScope;
pub use key_list::Keys;
pub use lookahead::Watched;
pub use problems::{Trouble, TroubleLine};
pub use registered::{Counters, Scanned, Slot};
pub use settle::Acknowledged;
pub use stats::{Figure, State};

/// All state of the module that belongs to the server thread.
#[derive(Debug, Default)]
pub struct Backlog {
    /// Settings as they are now.
    pub settings: Settings,
    /// Refused changes.
    pub dead: DeadLetters,
    /// The link to MongoDB.
    pub link: LinkWatch,
    routes: Routes,
    registry: registry::Registry,
    schedule: schedule::Schedule,
    log: Log,
    dirty: Dirty,
    waiters: Waiters,
    /// Batches that the worker is ready to take; less than none after one that was sent without.
    credits: i64,
    /// The same for batches of slow registrations and of blocked keys.
    slow_credits: i64,
    /// Grows when the role changes or data is loaded.
    epoch: u32,
    /// True when keys became dirty since [`take_changed`](Self::take_changed).
    changed: bool,
    /// Batches of earlier epochs that have not ended.
    stale_flights: usize,
    /// The slot that is asked first for the next batch.
    turn: u16,
    /// Slot and oldest change of every batch in flight.
    flights: Vec<Flight>,
    /// The same of a batch that is still being filled.
    held: Option<Flight>,
    /// Buffers of finished batches.
    spare: Vec<super::delivery::batch::Batch>,
    /// When the lag was reported, and what it was.
    lag: Option<(u64, Percentiles)>,
    /// Why the link failed last; empty since the next acknowledgement.
    link_error: String,
    /// The slot that had trouble last.
    last_trouble: Option<u16>,
    /// The slots that rest, because their namespaces refuse or their keys cannot be read.
    resting: std::collections::BTreeSet<u16>,
    /// The slots that have something to be logged, by the time from which on they may.
    trouble_lines: std::collections::BTreeSet<(u64, u16)>,
    /// True while nothing is sent at all.
    paused: bool,
    /// Counters of all registrations, those that are gone included; captured and coalesced are counted
    /// in the dirty set.
    counted: Counters,
    /// The slots of the registrations that are being loaded, by their saved numbers.
    loaded_slots: std::collections::HashMap<u16, u16>,
    /// The key whose removal was announced, and why: see [`gone`](Self::gone).
    announced: Option<(u16, Vec<u8>)>,
    indeterminate: rewrite::IndeterminateWrites,
    lanes: sessions::Lanes,
    contested: contested::Contested,
    /// The key that left a database last: see [`arrives`](Self::arrives).
    left: Option<(u16, Vec<u8>)>,
    /// Keys whose values take long to read.
    heavy: Heavy,
    watched_letters: lookahead::WatchedLetters,
    /// Which registrations write to the same collection.
    sharing: Sharing,
    /// True once a registration had EXCLUDE: only then is it looked at with each key.
    has_excluded: bool,
    /// Keys that wait by themselves.
    blocked: BlockedKeys,
    /// Registrations whose batches need credits for slow ones.
    slow_slots: std::collections::BTreeSet<u16>,
    /// Dirty values that could not be captured before their keys went away.
    pub lost_total: u64,
    /// The longest time for which the server's thread read values or took in reports, microseconds.
    pub slice_max_us: u64,
}

impl Backlog {
    /// Binds a prefix, or gives a bound one new options. What is dirty stays dirty. Returns its
    /// slot, or nothing when there are 65,535 registrations already.
    pub fn register(&mut self, registration: Registration) -> Option<u16> {
        let (db, prefix) = (registration.db, registration.prefix.clone());
        let slot = self.bind(registration)?;
        self.inherit_missed(slot, db, &prefix);
        self.changed = true;
        Some(slot)
    }

    /// The same without a look at what others have missed.
    fn bind(&mut self, mut registration: Registration) -> Option<u16> {
        let (db, prefix) = (registration.db, registration.prefix.clone());
        self.has_excluded |= !registration.exclude.is_empty();
        let slot = match self.slot_of(db, &prefix) {
            Some(slot) => {
                self.sharing.join(slot, &registration);
                // SHARED is remembered.
                registration.shared = self.sharing.is_shared(slot);
                if let Some(bound) = self.slot_mut(slot) {
                    bound.former_key = bound.left_behind_by(&registration);
                    bound.registration = Arc::new(registration);
                    // How long a draining slot stays is not the same everywhere: a pause ends.
                    bound.paused &= bound.live;
                    bound.live = true;
                    bound.discards = false;
                    bound.hold_us = 0;
                }
                self.rests_anew(slot);
                slot
            }
            None => {
                let registration = Arc::new(registration);
                let slot = self.registry.add(Slot::new(Arc::clone(&registration)))?;
                self.sharing.join(slot, &registration);
                slot
            }
        };
        self.dirty.open_slot(slot);
        self.routes.insert(db, &prefix, slot);
        self.slow_slots.remove(&slot);
        self.changed_slot(slot);
        Some(slot)
    }

    /// Stops capturing a prefix. Returns the number of keys that are still to be written, or
    /// with `discard` the number of keys dropped; nothing if the prefix is not registered.
    pub fn unregister(
        &mut self,
        db: u16,
        prefix: &[u8],
        discard: bool,
        now_us: u64,
    ) -> Option<usize> {
        let slot = self.slot_of(db, prefix).filter(|slot| self.is_live(*slot))?;
        self.fold(now_us);
        self.changed = true;
        self.routes.remove(db, prefix);
        self.sharing.leave(slot);
        if let Some(bound) = self.slot_mut(slot) {
            bound.live = false;
            bound.discards = discard;
            bound.hold_us = 0;
        }
        // Nothing more will be coalesced, so nothing needs to wait.
        self.changed_slot(slot);
        let watermark_us = self.dirty.watermark_us(now_us);
        self.dirty.flush(slot, watermark_us);
        let queue = self.dirty.queue(slot);
        let keys = if discard { queue.waiting() } else { queue.dirty() };
        self.retire_if_done(slot);
        Some(keys)
    }

    /// Changes settings.
    pub fn change_settings(&mut self, change: impl FnOnce(&mut Settings)) {
        change(&mut self.settings);
        self.changed = true;
    }

    /// A key was touched. Returns true when the log should be folded.
    #[inline]
    pub fn touch(&mut self, db: u16, key: &[u8], touch: Touch) -> bool {
        let Some(slot) = self.route(db, key) else { return false };
        let touch = match touch {
            Touch::Lifetime if self.shows_lifetime(slot) => Touch::Timed,
            // A value that was refused must not be lost when its key goes.
            Touch::Lifetime if self.dead.find(db, key).is_some() => Touch::Timed,
            // Only a server that looks ahead must know of it.
            Touch::Lifetime if !self.dirty.is_watching() => return false,
            other => other,
        };
        self.log.push(Change { db, slot, touch, key })
    }

    fn shows_lifetime(&self, slot: u16) -> bool {
        self.slot(slot).is_some_and(|bound| bound.registration.ttl_field.is_some())
    }

    /// True when no key can be captured.
    #[inline]
    pub fn has_no_registrations(&self) -> bool {
        self.routes.is_empty()
    }

    /// Keys in the dirty set, in flight ones included.
    pub fn dirty_len(&self) -> usize {
        self.dirty.len()
    }

    /// True when there are changes to fold.
    pub fn has_log(&self) -> bool {
        !self.log.is_empty()
    }

    /// Moves the logged changes into the dirty set.
    pub fn fold(&mut self, now_us: u64) {
        self.changed |= !self.log.is_empty();
        self.dirty.set_limit(usize::try_from(self.settings.dirty_max_bytes).unwrap_or(0));
        self.dirty.fold(&mut self.log, now_us);
        for moved in self.dirty.moved() {
            self.waiters.moved(moved.slot, moved.since_us);
            self.contested.ended(moved.slot, moved.since_us, None);
            self.retire_if_done(moved.slot);
        }
    }

    /// True once after changes were folded, wherever that happened.
    pub fn take_changed(&mut self) -> bool {
        std::mem::take(&mut self.changed)
    }

    /// The live registration of `prefix` in `db`.
    pub fn live_slot(&self, db: u16, prefix: &[u8]) -> Option<u16> {
        self.slot_of(db, prefix).filter(|slot| self.is_live(*slot))
    }

    /// The slot of `prefix` in `db`, also while it only drains.
    pub fn slot_of(&self, db: u16, prefix: &[u8]) -> Option<u16> {
        self.registry.find(db, prefix)
    }

    /// The logical databases in which `prefix` is registered.
    pub fn databases_of(&self, prefix: &[u8]) -> impl Iterator<Item = u16> {
        let slots = self.registry.iter().filter(|slot| slot.live);
        slots.map(|slot| &slot.registration).filter(move |of| of.prefix == prefix).map(|of| of.db)
    }

    /// The registration in `slot`.
    pub fn slot(&self, slot: u16) -> Option<&Slot> {
        self.registry.at(slot)
    }

    /// The slot that `key` of `db` belongs to.
    #[inline]
    pub fn route(&self, db: u16, key: &[u8]) -> Option<u16> {
        let slot = self.routes.find(db, key)?;
        let excluded = self.has_excluded && self.slot_excludes(slot, key);
        (!excluded).then_some(slot)
    }

    /// True if `key` of `db` belongs to no registration because of an EXCLUDE.
    pub fn is_excluded(&self, db: u16, key: &[u8]) -> bool {
        self.routes.find(db, key).is_some_and(|slot| self.slot_excludes(slot, key))
    }

    fn slot_excludes(&self, slot: u16, key: &[u8]) -> bool {
        self.slot(slot).is_some_and(|bound| bound.registration.excludes(key))
    }

    fn discard(&mut self, slot: u16) {
        let (waiters, contested) = (&mut self.waiters, &mut self.contested);
        self.dirty.discard(slot, |entry, since_us| {
            contested.ended(slot, since_us, None);
            waiters.ended(Ended { entry, slot, since_us, again_us: None, persisted: false });
        });
    }

    fn slot_mut(&mut self, slot: u16) -> Option<&mut Slot> {
        self.registry.at_mut(slot)
    }

    /// A registration captures or not from now on, has other keys to mark, or is due at another time.
    fn changed_slot(&mut self, slot: u16) {
        self.registry.changed(slot);
        self.dirty.stir(slot);
    }

    /// Counts for a registration, and for all of them.
    fn count(&mut self, slot: u16, count: impl Fn(&mut Counters)) {
        count(&mut self.counted);
        if let Some(bound) = self.slot_mut(slot) {
            count(&mut bound.counters);
        }
    }

    fn is_live(&self, slot: u16) -> bool {
        self.slot(slot).is_some_and(|slot| slot.live)
    }

    /// Frees the slot of an unregistered prefix when its last key is written or dropped.
    fn retire_if_done(&mut self, slot: u16) {
        let Some(bound) = self.slot(slot).filter(|bound| !bound.live) else { return };
        let discards = bound.discards;
        // Blocked keys that have gone to another registration wait for this one no more.
        if discards || self.dirty.queue(slot).dirty() == 0 {
            self.release_blocked(slot);
        }
        if discards {
            self.discard(slot);
            self.dead.remove_slot(slot);
            self.clear_missed(slot);
        }
        // A batch of its may still report, even if its keys belong to others now.
        let flies = self.flights.iter().chain(&self.held).any(|flight| flight.slot == slot);
        let dead = self.dead.count(slot) > 0;
        let missed = self.dirty.has_missed(slot);
        if flies || dead || missed || self.dirty.queue(slot).dirty() > 0 {
            return;
        }
        if self.registry.remove(slot).is_some() {
            self.dirty.forget_counters(slot);
            self.resting.remove(&slot);
            self.dead.remove_slot(slot);
        }
    }
}

#[cfg(test)]
mod tests;
