//! Keys whose values are slow to read: they wait between two reads, so that one key that changes all
//! the time does not use all of the server's time.

use std::collections::{BTreeMap, HashMap};

use super::table::Taken;
use crate::core::ids::{Db, RegistrationId};

/// After a read, a key is not read again for this many times the duration of the read.
const COOLDOWN: u64 = 25;
/// After this many interruptions by changes, a key is read in one step.
const INTERRUPTED: u32 = 3;
/// How long an interruption is remembered, microseconds.
const REMEMBERED_US: u64 = 5_000_000;

/// The history of one key.
#[derive(Clone, Copy, Debug, Default)]
struct Past {
    /// It is not read before this time, microseconds.
    not_before_us: u64,
    interrupted: u32,
    /// When the history can be dropped, microseconds.
    until_us: u64,
}

/// A key in flight whose value was not read yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SlowRead {
    /// The key as it was taken from its queue.
    pub taken: Taken,
    /// Id of the registration for which it was taken.
    pub registration_id: RegistrationId,
    /// The epoch in which it was taken.
    pub epoch: u32,
}

/// Slow keys, and those of them that are waiting.
#[derive(Debug, Default)]
pub struct SlowKeys {
    /// By database and key. There are few, because each read takes a share of the time: at most
    /// [`COOLDOWN`] keys are in a cool-down at a time.
    past: HashMap<(Db, Box<[u8]>), Past>,
    /// By the time from which they can be read, then in the order of insertion.
    slow_read: BTreeMap<(u64, u64), SlowRead>,
    /// The key that is being read in steps.
    reading: Option<SlowRead>,
    count: u64,
}

impl SlowKeys {
    /// From when the key may be read, microseconds; 0 for now.
    pub fn not_before_us(&self, db: Db, key: &[u8]) -> u64 {
        self.of(db, key).map_or(0, |past| past.not_before_us)
    }

    /// True if the key should be read in one step, because it changes too often.
    pub fn is_hot(&self, db: Db, key: &[u8]) -> bool {
        self.of(db, key).is_some_and(|past| past.interrupted >= INTERRUPTED)
    }

    /// Records that the key was read completely, which took `took_us` microseconds.
    pub fn was_read(&mut self, db: Db, key: &[u8], took_us: u64, now_us: u64) {
        let not_before_us = now_us.saturating_add(took_us.saturating_mul(COOLDOWN));
        let past = Past { not_before_us, interrupted: 0, until_us: not_before_us };
        self.remember(db, key, past, now_us);
    }

    /// Records that the key changed while it was read.
    pub fn was_interrupted(&mut self, db: Db, key: &[u8], now_us: u64) {
        let mut past = self.of(db, key).copied().unwrap_or_default();
        past.interrupted += 1;
        past.until_us = past.until_us.max(now_us.saturating_add(REMEMBERED_US));
        self.remember(db, key, past, now_us);
    }

    /// Parks a key until `until_us`.
    pub fn park_slow(&mut self, slow_read: SlowRead, until_us: u64) {
        self.count += 1;
        self.slow_read.insert((until_us, self.count), slow_read);
    }

    /// Takes the next key whose wait has ended at `now_us`.
    pub fn take_due(&mut self, now_us: u64) -> Option<SlowRead> {
        let first = self.slow_read.first_entry()?;
        (first.key().0 <= now_us).then(|| first.remove())
    }

    /// When the next wait ends, microseconds.
    pub fn next_us(&self) -> Option<u64> {
        self.slow_read.keys().next().map(|(until_us, _)| *until_us)
    }

    /// Sets the key that is being read in steps.
    pub fn set_reading(&mut self, reading: Option<SlowRead>) {
        self.reading = reading;
    }

    /// The waiting keys and the one that is being read in steps, in no order.
    pub fn waiting(&self) -> impl Iterator<Item = &SlowRead> {
        self.slow_read.values().chain(&self.reading)
    }

    /// Ends the cool-down of all keys.
    pub fn hasten(&mut self) {
        self.past.values_mut().for_each(|past| past.not_before_us = 0);
    }

    fn of(&self, db: Db, key: &[u8]) -> Option<&Past> {
        if self.past.is_empty() {
            return None;
        }
        self.past.get(&(db, Box::from(key)))
    }

    fn remember(&mut self, db: Db, key: &[u8], past: Past, now_us: u64) {
        self.past.retain(|_, past| past.until_us > now_us);
        self.past.insert((db, Box::from(key)), past);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::backlog::change_log::ChangeKind;
    use crate::core::ids::{EntryId, Version};

    fn slow_read(entry: EntryId) -> SlowRead {
        let taken =
            Taken { entry, version: Version(0), since_us: 0, db: Db(0), kind: ChangeKind::Changed };
        SlowRead { taken, registration_id: RegistrationId(0), epoch: 0 }
    }

    #[test]
    fn the_cool_down_is_proportional_to_the_last_read() {
        let mut slow_keys = SlowKeys::default();
        assert_eq!(slow_keys.not_before_us(Db(0), b"k"), 0);
        slow_keys.was_read(Db(0), b"k", 1_000, 50_000);
        assert_eq!(slow_keys.not_before_us(Db(0), b"k"), 75_000);
        assert_eq!(
            (slow_keys.not_before_us(Db(1), b"k"), slow_keys.not_before_us(Db(0), b"l")),
            (0, 0)
        );
        slow_keys.hasten();
        assert_eq!(slow_keys.not_before_us(Db(0), b"k"), 0);
    }

    #[test]
    fn a_key_that_changes_during_every_read_is_read_in_one_step() {
        let mut slow_keys = SlowKeys::default();
        for at_us in 0..u64::from(INTERRUPTED) {
            assert!(!slow_keys.is_hot(Db(0), b"k"));
            slow_keys.was_interrupted(Db(0), b"k", at_us);
        }
        assert!(slow_keys.is_hot(Db(0), b"k"));
        slow_keys.was_read(Db(0), b"k", 10, 10);
        assert!(!slow_keys.is_hot(Db(0), b"k"));
    }

    #[test]
    fn expired_history_is_dropped() {
        let mut slow_keys = SlowKeys::default();
        for n in 0..1_000u64 {
            slow_keys.was_read(Db(0), &n.to_le_bytes(), 1_000, n * 1_000);
        }
        assert!(slow_keys.past.len() as u64 <= COOLDOWN + 1, "{}", slow_keys.past.len());
        slow_keys.was_interrupted(Db(0), b"k", 2_000_000);
        slow_keys.was_read(Db(0), b"l", 1, 2_000_000 + REMEMBERED_US + 1);
        assert_eq!(slow_keys.past.len(), 1);
    }

    #[test]
    fn waiting_keys_are_returned_in_the_order_of_their_times() {
        let mut slow_keys = SlowKeys::default();
        for (entry, until_us) in [(1, 20), (2, 10), (3, 10)] {
            slow_keys.park_slow(slow_read(EntryId(entry)), until_us);
        }
        assert_eq!(slow_keys.next_us(), Some(10));
        assert_eq!(slow_keys.take_due(9), None);
        let due: Vec<EntryId> = std::iter::from_fn(|| slow_keys.take_due(10))
            .map(|slow_read| slow_read.taken.entry)
            .collect();
        assert_eq!(due, [2, 3].map(EntryId));
        assert_eq!(slow_keys.take_due(u64::MAX), Some(slow_read(EntryId(1))));
        assert_eq!(slow_keys.next_us(), None);
    }
}
