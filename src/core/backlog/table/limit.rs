//! The memory limit, and the behaviour of a full table.
//!
//! A change of a key that is not in the full table is *missed*: only the fact is kept that its
//! registration missed changes. A scan of all keys of the registration finds the key later. Changes
//! that a scan cannot find are kept even if the table is full: removed keys and retained values.
//! Each takes less memory than the removal freed in the server.
//!
//! Invariant: a dirty key is in the table, or its registration has missed changes.

use std::collections::BTreeSet;

use super::Dirty;
use super::entry::Entry;
use crate::core::backlog::change_log::ChangeKind;
use crate::core::ids::RegistrationId;

/// The table grows in steps: a block of entries, a chunk of keys. It counts as full if the next step
/// might not fit.
const STEP_BYTES: usize = 256 * 1024;
/// Maximum memory of a key in the index, reached just after a split of segments.
const INDEX_BYTES: usize = 22;
/// A registration may always have this many keys in the table, so that one whose keys cannot be
/// written for a long time does not prevent scans of others.
const ALWAYS: usize = 1_024;
/// Memory of an entry without the name of its key, including one byte for the key's length.
const ENTRY_BYTES: usize = size_of::<Entry>() + size_of::<u64>() + INDEX_BYTES + 1;

/// The missed changes of a registration.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Missed {
    /// Time of the first change that a scan in progress may not find, microseconds.
    pub since_us: Option<u64>,
    /// Time of the first change that the scan in progress will have found at its end, microseconds.
    pub scanned_us: Option<u64>,
}

impl Missed {
    /// The same with times limited to `now_us`.
    pub fn until(self, now_us: u64) -> Missed {
        let earlier = |us: Option<u64>| us.map(|us| us.min(now_us));
        Missed { since_us: earlier(self.since_us), scanned_us: earlier(self.scanned_us) }
    }

    /// The time of the first missed change, microseconds.
    pub fn oldest_us(self) -> Option<u64> {
        self.since_us.into_iter().chain(self.scanned_us).min()
    }
}

impl Dirty {
    /// Sets the memory limit in bytes; 0 for none.
    pub fn set_limit(&mut self, bytes: usize) {
        self.limit_bytes = bytes;
    }

    /// The missed changes of `registration_id`.
    pub fn missed(&self, registration_id: RegistrationId) -> Missed {
        self.queue(registration_id).missed
    }

    /// True if `registration_id` missed changes, so that a dirty key of it may not be in the table.
    pub fn has_missed(&self, registration_id: RegistrationId) -> bool {
        self.missed(registration_id) != Missed::default()
    }

    /// Sets the missed changes of `registration_id`: when data is loaded, or when all have been
    /// found.
    pub fn set_missed(&mut self, registration_id: RegistrationId, missed: Missed) {
        self.queues[usize::from(registration_id)].missed = missed;
        if missed == Missed::default() {
            self.missing.remove(&registration_id);
        } else {
            self.missing.insert(registration_id);
        }
    }

    /// A scan of all keys of `registration_id` begins. It finds all changes that were missed so
    /// far; keys of changes missed from now on may have been visited before, so they need another
    /// scan.
    pub fn begin_scan(&mut self, registration_id: RegistrationId) {
        let scanned_us = self.missed(registration_id).oldest_us();
        self.set_missed(registration_id, Missed { since_us: None, scanned_us });
    }

    /// The scan of `registration_id` has visited every key.
    pub fn end_scan(&mut self, registration_id: RegistrationId) {
        let missed = self.missed(registration_id);
        self.set_missed(registration_id, Missed { scanned_us: None, ..missed });
    }

    /// True if a scan of `registration_id` may mark keys: there is enough room for concurrent
    /// changes, too.
    pub fn has_room_to_scan(&self, registration_id: RegistrationId) -> bool {
        !self.is_nearly_full() || self.queue(registration_id).dirty() < ALWAYS
    }

    /// True under memory pressure: then no key waits for its interval, because each written key
    /// makes room.
    pub fn is_pressed(&self) -> bool {
        self.has_missed_any() || self.is_nearly_full()
    }

    fn is_nearly_full(&self) -> bool {
        let share = self.limit_bytes.saturating_sub(STEP_BYTES) / 4 * 3;
        self.limit_bytes != 0 && self.used_bytes() >= share
    }

    /// True if any registration missed changes.
    pub fn has_missed_any(&self) -> bool {
        !self.missing.is_empty()
    }

    /// The ids of registrations that missed changes.
    pub fn missing(&self) -> &BTreeSet<RegistrationId> {
        &self.missing
    }

    /// Bytes left for new keys; not positive if there is no room.
    pub(super) fn room_bytes(&self) -> i64 {
        if self.limit_bytes == 0 {
            return i64::MAX;
        }
        let limit = i64::try_from(self.limit_bytes).unwrap_or(i64::MAX);
        limit.saturating_sub((self.used_bytes() + STEP_BYTES) as i64)
    }

    /// True if there is no room for this change of a key that is not in the table. Otherwise its
    /// bytes are subtracted from `room`.
    pub(super) fn must_miss(
        &self,
        registration_id: RegistrationId,
        kind: ChangeKind,
        key: &[u8],
        room: &mut i64,
    ) -> bool {
        // A scan does not find removed keys, and a key found by a scan must not be missed again.
        let findable = matches!(kind, ChangeKind::Changed | ChangeKind::ExpiryMayHaveChanged);
        if *room <= 0 && findable && self.queue(registration_id).dirty() >= ALWAYS {
            return true;
        }
        *room = room.saturating_sub((ENTRY_BYTES + key.len()) as i64);
        false
    }

    /// Records that a change of a key of `registration_id` was missed.
    pub(super) fn miss(&mut self, registration_id: RegistrationId, now_us: u64) {
        let missed = self.missed(registration_id);
        if missed.since_us.is_none() {
            self.set_missed(registration_id, Missed { since_us: Some(now_us), ..missed });
        }
    }

    /// Bytes in use. Unlike [`memory_bytes`](Self::memory_bytes) this decreases with every key that
    /// becomes clean, although blocks are freed only with the last key: free entries in them can be
    /// reused.
    fn used_bytes(&self) -> usize {
        self.entries.len() * ENTRY_BYTES + self.key_bytes + self.retained.used_bytes()
    }
}

#[cfg(test)]
mod tests;
