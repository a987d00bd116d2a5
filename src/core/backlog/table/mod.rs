//! The dirty table: the keys whose latest state MongoDB does not have.
//!
//! A key is dirty from its change to the acknowledgement of a value that was read after it. It has
//! one entry, however often it changes, and is in flight at most once.

mod arena;
mod entry;
mod fold;
mod group_lists;
mod groups;
mod hash;
mod index;
mod key_storage;
mod limit;
mod lookahead;
mod lookup;
mod parked;
mod queue;
mod queues;
mod retained;
mod retained_values;
mod rings;
mod watch;

use std::collections::{BTreeSet, HashSet};

use self::arena::Arena;
use self::entry::{Entries, Entry, State};
use self::group_lists::Groups;
pub use self::group_lists::StampedGroup;
use self::hash::Hashes;
use self::index::Index;
pub use self::limit::Missed;
pub use self::rings::MAX_GROUP_KEYS;
use crate::core::ids::{Db, EntryId, GroupId, RegistrationId, Version};

pub use self::lookup::Standing;
pub use self::queue::Queue;
pub use self::retained::DirtyKey;
pub use self::retained_values::RetainedValue;
use self::retained_values::RetainedValues;
use self::watch::Tracker;
use super::change_log::ChangeKind;

/// A key that was taken from its queue to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Taken {
    /// The key's entry.
    pub entry: EntryId,
    /// Its current version: if it is the same at the acknowledgement, the key is clean.
    pub version: Version,
    /// Since when it is dirty, microseconds.
    pub since_us: u64,
    /// Logical database.
    pub db: Db,
    /// The last kind of change.
    pub kind: ChangeKind,
}

/// What is taken next from a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// A key, to be read.
    Key(Taken),
    /// A group that is due: so many keys of it were parked.
    Group(GroupId, usize),
}

/// The state of a key in flight after its batch has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Settled {
    /// Unchanged since it was read: it was removed from the table.
    Clean,
    /// Changed again at this time, microseconds: it is dirty again.
    ChangedAgain(u64),
    /// No longer in the table.
    Unknown,
}

/// A dirty key that moved to another registration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moved {
    /// The key's entry.
    pub entry: EntryId,
    /// Its former registration.
    pub registration_id: RegistrationId,
    /// Since when it is dirty, microseconds.
    pub since_us: u64,
}

/// The dirty keys of all registrations.
#[derive(Debug, Default)]
pub struct Dirty {
    hashes: Hashes,
    index: Index,
    entries: Entries,
    queues: Vec<Queue>,
    arenas: Vec<Arena>,
    version: Version,
    latest_us: u64,
    in_flight: usize,
    moved: Vec<Moved>,
    retained: RetainedValues,
    /// Keys in flight that become due immediately if they have changed meanwhile.
    hastened: HashSet<EntryId>,
    groups: Groups,
    /// The memory limit in bytes; 0 for none.
    limit_bytes: usize,
    /// Memory of all arenas in bytes.
    key_bytes: usize,
    /// Registrations that missed changes.
    missing: BTreeSet<RegistrationId>,
    /// Keys dirty since this time or longer are due immediately.
    flush_us: u64,
    /// Registrations whose due time may have changed since the last
    /// [`take_rescheduled`](Self::take_rescheduled).
    rescheduled: Vec<RegistrationId>,
    /// Changes of all registrations, including removed ones.
    captured_total: u64,
    /// Those of them that were coalesced.
    coalesced_total: u64,
    /// Keys to be checked before they can be removed, after a call of [`watch`](Self::watch).
    watch: Option<Tracker>,
}

impl Dirty {
    /// Number of dirty keys, including those in flight.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// True if no key is dirty.
    pub fn is_empty(&self) -> bool {
        self.entries.len() == 0
    }

    /// Number of keys in flight.
    pub fn in_flight(&self) -> usize {
        self.in_flight
    }

    /// A time that is not before any change folded so far, and before every later change,
    /// microseconds.
    pub fn watermark_us(&mut self, now_us: u64) -> u64 {
        let watermark = now_us.max(self.latest_us);
        self.latest_us = watermark + 1;
        watermark
    }

    /// Takes the keys that moved to another registration since the last call.
    pub fn moved(&mut self) -> Vec<Moved> {
        std::mem::take(&mut self.moved)
    }

