//! Blocked keys: their documents cannot be written at the moment, while other documents can, because
//! another operation holds the document or because the write takes too long. Each is retried in a
//! batch of its own, so that it delays no other key.
//!
//! A blocked key stays in flight in the dirty table, so that its changes coalesce.

use std::collections::{BTreeSet, HashMap};

use crate::core::ids::{EntryId, RegistrationId, Version};

/// Maximum number of blocked keys of one registration. With more, the whole registration backs off.
const MOST_OF_ONE: usize = 64;
/// Maximum number of blocked keys of all registrations.
const MOST: usize = 4096;

/// A blocked key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlockedKey {
    /// Id of the registration for which it was sent.
    pub registration_id: RegistrationId,
    /// Its version when it was read.
    pub version: Version,
    /// Since when it is dirty, microseconds.
    pub since_us: u64,
    /// Number of attempts.
    pub attempts: u32,
    /// Why it was not written: one sentence without values.
    pub reason: String,
    /// Time of the next attempt, microseconds; `None` during an attempt.
    until_us: Option<u64>,
}

impl BlockedKey {
    /// A key of `id`, read at version `version` and dirty since `since_us`, that was not written
    /// because of `reason`.
    pub fn new(id: RegistrationId, version: Version, since_us: u64, reason: String) -> Self {
        BlockedKey { registration_id: id, version, since_us, attempts: 0, reason, until_us: None }
    }

    /// True while it waits for the next attempt.
    pub fn waits(&self) -> bool {
        self.until_us.is_some()
    }
}

/// All blocked keys, by their entries in the dirty table.
#[derive(Debug, Default)]
pub struct BlockedKeys {
    keys: HashMap<EntryId, BlockedKey>,
    /// The waiting ones: registration, time of the next attempt, entry.
    queue: BTreeSet<(RegistrationId, u64, EntryId)>,
    /// Number of blocked keys of each registration.
    counts: HashMap<RegistrationId, usize>,
}

impl BlockedKeys {
    /// True if there are none, which is nearly always the case.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// Number of blocked keys of `id`.
    pub fn count(&self, id: RegistrationId) -> usize {
        self.counts.get(&id).copied().unwrap_or(0)
    }

    /// Number of blocked keys of all registrations.
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// The ids of registrations with blocked keys, each with their number, in order.
    pub fn ids(&self) -> Vec<(RegistrationId, usize)> {
        let mut ids: Vec<_> = self.counts.iter().map(|(id, count)| (*id, *count)).collect();
        ids.sort_unstable();
        ids
    }

    /// Blocks the key of `entry` until `until_us`. False if too many keys are blocked already.
    pub fn block(&mut self, entry: EntryId, key: BlockedKey, until_us: u64) -> bool {
        let before = self.remove(entry).map_or(0, |before| before.attempts);
        if self.keys.len() >= MOST || self.count(key.registration_id) >= MOST_OF_ONE {
            return false;
        }
        *self.counts.entry(key.registration_id).or_default() += 1;
        self.queue.insert((key.registration_id, until_us, entry));
        let attempts = before.saturating_add(1);
        self.keys.insert(entry, BlockedKey { until_us: Some(until_us), attempts, ..key });
        true
    }

    /// The blocked key of `entry`, if it is blocked.
    pub fn find(&self, entry: EntryId) -> Option<&BlockedKey> {
        self.keys.get(&entry)
    }

    /// The reason of the blocked key of `id` that is due next, or of the one whose attempt is in
    /// progress.
    pub fn reason_of(&self, id: RegistrationId) -> Option<&str> {
        if self.count(id) == 0 {
            return None;
        }
        let waiting = self.first(id).and_then(|(_, _, entry)| self.keys.get(&entry));
        let tried = || self.keys.values().find(|key| key.registration_id == id);
        waiting.or_else(tried).map(|key| key.reason.as_str())
    }

    /// Time of the next attempt at a key of `id`, microseconds.
    pub fn due_us(&self, id: RegistrationId) -> Option<u64> {
        self.first(id).map(|(_, until_us, _)| until_us)
    }

    fn first(&self, id: RegistrationId) -> Option<(RegistrationId, u64, EntryId)> {
        if self.is_empty() {
            return None;
        }
        self.queue.range((id, 0, EntryId(0))..=(id, u64::MAX, EntryId(u32::MAX))).next().copied()
    }

    /// Takes the first key of `id` that is due at `now_us` for an attempt.
    pub fn take_due(&mut self, id: RegistrationId, now_us: u64) -> Option<(EntryId, BlockedKey)> {
        let first = self.first(id).filter(|(_, until_us, _)| *until_us <= now_us)?;
        self.queue.remove(&first);
        let (_, _, entry) = first;
        let key = self.keys.get_mut(&entry)?;
        key.until_us = None;
        Some((entry, key.clone()))
    }

