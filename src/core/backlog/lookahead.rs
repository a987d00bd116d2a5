//! Look-ahead retention, for servers that report an expired or evicted key only after its removal:
//! the keys, dirty or with a dead letter, whose values must be retained before.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::Bound;

use super::Backlog;
use crate::core::ids::{Db, EntryId};

/// A key with a dead letter is checked again after at most this time, milliseconds: if it has none by
/// then, it is no longer tracked.
const AGAIN_MS: u64 = 30_000;

type DbKey = (Db, Vec<u8>);

/// A key to be checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Watched {
    /// Its logical database.
    pub db: Db,
    /// Its entry in the dirty table; `None` if it has a dead letter instead.
    entry: Option<EntryId>,
}

/// The keys with dead letters that are to be checked, each at most once.
#[derive(Debug, Default)]
pub(super) struct WatchedLetters {
    newly_dirty: VecDeque<DbKey>,
    /// When they are to be checked, milliseconds since 1970, sorted by time and by key.
    ends: BTreeSet<(u64, DbKey)>,
    by_key: BTreeMap<DbKey, u64>,
    /// Dead letters of keys from here on are to be checked as if they were new.
    back: Option<Bound<DbKey>>,
    bytes: usize,
}

impl WatchedLetters {
    fn push(&mut self, key: DbKey) {
        self.bytes += key.1.len() + size_of::<DbKey>();
        self.newly_dirty.push_back(key);
    }

    fn pop(&mut self) -> Option<DbKey> {
        let key = self.newly_dirty.pop_front()?;
        self.bytes -= key.1.len() + size_of::<DbKey>();
        Some(key)
    }

    fn set(&mut self, key: DbKey, at_ms: u64) {
        self.remove(&key);
        self.bytes += Self::bytes_of(&key);
        self.ends.insert((at_ms, key.clone()));
        self.by_key.insert(key, at_ms);
    }

    fn remove(&mut self, key: &DbKey) {
        if let Some(at_ms) = self.by_key.remove(key) {
            self.bytes -= Self::bytes_of(key);
            self.ends.remove(&(at_ms, key.clone()));
        }
    }

    fn next_ms(&self) -> Option<u64> {
        self.ends.first().map(|(at_ms, _)| *at_ms)
    }

    fn take(&mut self, now_ms: u64) -> Option<DbKey> {
        let (_, key) = self.ends.first().filter(|(at_ms, _)| *at_ms <= now_ms)?.clone();
        self.remove(&key);
        Some(key)
    }

    /// Approximate memory in bytes.
    pub fn memory_bytes(&self) -> usize {
        self.bytes
    }

    fn bytes_of(key: &DbKey) -> usize {
        2 * (key.1.len() + size_of::<(u64, DbKey)>())
    }
}

impl Backlog {
    /// Starts tracking for [`next_newly_dirty`](Self::next_newly_dirty): the server reports keys only
    /// after their removal.
    pub fn watch(&mut self) {
        self.dirty.watch();
    }

    /// The next key that should be checked before it can be removed. Its name is copied to `key`.
    pub fn next_newly_dirty(
        &mut self,
        key: &mut Vec<u8>,
        clock: impl FnOnce() -> u64,
    ) -> Option<Watched> {
        self.fold_logged(clock);
        if let Some((id, db)) = self.dirty.next_newly_dirty(key) {
            return Some(Watched { db, entry: Some(id) });
        }
        while let Some((db, name)) = self.watched_letters.pop().or_else(|| self.next_letter()) {
            if self.is_refused(db, &name) {
                *key = name;
                return Some(Watched { db, entry: None });
            }
        }
        None
    }

    /// True if [`next_newly_dirty`](Self::next_newly_dirty) may return a key.
    pub fn has_newly_dirty(&self) -> bool {
        let letters = &self.watched_letters;
        self.dirty.has_newly_dirty()
            || !self.log.is_empty()
            || !letters.newly_dirty.is_empty()
            || letters.back.is_some()
    }

    /// True if there may be keys whose values exist only in Redis.
    pub fn has_only_values(&self) -> bool {
        !self.dirty.is_empty() || !self.log.is_empty() || !self.dead.is_empty()
    }

    /// Schedules a check of every key whose value exists only in Redis, as if it were newly dirty.
    pub fn check_all_again(&mut self) {
        self.dirty.check_all_again();
        self.watched_letters.back = (!self.dead.is_empty()).then_some(Bound::Unbounded);
    }

    /// Schedules the next check of a key at `at_ms`, milliseconds since 1970.
    pub fn schedule_check(&mut self, watched: Watched, key: &[u8], (now_ms, at_ms): (u64, u64)) {
        match watched.entry {
            Some(id) => self.dirty.schedule_check(id, (watched.db, key), at_ms),
            None => {
                let at_ms = at_ms.min(now_ms + AGAIN_MS);
                self.watched_letters.set((watched.db, key.to_vec()), at_ms);
            }
        }
    }

    /// When the next key must be checked, milliseconds since 1970.
    pub fn next_end_ms(&self) -> Option<u64> {
        self.dirty.next_end_ms().into_iter().chain(self.watched_letters.next_ms()).min()
    }

    /// The next key that must be checked by `now_ms`. Its name is copied to `key`.
    pub fn take_end(&mut self, now_ms: u64, key: &mut Vec<u8>) -> Option<Watched> {
        if let Some((id, db)) = self.dirty.take_end(now_ms, key) {
            return Some(Watched { db, entry: Some(id) });
        }
        while let Some((db, name)) = self.watched_letters.take(now_ms) {
            if self.is_refused(db, &name) {
                *key = name;
                return Some(Watched { db, entry: None });
            }
        }
        None
    }

    /// Tracks a key with a new dead letter if its value exists only in Redis.
    pub(super) fn watch_letter(&mut self, db: Db, key: &[u8]) {
        let unretained = self.dead.find(db, key).is_some_and(|letter| letter.is_unretained());
        if unretained && self.dirty.is_watching() {
            self.watched_letters.push((db, key.to_vec()));
        }
    }

    /// The next key of the check that [`check_all_again`](Self::check_all_again) has scheduled.
    fn next_letter(&mut self) -> Option<DbKey> {
        let key = self.dead.next_from(self.watched_letters.back.take()?)?;
        self.watched_letters.back = Some(Bound::Excluded(key.clone()));
        Some(key)
    }
}
