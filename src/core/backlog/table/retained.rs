//! Values copied from keys that went away, or are about to, before they were written; and the
//! whole set as records, for saving and loading it.

use super::captured_values::Captured;
use super::entry::{Entry, State};
use super::{Dirty, Touch};
use crate::core::ids::{Db, EntryId, RegistrationId, Version};

/// A dirty key with all that is worth saving.
#[derive(Clone, Copy, Debug)]
pub struct DirtyKey<'a> {
    /// Logical database.
    pub db: Db,
    /// ActiveRegistration of the registration.
    pub registration_id: RegistrationId,
    /// How it was touched last.
    pub touch: Touch,
    /// Since when it is dirty, microseconds.
    pub since_us: u64,
    /// The key.
    pub key: &'a [u8],
    /// Its value, if it was captured.
    pub captured: Option<&'a Captured>,
}

impl Dirty {
    /// Keeps the value of a dirty key whose key goes away. False when the key is clean.
    pub fn capture(&mut self, db: Db, key: &[u8], value: Captured) -> bool {
        let Some(id) = self.find(self.hash(db, key), db, key) else { return false };
        self.entries.at_mut(id).touch = Touch::Captured;
        self.captured.insert(id, value);
        self.unwatch(id);
        true
    }

    /// Keeps the value of a key whose change `registration_id` may have missed. Where it stands now, it is
    /// dirty since now: who counted what was dirty before has not counted it.
    pub fn capture_missed(
        &mut self,
        db: Db,
        registration_id: RegistrationId,
        key: &[u8],
        value: &Captured,
    ) {
        let hash = self.hash(db, key);
        if self.find(hash, db, key).is_some() {
            return;
        }
        self.version = self.version.next();
        let (touch, since_us) = (Touch::Captured, self.latest_us);
        self.insert(
            hash,
            DirtyKey { db, registration_id, touch, since_us, key, captured: Some(value) },
        );
    }

    /// How a key that is dirty was touched last; nothing when it is clean.
    pub fn touched(&self, db: Db, key: &[u8]) -> Option<Touch> {
        let id = self.find(self.hash(db, key), db, key)?;
        Some(self.entries.at(id).touch)
    }

    /// The registration of a key that is dirty.
    pub fn id_of(&self, db: Db, key: &[u8]) -> Option<RegistrationId> {
        let id = self.find(self.hash(db, key), db, key)?;
        Some(self.entries.at(id).registration_id)
    }

    /// The captured value of entry `id`.
    pub fn captured(&self, id: EntryId) -> Option<&Captured> {
        self.captured.get(id)
    }

    /// How entry `id` was touched, and its captured value, which leaves the set: for a key whose
    /// write was refused. Nothing if it has changed since version `version`.
    pub fn refused(&mut self, id: EntryId, version: Version) -> Option<(Touch, Option<Captured>)> {
        let read = |entry: &&Entry| entry.state == State::InFlight && entry.version == version;
        let touch = self.entries.get(id).filter(read)?.touch;
        Some((touch, self.captured.remove(id)))
    }

    /// The same for a key of the master's, which leaves the set; its registration, too.
    pub fn take_out(
        &mut self,
        db: Db,
        key: &[u8],
    ) -> Option<(RegistrationId, Touch, Option<Captured>)> {
        let id = self.find(self.hash(db, key), db, key)?;
        let touch = self.entries.at(id).touch;
        let captured = self.captured.remove(id);
        Some((self.forget(db, key)?, touch, captured))
    }

    /// Every dirty key: those in flight first, then those that wait, each registration's oldest
    /// first.
    pub fn keys(&self) -> impl Iterator<Item = DirtyKey<'_>> {
        let flies = |id: &EntryId| self.entries.at(*id).state != State::Dirty;
        let waiting = self.queues.iter().flat_map(|queue| queue.ids(&self.entries));
        self.entries.ids().filter(flies).chain(waiting).map(|id| {
            let entry = self.entries.at(id);
            DirtyKey {
                db: entry.db,
                registration_id: entry.registration_id,
                touch: entry.touch,
                since_us: entry.since_us,
                key: self.key_of(entry),
                captured: self.captured(id),
            }
        })
    }

    /// Adds a key that was saved. A key that is dirty already stays as it is.
    pub fn load(&mut self, saved: DirtyKey<'_>) {
        let hash = self.hash(saved.db, saved.key);
        if self.find(hash, saved.db, saved.key).is_some() {
            return;
        }
        if self.must_miss(saved.registration_id, saved.touch, saved.key, &mut self.room_bytes()) {
            return self.miss(saved.registration_id, saved.since_us);
        }
        self.version = self.version.next();
        let id = self.insert(hash, saved);
        self.note_fresh(id);
    }

    /// Makes every key that is in flight dirty again: nothing that its batch reports counts any
    /// more.
    pub fn end_flights(&mut self) {
        let flying: Vec<EntryId> = self
            .entries
            .ids()
            .filter(|id| {
                matches!(self.entries.at(*id).state, State::InFlight | State::InFlightAgain)
            })
            .collect();
        for id in flying {
            let since_us = self.entries.at(id).since_us;
            self.give_back(id, since_us);
        }
    }

    /// Forgets every key, in flight or not.
    pub fn clear(&mut self) {
        let ids: Vec<EntryId> = self.entries.ids().collect();
        for id in ids {
            let entry = *self.entries.at(id);
            let hash = self.hash(entry.db, self.key_of(&entry));
            self.unqueue(id);
            self.drop_entry(id, hash);
        }
    }

    /// A number that two sets with the same keys share, and others hardly ever.
    pub fn digest(&self) -> u64 {
        let hasher = foldhash::fast::FixedState::with_seed(0);
        self.keys().fold(0, |digest, dirty| {
            use std::hash::BuildHasher;
            digest ^ hasher.hash_one((dirty.db, dirty.key))
        })
    }

    pub(super) fn key_of(&self, entry: &Entry) -> &[u8] {
        self.arenas[usize::from(entry.registration_id)].key(entry.place())
    }
}
