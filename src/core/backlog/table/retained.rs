//! Values copied from keys that went away, or are about to, before they were written; and the
//! whole set as records, for saving and loading it.

use super::entry::{Entry, State};
use super::retained_values::RetainedValue;
use super::{ChangeKind, Dirty};
use crate::core::ids::{Db, EntryId, RegistrationId, Version};

/// A dirty key with all that is worth saving.
#[derive(Clone, Copy, Debug)]
pub struct DirtyKey<'a> {
    /// Logical database.
    pub db: Db,
    /// ActiveRegistration of the registration.
    pub registration_id: RegistrationId,
    /// How it was touched last.
    pub kind: ChangeKind,
    /// Since when it is dirty, microseconds.
    pub since_us: u64,
    /// The key.
    pub key: &'a [u8],
    /// Its value, if it was captured.
    pub retained: Option<&'a RetainedValue>,
}

impl Dirty {
    /// Keeps the value of a dirty key whose key goes away. False when the key is clean.
    pub fn retain_value(&mut self, db: Db, key: &[u8], value: RetainedValue) -> bool {
        let Some(id) = self.find(self.hash(db, key), db, key) else { return false };
        self.entries.at_mut(id).kind = ChangeKind::Retained;
        self.retained.insert(id, value);
        self.unwatch(id);
        true
    }

    /// Keeps the value of a key whose change `registration_id` may have missed. Where it stands now, it is
    /// dirty since now: who counted what was dirty before has not counted it.
    pub fn retain_missed(
        &mut self,
        db: Db,
        registration_id: RegistrationId,
        key: &[u8],
        value: &RetainedValue,
    ) {
        let hash = self.hash(db, key);
        if self.find(hash, db, key).is_some() {
            return;
        }
        self.version = self.version.next();
        let (kind, since_us) = (ChangeKind::Retained, self.latest_us);
        self.insert(
            hash,
            DirtyKey { db, registration_id, kind, since_us, key, retained: Some(value) },
        );
    }

    /// How a key that is dirty was touched last; nothing when it is clean.
    pub fn kind_of(&self, db: Db, key: &[u8]) -> Option<ChangeKind> {
        let id = self.find(self.hash(db, key), db, key)?;
        Some(self.entries.at(id).kind)
    }

    /// The registration of a key that is dirty.
    pub fn id_of(&self, db: Db, key: &[u8]) -> Option<RegistrationId> {
        let id = self.find(self.hash(db, key), db, key)?;
        Some(self.entries.at(id).registration_id)
    }

    /// The retained value of entry `id`.
    pub fn retained(&self, id: EntryId) -> Option<&RetainedValue> {
        self.retained.get(id)
    }

    /// How entry `id` was touched, and its retained value, which leaves the set: for a key whose
    /// write was refused. Nothing if it has changed since version `version`.
    pub fn refused(
        &mut self,
        id: EntryId,
        version: Version,
    ) -> Option<(ChangeKind, Option<RetainedValue>)> {
        let read = |entry: &&Entry| entry.state == State::InFlight && entry.version == version;
        let kind = self.entries.get(id).filter(read)?.kind;
        Some((kind, self.retained.remove(id)))
    }

    /// The same for a key of the master's, which leaves the set; its registration, too.
    pub fn take_out(
        &mut self,
        db: Db,
        key: &[u8],
    ) -> Option<(RegistrationId, ChangeKind, Option<RetainedValue>)> {
        let id = self.find(self.hash(db, key), db, key)?;
        let kind = self.entries.at(id).kind;
        let retained = self.retained.remove(id);
        Some((self.forget(db, key)?, kind, retained))
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
                kind: entry.kind,
                since_us: entry.since_us,
                key: self.key_of(entry),
                retained: self.retained(id),
            }
        })
    }

    /// Adds a key that was saved. A key that is dirty already stays as it is.
    pub fn load(&mut self, saved: DirtyKey<'_>) {
        let hash = self.hash(saved.db, saved.key);
        if self.find(hash, saved.db, saved.key).is_some() {
            return;
        }
        if self.must_miss(saved.registration_id, saved.kind, saved.key, &mut self.room_bytes()) {
            return self.miss(saved.registration_id, saved.since_us);
        }
        self.version = self.version.next();
        let id = self.insert(hash, saved);
        self.note_newly_dirty(id);
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
