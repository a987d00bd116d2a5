//! Retained values: of keys that are removed before they were written. Also iterates over the table
//! and loads it, for the RDB.

use super::entry::{Entry, State};
use super::retained_values::RetainedValue;
use super::{ChangeKind, Dirty};
use crate::core::ids::{Db, EntryId, GroupId, RegistrationId, Version};

/// A dirty key with all state that is saved.
#[derive(Clone, Copy, Debug)]
pub struct DirtyKey<'a> {
    /// Logical database.
    pub db: Db,
    /// Id of the registration.
    pub registration_id: RegistrationId,
    /// The last kind of change.
    pub kind: ChangeKind,
    /// Since when it is dirty, microseconds.
    pub since_us: u64,
    /// The key.
    pub key: &'a [u8],
    /// Its retained value, if there is one.
    pub retained: Option<&'a RetainedValue>,
    /// Its group, if it is in one.
    pub group: Option<GroupId>,
}

impl Dirty {
    /// Retains the value of a dirty key before its removal. False if the key is clean.
    pub fn retain_value(&mut self, db: Db, key: &[u8], value: RetainedValue) -> bool {
        let Some(id) = self.find(self.hash(db, key), db, key) else { return false };
        self.entries.at_mut(id).kind = ChangeKind::Retained;
        self.retained.insert(id, value);
        self.unwatch(id);
        true
    }

    /// Retains the value of a key whose change `registration_id` may have missed. The key becomes
    /// dirty now: a flush that counted the dirty keys before has not counted it.
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
            DirtyKey {
                db,
                registration_id,
                kind,
                since_us,
                key,
                retained: Some(value),
                group: None,
            },
        );
    }

    /// The last kind of change of a dirty key; `None` if it is clean.
    pub fn kind_of(&self, db: Db, key: &[u8]) -> Option<ChangeKind> {
        let id = self.find(self.hash(db, key), db, key)?;
        Some(self.entries.at(id).kind)
    }

    /// The registration of a dirty key; `None` if it is clean.
    pub fn id_of(&self, db: Db, key: &[u8]) -> Option<RegistrationId> {
        let id = self.find(self.hash(db, key), db, key)?;
        Some(self.entries.at(id).registration_id)
    }

    /// The retained value of entry `id`.
    pub fn retained(&self, id: EntryId) -> Option<&RetainedValue> {
        self.retained.get(id)
    }

    /// For a key whose write was refused: the last kind of change of entry `id`, and its retained
    /// value, which is removed from the table. `None` if the key has changed since `version`.
    pub fn refused(
        &mut self,
        id: EntryId,
        version: Version,
    ) -> Option<(ChangeKind, Option<RetainedValue>)> {
        let read = |entry: &&Entry| entry.state == State::InFlight && entry.version == version;
        let kind = self.entries.get(id).filter(read)?.kind;
        Some((kind, self.retained.remove(id)))
    }

    /// The same for a replicated dead letter: also removes the key from the table and returns its
    /// registration.
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

    /// All dirty keys: those in flight first, then the waiting ones by registration, the oldest
    /// first.
    pub fn keys(&self) -> impl Iterator<Item = DirtyKey<'_>> {
        let in_flight = |id: &EntryId| self.entries.at(*id).state != State::Dirty;
        let waiting = self.queues.iter().flat_map(|queue| queue.ids(&self.entries));
        let ids = self.entries.ids().filter(in_flight).chain(waiting);
        ids.map(|id| self.dirty_key(id, self.entries.at(id)))
    }

    /// Number of places of the table, used or not.
    pub fn places(&self) -> u32 {
        self.entries.places()
    }

    /// Calls `each` for the waiting keys among the next `places` of the table from `from` on, with their
    /// versions. Returns where to go on; after the end that is the beginning.
    pub fn waiting_from(
        &self,
        from: EntryId,
        places: usize,
        mut each: impl FnMut(DirtyKey<'_>, Version),
    ) -> EntryId {
        let end = self.entries.places();
        let first = if from.0 < end { from.0 } else { 0 };
        let last = first.saturating_add(u32::try_from(places).unwrap_or(u32::MAX)).min(end);
        for id in (first..last).map(EntryId) {
            let Some(entry) = self.entries.get(id).filter(|entry| entry.state == State::Dirty)
            else {
                continue;
            };
            each(self.dirty_key(id, entry), entry.version);
        }
        EntryId(last)
    }

    fn dirty_key<'a>(&'a self, id: EntryId, entry: &'a Entry) -> DirtyKey<'a> {
        DirtyKey {
            db: entry.db,
            registration_id: entry.registration_id,
            kind: entry.kind,
            since_us: entry.since_us,
            key: self.key_of(entry),
            retained: self.retained(id),
            group: self.groups.of(id),
        }
    }

    /// Adds a saved key, in no group. A key that is already dirty is unchanged. Returns its entry, unless
    /// there is no room for it.
    pub fn load(&mut self, saved: DirtyKey<'_>) -> Option<EntryId> {
        let hash = self.hash(saved.db, saved.key);
        if let Some(id) = self.find(hash, saved.db, saved.key) {
            return Some(id);
        }
        if self.must_miss(saved.registration_id, saved.kind, saved.key, &mut self.room_bytes()) {
            self.miss(saved.registration_id, saved.since_us);
            return None;
        }
        self.version = self.version.next();
        let id = self.insert(hash, saved);
        self.note_newly_dirty(id);
        Some(id)
    }

    /// Requeues every key in flight: reports of their batches are ignored from now on.
    pub fn end_flights(&mut self) {
        let in_flight: Vec<EntryId> =
            self.entries.ids().filter(|id| self.entries.at(*id).state != State::Dirty).collect();
        for id in in_flight {
            let since_us = self.entries.at(id).since_us;
            self.requeue_front(id, since_us);
        }
    }

    /// Removes all keys, also those in flight.
    pub fn clear(&mut self) {
        let ids: Vec<EntryId> = self.entries.ids().collect();
        for id in ids {
            let entry = *self.entries.at(id);
            let hash = self.hash(entry.db, self.key_of(&entry));
            self.unqueue(id);
            self.drop_entry(id, hash);
        }
    }

    /// A digest of the dirty keys: equal for two tables with the same keys, and with high probability
    /// different otherwise.
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
