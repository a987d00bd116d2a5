//! Keys to be looked at before they can go, for servers that report an expired or evicted key only
//! when its value is gone already.
//!
//! A key that became dirty is *fresh* until its time to live was looked at; one that has a time to
//! live then waits for its end. Each is noted once, however often the key changes, and forgotten
//! when the key becomes clean.

use super::Dirty;
use super::entry::Entry;
use super::watch::Tracker;
use crate::core::ids::{Db, EntryId};

impl Dirty {
    /// From now on, keys that become dirty are kept for [`next_newly_dirty`](Self::next_newly_dirty).
    pub fn watch(&mut self) {
        self.watch.get_or_insert_default();
    }

    /// True if keys are kept for [`next_newly_dirty`](Self::next_newly_dirty).
    pub fn is_watching(&self) -> bool {
        self.watch.is_some()
    }

    /// The next key that became dirty, lost its retained value or changed its time to live, if it
    /// is dirty still and not captured: its entry and database; its bytes are put into `key`.
    pub fn next_newly_dirty(&mut self, key: &mut Vec<u8>) -> Option<(EntryId, Db)> {
        loop {
            let id = self.watch.as_mut()?.pop().or_else(|| self.next_back())?;
            if let Some(db) = self.copy_watched(id, key) {
                return Some((id, db));
            }
        }
    }

    /// True when [`next_newly_dirty`](Self::next_newly_dirty) may have something to say.
    pub fn has_newly_dirty(&self) -> bool {
        self.watch
            .as_ref()
            .is_some_and(|watch| !watch.newly_dirty.is_empty() || watch.back.is_some())
    }

    /// Lets every dirty key be looked at as if it were fresh.
    pub fn look_back(&mut self) {
        self.watch.iter_mut().for_each(|watch| watch.back = Some(EntryId(0)));
    }

    /// Lets the key of entry `id` be looked at again at `at_ms`, unless it is another's by now.
    pub fn look_at(&mut self, id: EntryId, (db, key): (Db, &[u8]), at_ms: u64) {
        if self.entries.get(id).is_none() || !self.is_key(id, db, key) {
            return;
        }
        if let Some(watch) = &mut self.watch {
            watch.ends.set(id.0, at_ms);
        }
    }

    /// When the next key must be looked at, milliseconds since 1970.
    pub fn next_end_ms(&self) -> Option<u64> {
        Some(self.watch.as_ref()?.ends.first()?.0)
    }

    /// The next key that must be looked at by `now_ms`, as in [`next_newly_dirty`](Self::next_newly_dirty).
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

    /// Entry `id` should be looked at.
    #[inline]
    pub(super) fn note_newly_dirty(&mut self, id: EntryId) {
        if let Some(watch) = &mut self.watch {
            watch.push(id);
        }
    }

    /// Nothing of entry `id` is to be looked at any more: it is clean, or captured.
    #[inline]
    pub(super) fn unwatch(&mut self, id: EntryId) {
        if let Some(watch) = &mut self.watch {
            watch.ends.remove(id.0);
        }
    }

    /// The set is empty.
    pub(super) fn shrink_watch(&mut self) {
        if let Some(watch) = &mut self.watch {
            watch.ends.shrink();
            watch.back = None;
        }
    }

    pub(super) fn watch_bytes(&self) -> usize {
        self.watch.as_ref().map_or(0, Tracker::memory_bytes)
    }

    /// The next entry of those that are looked at although they are not fresh.
    fn next_back(&mut self) -> Option<EntryId> {
        let watch = self.watch.as_mut()?;
        let id = self.entries.next_from(watch.back?);
        watch.back = id.map(|id| EntryId(id.0 + 1));
        id
    }

    /// Copies the key of entry `id`, and says its database, if its value is in Redis alone.
    fn copy_watched(&self, id: EntryId, key: &mut Vec<u8>) -> Option<Db> {
        let holds_value = |entry: &&Entry| entry.kind.may_hold_value();
        let entry = self.entries.get(id).filter(holds_value)?;
        key.clear();
        key.extend_from_slice(self.key_of(entry));
        Some(entry.db)
    }
}
