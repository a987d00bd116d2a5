//! The queue of dirty keys of one registration, oldest first.

use super::entry::{Entries, List, NONE};
use super::limit::Missed;
use crate::core::ids::EntryId;

/// A queue of dirty keys, with the counters of its registration.
#[derive(Clone, Copy, Debug, Default)]
pub struct Queue {
    list: List,
    /// Number of keys at the front that are due immediately: they were sent before, or are flushed
    /// by a client.
    due: usize,
    /// Keys dirty since this time or longer are also due immediately.
    flush_us: u64,
    /// Changes that were missed, so that they have no entry.
    pub(super) missed: Missed,
    /// True if its registration is [rescheduled](super::Dirty::reschedule).
    pub(super) is_stirred: bool,
    /// True if its keys are never written together with others.
    pub(super) apart: bool,
    /// Number of keys that were read and are not acknowledged.
    pub in_flight: usize,
    /// Changes captured.
    pub captured_total: u64,
    /// Changes that were coalesced.
    pub coalesced_total: u64,
}

impl Queue {
    /// Number of waiting keys.
    pub fn waiting(&self) -> usize {
        self.list.len()
    }

    /// Number of dirty keys, waiting or in flight.
    pub fn dirty(&self) -> usize {
        self.list.len() + self.in_flight
    }

    /// Makes every key that is dirty since `watermark_us` or longer due immediately.
    pub(super) fn flush(&mut self, watermark_us: u64) {
        self.flush_us = self.flush_us.max(watermark_us);
    }

    /// True if a flush covers a key that is dirty since `since_us`.
    pub(super) fn is_flushed(&self, since_us: u64) -> bool {
        since_us <= self.flush_us
    }

    /// The first waiting entry.
    pub(super) fn head(&self) -> Option<EntryId> {
        self.list.head()
    }

    /// The waiting entries in order.
    pub(super) fn ids<'e>(&self, entries: &'e Entries) -> impl Iterator<Item = EntryId> + 'e {
        std::iter::successors(self.list.head(), |id| {
            let next = entries.at(*id).next;
            (next != NONE).then_some(next)
        })
    }

    /// Counts a change that is coalesced.
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

    /// Removes a key from any position. The number of due keys is then not exact: a key may be sent
    /// too early, but none too late.
    pub(super) fn unlink(&mut self, entries: &mut Entries, id: EntryId) {
        self.list.unlink(entries, id);
        self.due = self.due.min(self.list.len());
    }

    pub(super) fn head_since_us(&self, entries: &Entries) -> Option<u64> {
        Some(entries.at(self.list.head()?).since_us)
    }

    /// When the first key is due, given the interval and the watermark of flushes of all
    /// registrations.
    pub(super) fn due_us(&self, entries: &Entries, interval_us: u64, flush_us: u64) -> Option<u64> {
        let since_us = self.head_since_us(entries)?;
        if self.due > 0 || since_us <= flush_us || self.is_flushed(since_us) {
            return Some(0);
        }
        Some(since_us.saturating_add(interval_us))
    }
}
