//! Which entries are to be looked at, and when.

use std::collections::VecDeque;

use crate::core::backlog::deadline_heap::Heap;
use crate::core::ids::EntryId;

/// Fresh entries, and the ends of those that were looked at.
#[derive(Debug, Default)]
pub struct Tracker {
    pub newly_dirty: VecDeque<EntryId>,
    /// A bit an entry: those in `newly_dirty`, so that none is there twice.
    is_newly_dirty: Vec<u64>,
    /// When entries must be looked at, milliseconds since 1970.
    pub ends: Heap,
    /// Entries from this number on are to be looked at as if they were fresh.
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
