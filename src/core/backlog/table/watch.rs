//! The entries that must be checked for look-ahead retention, and when.

use std::collections::VecDeque;

use crate::core::backlog::deadline_heap::Heap;
use crate::core::ids::EntryId;

/// Newly dirty entries, and the times of the next check of others.
#[derive(Debug, Default)]
pub struct Tracker {
    pub newly_dirty: VecDeque<EntryId>,
    /// One bit for each entry that is in `newly_dirty`, to prevent duplicates.
    is_newly_dirty: Vec<u64>,
    /// When entries must be checked, milliseconds since 1970.
    pub ends: Heap,
    /// Entries from this number on must be checked as if they were newly dirty.
    pub back: Option<EntryId>,
}

impl Tracker {
    pub fn push(&mut self, id: EntryId) {
        let (word, bit) = (usize::from(id) / 64, 1 << (id.0 % 64));
        if self.is_newly_dirty.len() <= word {
            self.is_newly_dirty.resize(word + 1, 0);
        }
        if self.is_newly_dirty[word] & bit == 0 {
            self.is_newly_dirty[word] |= bit;
            self.newly_dirty.push_back(id);
        }
    }

    pub fn pop(&mut self) -> Option<EntryId> {
        let id = self.newly_dirty.pop_front()?;
        self.is_newly_dirty[usize::from(id) / 64] &= !(1 << (id.0 % 64));
        Some(id)
    }

    pub fn memory_bytes(&self) -> usize {
        self.newly_dirty.capacity() * size_of::<EntryId>()
            + self.is_newly_dirty.capacity() * size_of::<u64>()
            + self.ends.memory_bytes()
    }
}