    /// Unblocks the key of `entry`.
    pub fn remove(&mut self, entry: EntryId) -> Option<BlockedKey> {
        if self.is_empty() {
            return None;
        }
        let key = self.keys.remove(&entry)?;
        if let Some(until_us) = key.until_us {
            self.queue.remove(&(key.registration_id, until_us, entry));
        }
        if let Some(count) = self.counts.get_mut(&key.registration_id) {
            *count -= 1;
            if *count == 0 {
                self.counts.remove(&key.registration_id);
            }
        }
        Some(key)
    }

    /// Unblocks the keys of `id`. Returns those that were waiting.
    pub fn remove_registration(&mut self, id: RegistrationId) -> Vec<(EntryId, BlockedKey)> {
        if self.count(id) == 0 {
            return Vec::new();
        }
        let of_registration = self.keys.iter().filter(|(_, key)| key.registration_id == id);
        let entries: Vec<EntryId> = of_registration.map(|(entry, _)| *entry).collect();
        let removed = entries.into_iter().filter_map(|entry| Some((entry, self.remove(entry)?)));
        removed.filter(|(_, key)| key.waits()).collect()
    }

    /// Since when the oldest waiting key of `id`, or of all registrations, is dirty, microseconds.
    pub fn oldest_us(&self, id: Option<RegistrationId>) -> Option<u64> {
        let waiting = self.keys.values().filter(|key| key.waits());
        let waiting = waiting.filter(|key| id.is_none_or(|id| key.registration_id == id));
        waiting.map(|key| key.since_us).min()
    }

    /// Unblocks all keys.
    pub fn clear(&mut self) {
        *self = BlockedKeys::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(id: RegistrationId) -> BlockedKey {
        BlockedKey::new(id, Version(1), 5, "locked".to_owned())
    }

    #[test]
    fn keys_are_retried_in_the_order_of_their_due_times() {
        let mut blocked = BlockedKeys::default();
        for (entry, id, until_us) in [(1, 0, 30), (2, 0, 20), (3, 1, 10)] {
            assert!(blocked.block(EntryId(entry), key(RegistrationId(id)), until_us));
        }
        assert_eq!(
            (
                blocked.due_us(RegistrationId(0)),
                blocked.due_us(RegistrationId(1)),
                blocked.due_us(RegistrationId(2))
            ),
            (Some(20), Some(10), None)
        );
        assert_eq!(blocked.take_due(RegistrationId(0), 19), None);
        assert_eq!(
            blocked.take_due(RegistrationId(0), 99).map(|(entry, _)| entry),
            Some(EntryId(2))
        );
        assert_eq!(
            (blocked.due_us(RegistrationId(0)), blocked.count(RegistrationId(0))),
            (Some(30), 2)
        );
        assert!(blocked.block(EntryId(2), key(RegistrationId(0)), 40));
        assert_eq!(blocked.find(EntryId(2)).map(|key| key.attempts), Some(2));
        assert_eq!(
            blocked.take_due(RegistrationId(0), 99).map(|(entry, _)| entry),
            Some(EntryId(1))
        );
        assert_eq!(blocked.remove(EntryId(1)).map(|key| key.waits()), Some(false));
        assert_eq!(
            (blocked.due_us(RegistrationId(0)), blocked.ids()),
            (Some(40), vec![(RegistrationId(0), 1), (RegistrationId(1), 1)])
        );
        assert_eq!(blocked.oldest_us(None), Some(5));
        let released = blocked.remove_registration(RegistrationId(0));
        assert_eq!(released.iter().map(|(entry, _)| *entry).collect::<Vec<_>>(), [EntryId(2)]);
        assert_eq!((blocked.len(), blocked.due_us(RegistrationId(0))), (1, None));
    }

    #[test]
    fn the_number_of_blocked_keys_is_limited() {
        let mut blocked = BlockedKeys::default();
        let taken = (0..1000)
            .filter(|entry| blocked.block(EntryId(*entry), key(RegistrationId(0)), 1))
            .count();
        assert_eq!(taken, MOST_OF_ONE);
        assert!(blocked.block(EntryId(2000), key(RegistrationId(1)), 1), "others have their own");
        let all = (0..100_000).filter(|entry| {
            blocked.block(EntryId(*entry), key(RegistrationId((*entry / 60) as u16)), 1)
        });
        all.count();
        assert!(blocked.len() <= MOST);
    }
}
