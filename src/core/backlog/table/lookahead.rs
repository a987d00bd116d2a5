//! Look-ahead retention, for servers that report an expired or evicted key only after its value was
//! freed: the keys whose values must be retained before.
//!
//! A key is *newly dirty* until its time to live was checked. A key with a time to live is then
//! tracked until shortly before its expiration. Each is tracked once, however often the key
//! changes, and no longer when the key becomes clean.

use super::Dirty;
use super::entry::Entry;
use super::watch::Tracker;
use crate::core::ids::{Db, EntryId};

impl Dirty {
    /// Starts to track keys that become dirty, for [`next_newly_dirty`](Self::next_newly_dirty).
    pub fn watch(&mut self) {
        self.watch.get_or_insert_default();
    }

    /// True if keys are tracked for [`next_newly_dirty`](Self::next_newly_dirty).
    pub fn is_watching(&self) -> bool {
        self.watch.is_some()
    }

    /// The entry and database of the next key that became dirty, dropped its retained value or has
    /// a new time to live, if it is still dirty without a retained value. Its name is copied to
    /// `key`.
    pub fn next_newly_dirty(&mut self, key: &mut Vec<u8>) -> Option<(EntryId, Db)> {
        loop {
            let id = self.watch.as_mut()?.pop().or_else(|| self.next_back())?;
            if let Some(db) = self.copy_watched(id, key) {
                return Some((id, db));
            }
        }
    }

    /// True if [`next_newly_dirty`](Self::next_newly_dirty) may return a key.
    pub fn has_newly_dirty(&self) -> bool {
        self.watch
            .as_ref()
            .is_some_and(|watch| !watch.newly_dirty.is_empty() || watch.back.is_some())
    }

    /// Schedules a check of every dirty key as if it were newly dirty.
    pub fn check_all_again(&mut self) {
        self.watch.iter_mut().for_each(|watch| watch.back = Some(EntryId(0)));
    }

    /// Schedules the next check of the key of entry `id` at `at_ms`, unless the entry was reused.
    pub fn schedule_check(&mut self, id: EntryId, (db, key): (Db, &[u8]), at_ms: u64) {
        if self.entries.get(id).is_none() || !self.is_key(id, db, key) {
            return;
        }
        if let Some(watch) = &mut self.watch {
            watch.ends.set(id.0, at_ms);
        }
    }

    /// When the next key must be checked, milliseconds since 1970.
    pub fn next_end_ms(&self) -> Option<u64> {
        Some(self.watch.as_ref()?.ends.first()?.0)
    }

    /// The next key that must be checked by `now_ms`, as in
    /// [`next_newly_dirty`](Self::next_newly_dirty).
    pub fn take_end(&mut self, now_ms: u64, key: &mut Vec<u8>) -> Option<(EntryId, Db)> {
        loop {
            let ends = &mut self.watch.as_mut()?.ends;
            let (_, id) = ends.first().filter(|(at_ms, _)| *at_ms <= now_ms)?;
            ends.remove(id);
            if let Some(db) = self.copy_watched(EntryId(id), key) {
                return Some((EntryId(id), db));
            }
        }
    }

    /// Tracks entry `id` as newly dirty.
    #[inline]
    pub(super) fn note_newly_dirty(&mut self, id: EntryId) {
        if let Some(watch) = &mut self.watch {
            watch.push(id);
        }
    }

    /// Stops tracking entry `id`: it is clean, or its value was retained.
    #[inline]
    pub(super) fn unwatch(&mut self, id: EntryId) {
        if let Some(watch) = &mut self.watch {
            watch.ends.remove(id.0);
        }
    }

    /// Frees memory; the table must be empty.
    pub(super) fn shrink_watch(&mut self) {
        if let Some(watch) = &mut self.watch {
            watch.ends.shrink();
            watch.back = None;
        }
    }

    pub(super) fn watch_bytes(&self) -> usize {
        self.watch.as_ref().map_or(0, Tracker::memory_bytes)
    }

    /// The next entry of the check that [`check_all_again`](Self::check_all_again) has scheduled.
    fn next_back(&mut self) -> Option<EntryId> {
        let watch = self.watch.as_mut()?;
        let id = self.entries.next_from(watch.back?);
        watch.back = id.map(|id| EntryId(id.0 + 1));
        id
    }

    /// Copies the key of entry `id` and returns its database, if its value exists only in Redis.
    fn copy_watched(&self, id: EntryId, key: &mut Vec<u8>) -> Option<Db> {
        let holds_value = |entry: &&Entry| entry.kind.may_hold_value();
        let entry = self.entries.get(id).filter(holds_value)?;
        key.clear();
        key.extend_from_slice(self.key_of(entry));
        Some(entry.db)
    }
}
