//! The limit on memory, and what the set does when it is full.
//!
//! A change of a key that the full set does not hold is *missed*: of it nothing is kept but the
//! fact that its registration missed something. A scan of all keys of that registration finds it
//! again. What a scan cannot find is remembered one by one, limit or not: keys that were removed
//! and values that were captured. Each of them takes less than its removal freed in the server.
//!
//! So this holds at any time: a key that is dirty is in the set, or its registration missed
//! something.

use std::collections::BTreeSet;

use super::Dirty;
use super::entry::Entry;
use crate::core::backlog::change_log::ChangeKind;
use crate::core::ids::RegistrationId;

/// The set grows in steps: a block of entries, a chunk of keys. It counts as full when the next
/// step might not fit.
const STEP_BYTES: usize = 256 * 1024;
/// What a key takes in the index at most, just after its segments were split.
const INDEX_BYTES: usize = 22;
/// A registration may always have so many keys: one whose keys cannot be written for long does
/// not keep the others from being scanned.
const ALWAYS: usize = 1_024;
/// What an entry takes beside the bytes of its key, whose length takes a byte.
const ENTRY_BYTES: usize = size_of::<Entry>() + size_of::<u64>() + INDEX_BYTES + 1;

/// The changes of a registration that are in no entry of the set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Missed {
    /// Since when there are some that no scan under way is sure to find, microseconds.
    pub since_us: Option<u64>,
    /// Since when there are some that the scan under way will have found at its end.
    pub scanned_us: Option<u64>,
}

impl Missed {
    /// The same with no time after `now_us`.
    pub fn until(self, now_us: u64) -> Missed {
        let earlier = |us: Option<u64>| us.map(|us| us.min(now_us));
        Missed { since_us: earlier(self.since_us), scanned_us: earlier(self.scanned_us) }
    }

    /// The time of the first of them.
    pub fn oldest_us(self) -> Option<u64> {
        self.since_us.into_iter().chain(self.scanned_us).min()
    }
}

impl Dirty {
    /// Sets the limit of memory in bytes; 0 for none.
    pub fn set_limit(&mut self, bytes: usize) {
        self.limit_bytes = bytes;
    }

    /// What `registration_id` missed.
    pub fn missed(&self, registration_id: RegistrationId) -> Missed {
        self.queue(registration_id).missed
    }

    /// True if a key of `registration_id` may be dirty that is not in the set.
    pub fn has_missed(&self, registration_id: RegistrationId) -> bool {
        self.missed(registration_id) != Missed::default()
    }

    /// Sets what `registration_id` missed: when data is loaded, or nothing is left to be found.
    pub fn set_missed(&mut self, registration_id: RegistrationId, missed: Missed) {
        self.queues[usize::from(registration_id)].missed = missed;
        if missed == Missed::default() {
            self.missing.remove(&registration_id);
        } else {
            self.missing.insert(registration_id);
        }
    }

    /// A scan of all keys of `registration_id` begins. It finds everything that was missed so far; what is
    /// missed from now on may be behind it, and needs another one.
    pub fn begin_scan(&mut self, registration_id: RegistrationId) {
        let scanned_us = self.missed(registration_id).oldest_us();
        self.set_missed(registration_id, Missed { since_us: None, scanned_us });
    }

    /// The scan of `registration_id` has visited every key.
    pub fn end_scan(&mut self, registration_id: RegistrationId) {
        let missed = self.missed(registration_id);
        self.set_missed(registration_id, Missed { scanned_us: None, ..missed });
    }

    /// True when a scan of `registration_id` may mark keys: there is so much room that changes of the
    /// meantime find some, too.
    pub fn has_room_to_scan(&self, registration_id: RegistrationId) -> bool {
        !self.is_nearly_full() || self.queue(registration_id).dirty() < ALWAYS
    }

    /// True when no key should wait to be coalesced: each key that is written makes room.
    pub fn is_pressed(&self) -> bool {
        self.has_missed_any() || self.is_nearly_full()
    }

    fn is_nearly_full(&self) -> bool {
        let share = self.limit_bytes.saturating_sub(STEP_BYTES) / 4 * 3;
        self.limit_bytes != 0 && self.used_bytes() >= share
    }

    /// True if some registration missed something.
    pub fn has_missed_any(&self) -> bool {
        !self.missing.is_empty()
    }

    /// The ids of registrations that missed something.
    pub fn missing(&self) -> &BTreeSet<RegistrationId> {
        &self.missing
    }

    /// Bytes that new keys may still take; below 0 there is no room.
    pub(super) fn room_bytes(&self) -> i64 {
        if self.limit_bytes == 0 {
            return i64::MAX;
        }
        let limit = i64::try_from(self.limit_bytes).unwrap_or(i64::MAX);
        limit.saturating_sub((self.used_bytes() + STEP_BYTES) as i64)
    }

    /// True if this change of a key that is not in the set has no place in it. Otherwise its
    /// bytes are taken from `room`.
    pub(super) fn must_miss(
        &self,
        registration_id: RegistrationId,
        kind: ChangeKind,
        key: &[u8],
        room: &mut i64,
    ) -> bool {
        // A removed key is not found by a scan, and what a scan has found is not missed again.
        let findable = matches!(kind, ChangeKind::Changed | ChangeKind::ExpiryMayHaveChanged);
        if *room <= 0 && findable && self.queue(registration_id).dirty() >= ALWAYS {
            return true;
        }
        *room = room.saturating_sub((ENTRY_BYTES + key.len()) as i64);
        false
    }

    /// A change of a key of `registration_id` is not remembered.
    pub(super) fn miss(&mut self, registration_id: RegistrationId, now_us: u64) {
        let missed = self.missed(registration_id);
        if missed.since_us.is_none() {
            self.set_missed(registration_id, Missed { since_us: Some(now_us), ..missed });
        }
    }

    /// Bytes in use. Unlike [`memory_bytes`](Self::memory_bytes) it falls with every key that
    /// becomes clean, although blocks are given back with the last key only: room in them is room.
    fn used_bytes(&self) -> usize {
        self.entries.len() * ENTRY_BYTES + self.key_bytes + self.retained.used_bytes()
    }
}

#[cfg(test)]
mod tests;
