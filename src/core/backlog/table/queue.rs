//! The keys of one registration that wait to be read, oldest first.

use super::entry::{Entries, List, NONE};
use super::limit::Missed;
use crate::core::ids::EntryId;

/// A queue of dirty keys with the counters that belong to it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Queue {
    list: List,
    /// So many keys at the front do not wait for their interval: they were sent before, or
    /// a client flushes them.
    due: usize,
    /// Keys dirty up to this time do not wait for their interval either.
    flush_us: u64,
    /// Changes that are in no entry.
    pub(super) missed: Missed,
    /// True when its registration is among those that were [stirred](super::Dirty::stir).
    pub(super) is_stirred: bool,
    /// Keys that were read and are not acknowledged.
    pub in_flight: usize,
    /// Changes seen.
    pub captured_total: u64,
    /// Changes that needed no write of their own.
    pub coalesced_total: u64,
}

impl Queue {
    /// Keys that wait.
    pub fn waiting(&self) -> usize {
        self.list.len()
    }

    /// Keys that wait or are in flight.
    pub fn dirty(&self) -> usize {
        self.list.len() + self.in_flight
    }

    /// Makes every key that is dirty since `watermark_us` or longer due at once.
    pub(super) fn flush(&mut self, watermark_us: u64) {
        self.flush_us = self.flush_us.max(watermark_us);
    }

    /// True if a key that is dirty since then was asked for by a flush.
    pub(super) fn is_flushed(&self, since_us: u64) -> bool {
        since_us <= self.flush_us
    }

    /// The entries that wait, the first one first.
    pub(super) fn ids<'e>(&self, entries: &'e Entries) -> impl Iterator<Item = EntryId> + 'e {
        std::iter::successors(self.list.head(), |id| {
            let next = entries.at(*id).next;
            (next != NONE).then_some(next)
        })
    }

    /// Counts a change that needs no write of its own.
    #[inline]
    pub(super) fn count_noop(&mut self) {
        self.captured_total += 1;
        self.coalesced_total += 1;
    }

    pub(super) fn push(&mut self, entries: &mut Entries, id: EntryId) {
        self.list.push_back(entries, id);
    }

    pub(super) fn push_due(&mut self, entries: &mut Entries, id: EntryId) {
        self.list.push_front(entries, id);
        self.due += 1;
    }

    pub(super) fn pop(&mut self, entries: &mut Entries) -> Option<EntryId> {
        let id = self.list.head()?;
        self.list.unlink(entries, id);
        self.due = self.due.saturating_sub(1);
        Some(id)
    }

    /// Takes a key out of the middle. Which keys are due at once is then not exact; a key too
    /// many is sent early, none late.
    pub(super) fn unlink(&mut self, entries: &mut Entries, id: EntryId) {
        self.list.unlink(entries, id);
        self.due = self.due.min(self.list.len());
    }

    pub(super) fn head_since_us(&self, entries: &Entries) -> Option<u64> {
        Some(entries.at(self.list.head()?).since_us)
    }

    /// When the first key is due, given its interval and what was flushed everywhere.
    pub(super) fn due_us(&self, entries: &Entries, interval_us: u64, flush_us: u64) -> Option<u64> {
        let since_us = self.head_since_us(entries)?;
        if self.due > 0 || since_us <= flush_us || self.is_flushed(since_us) {
            return Some(0);
        }
        Some(since_us.saturating_add(interval_us))
    }
}