    /// Takes the first key from the queue of `registration_id` and passes its name to `copy`, unless
    /// it is in a group.
    pub fn take_next(
        &mut self,
        registration_id: RegistrationId,
        copy: impl FnOnce(&[u8]),
    ) -> Option<Next> {
        if self.groups.len() > 0
            && let Some(head) = self.queue(registration_id).head()
            && let Some(group) = self.groups.of(head)
        {
            return Some(Next::Group(group, self.park_group(group)));
        }
        self.take(registration_id, copy).map(Next::Key)
    }

    /// Takes the first key from the queue of `registration_id` and passes its name to `copy`.
    pub fn take(
        &mut self,
        registration_id: RegistrationId,
        copy: impl FnOnce(&[u8]),
    ) -> Option<Taken> {
        let id = self.pop(registration_id)?;
        let entry = self.entries.at_mut(id);
        entry.state = State::InFlight;
        let taken = Taken {
            entry: id,
            version: entry.version,
            since_us: entry.since_us,
            db: entry.db,
            kind: entry.kind,
        };
        let place = entry.place();
        copy(self.arenas[usize::from(registration_id)].key(place));
        self.in_flight += 1;
        self.queues[usize::from(registration_id)].in_flight += 1;
        Some(taken)
    }

    /// A key in flight was written or refused: it is clean unless it has changed since. If it is
    /// clean, `clean` is called with its database and name.
    pub fn acknowledge(
        &mut self,
        id: EntryId,
        version: Version,
        clean: impl FnOnce(Db, &[u8]),
    ) -> Settled {
        let in_flight = |entry: &&Entry| entry.state == State::InFlight;
        let is_parked = |entry: &Entry| entry.state == State::Parked;
        if self.entries.get(id).filter(in_flight).is_some_and(|entry| entry.version != version)
            || self.entries.get(id).is_some_and(is_parked)
        {
            // The entry was reused by another key, which is in another batch.
            return Settled::Unknown;
        }
        let Some(entry) = self.end_flight(id) else {
            return Settled::Unknown;
        };
        if entry.state == State::InFlight {
            let key = self.arenas[usize::from(entry.registration_id)].key(entry.place());
            clean(entry.db, key);
            self.drop_entry(id, self.hash(entry.db, key));
            return Settled::Clean;
        }
        self.move_key(id);
        self.entries.at_mut(id).state = State::Dirty;
        if self.hastened.remove(&id) || self.is_flushed(entry.registration_id, entry.since_us) {
            self.push_due(entry.registration_id, id);
        } else {
            self.push(entry.registration_id, id);
        }
        Settled::ChangedAgain(entry.since_us)
    }

    /// A key in flight was not written: requeues it at the front, due immediately.
    pub fn requeue_front(&mut self, id: EntryId, since_us: u64) -> Settled {
        let Some(entry) = self.end_flight(id) else {
            return Settled::Unknown;
        };
        self.move_key(id);
        let again = self.entries.at_mut(id);
        again.state = State::Dirty;
        again.since_us = since_us;
        self.push_due(entry.registration_id, id);
        Settled::ChangedAgain(since_us)
    }

    /// A key in flight could not be read: requeues it at the back.
    pub fn postpone(&mut self, id: EntryId, since_us: u64) {
        if let Some(entry) = self.end_flight(id) {
            let again = self.entries.at_mut(id);
            again.state = State::Dirty;
            again.since_us = since_us;
            self.push(entry.registration_id, id);
        }
    }

    /// Removes a key in any state, because of a replicated acknowledgement. Returns its
    /// registration, or `None` if it was clean.
    pub fn forget(&mut self, db: Db, key: &[u8]) -> Option<RegistrationId> {
        let hash = self.hash(db, key);
        let id = self.find(hash, db, key)?;
        let registration_id = self.entries.at(id).registration_id;
        self.unqueue(id);
        self.drop_entry(id, hash);
        Some(registration_id)
    }

    /// Drops every dirty key of `registration_id` that is not in flight, and calls `dropped` with
    /// its entry and since when it was dirty, microseconds.
    pub fn discard(
        &mut self,
        registration_id: RegistrationId,
        mut dropped: impl FnMut(EntryId, u64),
    ) {
        while let Some(id) = self.pop(registration_id) {
            let entry = *self.entries.at(id);
            let key = self.arenas[usize::from(registration_id)].key(entry.place());
            dropped(id, entry.since_us);
            let hash = self.hash(entry.db, key);
            self.drop_entry(id, hash);
        }
    }

