//! The backlog's state as it is saved with the data, and what happens to it when data is loaded
//! or the role changes.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::{Backlog, Slot};
use crate::core::backlog::record::{Record, SavedKey};
use crate::core::backlog::table::{DirtyKey, Missed};

impl Backlog {
    /// True when there is nothing to save: the data can then be loaded without the module.
    pub fn is_blank(&self) -> bool {
        !self.paused && self.registry.len() == 0 && self.dead.is_empty()
    }

    /// Hands every record to `save`: registrations first, because the others refer to them.
    pub fn save(&mut self, now_us: u64, mut save: impl FnMut(Record<'_>)) {
        self.fold(now_us);
        if self.paused {
            save(Record::Paused);
        }
        for number in self.registry.numbers() {
            let Some(slot) = self.slot(number) else { continue };
            save(Record::Registration {
                slot: number,
                live: slot.live,
                discards: slot.discards,
                sync_pending: slot.sync_pending,
                paused: slot.paused,
                missed: self.dirty.missed(number),
                registration: slot.registration.as_ref().clone(),
            });
        }
        for (slot, stamps) in self.sharing.saved() {
            save(Record::Sharing { slot, stamps });
        }
        if !self.lanes().is_empty() {
            save(Record::Lanes(self.lanes().to_vec()));
        }
        for key in self.dirty.keys() {
            save(Record::Key(SavedKey {
                slot: key.slot,
                db: key.db,
                touch: key.touch,
                since_us: key.since_us,
                key: key.key,
                captured: key.captured.cloned(),
            }));
        }
        for (db, key, letter) in self.dead.iter() {
            save(Record::Dead { db, key, letter: letter.clone() });
        }
    }

    /// Forgets everything that is saved with the data; registrations from the file stay. What is
    /// in flight does not count any more.
    pub fn clear(&mut self) {
        self.log.clear();
        self.dirty.clear();
        self.begin_epoch();
        for slot in self.rescans().collect::<Vec<u16>>() {
            self.dirty.set_missed(slot, Missed::default());
        }
        self.dead = Default::default();
        self.watched_letters = Default::default();
        self.resume(None);
        self.announced = None;
        self.loaded_slots.clear();
        for number in 0..self.registry.end() {
            let Some(slot) = self.slot(number).filter(|slot| !slot.from_file) else { continue };
            let registration = Arc::clone(&slot.registration);
            self.routes.remove(registration.db, &registration.prefix);
            self.sharing.leave(number);
            if let Some(slot) = self.slot_mut(number) {
                slot.live = false;
            }
            self.changed_slot(number);
            self.retire_if_done(number);
        }
        self.sharing.begin_load();
    }

    /// Adds one saved record. Call [`clear`](Self::clear) before the first.
    ///
    /// Times after `now_us` become `now_us`: the clock of the server that saved them may have been
    /// ahead of this one, and a change in the future would be due, and end a flush, only then.
    pub fn load(&mut self, record: Record<'_>, now_us: u64) {
        match record {
            Record::Paused => self.pause(None),
            Record::Lanes(lanes) => self.set_lanes(lanes, false),
            Record::Registration {
                slot: saved,
                live,
                discards,
                sync_pending,
                paused,
                missed,
                registration,
            } => {
                let (db, prefix) = (registration.db, registration.prefix.clone());
                let Some(slot) = self.bind(registration) else { return };
                self.loaded_slots.insert(saved, slot);
                self.dirty.set_missed(slot, missed.until(now_us));
                if !live {
                    self.routes.remove(db, &prefix);
                    self.sharing.leave(slot);
                }
                if let Some(bound) = self.slot_mut(slot) {
                    bound.live = live;
                    bound.discards = discards;
                    bound.sync_pending = sync_pending;
                    bound.paused = paused;
                }
                self.changed_slot(slot);
            }
            Record::Sharing { slot, stamps } => {
                if let Some(slot) = self.loaded_slots.get(&slot).copied() {
                    self.sharing.load(slot, stamps);
                }
            }
            Record::Key(SavedKey { slot, db, touch, since_us, key, captured }) => {
                if let Some(slot) = self.loaded_slots.get(&slot).copied() {
                    let (captured, since_us) = (captured.as_ref(), since_us.min(now_us));
                    self.dirty.load(DirtyKey { db, slot, touch, since_us, key, captured });
                }
            }
            Record::Dead { db, key, mut letter } => {
                if let Some(slot) = self.loaded_slots.get(&letter.slot).copied() {
                    letter.slot = slot;
                    letter.unix_ms = letter.unix_ms.min(now_us / 1000);
                    self.dead.replace(db, key, letter);
                    self.watch_letter(db, key);
                }
            }
        }
    }

    /// The role has changed, or data was loaded: what is in flight does not count any more.
    pub fn begin_epoch(&mut self) {
        self.changed = true;
        self.waiters.abandon();
        self.dirty.end_flights();
        self.blocked.clear();
        self.indeterminate = Default::default();
        self.contested = Default::default();
        self.epoch = self.epoch.wrapping_add(1);
        self.link_error.clear();
        self.stale_flights += self.flights.len();
        self.flights.clear();
        self.held = None;
    }

    /// A number that two backlogs with the same dirty keys share.
    pub fn digest(&mut self, now_us: u64) -> u64 {
        self.fold(now_us);
        self.dirty.digest()
    }

    /// The dirty keys of `db`, or of all, and those with a dead letter, whose values are still in
    /// Redis alone.
    pub fn uncaptured(&mut self, db: Option<u16>, now_us: u64) -> Vec<(u16, Vec<u8>)> {
        self.fold(now_us);
        let keys = self
            .dirty
            .keys()
            .filter(|key| key.captured.is_none() && db.is_none_or(|db| db == key.db))
            .map(|key| (key.db, key.key.to_vec()));
        let letters = self
            .dead
            .iter()
            .filter(|(of, key, _)| db.is_none_or(|db| db == *of) && self.is_refused(*of, key))
            .map(|(db, key, _)| (db, key.to_vec()));
        keys.chain(letters).collect()
    }

    /// The logical databases of the keys, dirty or refused, whose values are still in Redis.
    pub fn uncaptured_dbs(&mut self, now_us: u64) -> BTreeSet<u16> {
        self.fold(now_us);
        let keys = self.dirty.keys().filter(|key| key.captured.is_none()).map(|key| key.db);
        let letters = self.dead.iter().filter(|(db, key, _)| self.is_refused(*db, key));
        keys.chain(letters.map(|(db, ..)| db)).collect()
    }

    /// Begins or ends the marking of existing keys.
    pub fn set_sync_pending(&mut self, slot: u16, pending: bool) {
        if let Some(bound) = self.slot_mut(slot) {
            bound.sync_pending = pending;
        }
        self.registry.changed(slot);
    }

    /// Marks a slot as one of the file: it survives the loading of data.
    pub fn set_from_file(&mut self, slot: u16) {
        if let Some(slot) = self.slot_mut(slot) {
            slot.from_file = true;
        }
    }

    /// The slot of a key that is dirty, may be or was refused, for capturing: a key whose prefix is
    /// gone from the routes has one still.
    pub fn slot_of_key(&self, db: u16, key: &[u8]) -> Option<&Slot> {
        let letter = || self.dead.find(db, key).map(|letter| letter.slot);
        let slot = self.dirty.slot_of(db, key).or_else(|| self.maybe_missed(db, key));
        self.slot(slot.or_else(letter)?)
    }
}