    /// True if the key changed after it was taken.
    pub fn changed_since(&self, taken: &Taken) -> bool {
        self.entries.get(taken.entry).is_some_and(|entry| entry.version != taken.version)
    }

    /// True if a key that was taken is still in flight, unchanged, and its value was not retained
    /// since.
    pub fn is_as_taken(&self, taken: &Taken) -> bool {
        self.entries.get(taken.entry).is_some_and(|entry| {
            entry.state == State::InFlight
                && entry.version == taken.version
                && entry.kind == taken.kind
        })
    }

    /// True if the key of entry `id`, which was taken at version `version`, is still in flight.
    pub fn is_in_flight(&self, id: EntryId, version: Version) -> bool {
        self.entries.get(id).is_some_and(|entry| match entry.state {
            State::Free | State::Dirty | State::Parked => false,
            State::InFlight => entry.version == version,
            State::InFlightAgain => true,
        })
    }

    /// Makes one dirty key due immediately. Returns its entry, or `None` if it is clean.
    pub fn hasten(&mut self, db: Db, key: &[u8]) -> Option<EntryId> {
        let id = self.find(self.hash(db, key), db, key)?;
        let entry = *self.entries.at(id);
        if entry.state == State::Dirty {
            self.unlink(entry.registration_id, id);
            self.push_due(entry.registration_id, id);
        } else if entry.state != State::Parked {
            self.hastened.insert(id);
        }
        Some(id)
    }

    /// Bytes of memory held.
    pub fn memory_bytes(&self) -> usize {
        self.index.memory_bytes()
            + self.entries.memory_bytes()
            + self.key_bytes
            + self.retained.memory_bytes()
            + self.watch_bytes()
            + self.groups.memory_bytes()
    }

    #[inline]
    fn hash(&self, db: Db, key: &[u8]) -> u32 {
        self.hashes.of(db, key).index
    }

    fn find(&self, hash: u32, db: Db, key: &[u8]) -> Option<EntryId> {
        self.index.find(hash, |id| self.is_key(EntryId(id), db, key)).map(EntryId)
    }

    /// True if entry `id`, which is in use, is that of the key.
    #[inline]
    fn is_key(&self, id: EntryId, db: Db, key: &[u8]) -> bool {
        let entry = self.entries.at(id);
        entry.db == db && self.arenas[usize::from(entry.registration_id)].is(entry.place(), key)
    }

    /// Removes entry `id` from its queue or from the keys in flight.
    fn unqueue(&mut self, id: EntryId) {
        let entry = *self.entries.at(id);
        if entry.state == State::Dirty {
            self.unlink(entry.registration_id, id);
        } else {
            self.end_flight(id);
        }
    }

    /// Ends the flight of entry `id`, if it is in flight.
    fn end_flight(&mut self, id: EntryId) -> Option<Entry> {
        let entry = *self.entries.get(id).filter(|entry| entry.state != State::Dirty)?;
        self.in_flight -= 1;
        self.queues[usize::from(entry.registration_id)].in_flight -= 1;
        if entry.state != State::Parked
            && let Some(group) = self.groups.of(id)
        {
            self.landed(group);
        }
        Some(entry)
    }

    fn drop_entry(&mut self, id: EntryId, hash: u32) {
        let entry = *self.entries.at(id);
        self.free_key(entry.registration_id, entry.place());
        if entry.kind == ChangeKind::Retained {
            self.retained.remove(id);
        }
        self.hastened.remove(&id);
        self.quit_group(id);
        self.unwatch(id);
        self.index.remove(hash, id.0);
        self.entries.remove(id);
        if self.entries.len() == 0 {
            self.index.shrink();
            self.shrink_watch();
        }
    }

    /// Adds a key that is not in the table, at the back of its queue.
    fn insert(&mut self, hash: u32, new: DirtyKey<'_>) -> EntryId {
        let place = self.store_key(new.registration_id, new.key);
        let mut entry = Entry::new(new.db, new.registration_id, place);
        entry.kind = new.kind;
        entry.version = self.version;
        entry.since_us = new.since_us;
        let id = self.entries.insert(entry);
        self.index.insert(hash, id.0);
        self.push(new.registration_id, id);
        if let Some(value) = new.retained {
            self.retained.insert(id, value.clone());
        }
        id
    }
}

#[cfg(test)]
mod tests;
