//! The queues of all registrations, and which due times may have changed.

use super::{Arena, Dirty, Queue};
use crate::core::ids::{EntryId, RegistrationId};

impl Dirty {
    /// Creates the queue and the arena of `registration_id`, if they do not exist.
    pub fn open_registration(&mut self, registration_id: RegistrationId) {
        while self.queues.len() <= usize::from(registration_id) {
            self.queues.push(Queue::default());
            self.arenas.push(Arena::default());
        }
    }

    /// The queue of `registration_id`.
    pub fn queue(&self, registration_id: RegistrationId) -> &Queue {
        &self.queues[usize::from(registration_id)]
    }

    /// Resets the counters of `registration_id`, which was removed.
    pub fn forget_counters(&mut self, registration_id: RegistrationId) {
        let queue = &mut self.queues[usize::from(registration_id)];
        (queue.captured_total, queue.coalesced_total) = (0, 0);
    }

    /// Number of captured changes of all registrations, and of coalesced ones.
    pub fn totals(&self) -> (u64, u64) {
        (self.captured_total, self.coalesced_total)
    }

    /// Makes every key of `registration_id` that is dirty since `watermark_us` or longer due
    /// immediately.
    pub fn flush(&mut self, registration_id: RegistrationId, watermark_us: u64) {
        self.queues[usize::from(registration_id)].flush(watermark_us);
        self.reschedule(registration_id);
    }

    /// The same for all registrations. The caller must update the schedule.
    pub fn flush_all(&mut self, watermark_us: u64) {
        self.flush_us = self.flush_us.max(watermark_us);
    }

    /// Since when the oldest waiting key of `registration_id` is dirty, microseconds.
    pub fn oldest_us(&self, registration_id: RegistrationId) -> Option<u64> {
        self.queue(registration_id).head_since_us(&self.entries)
    }

    /// When the first key of `registration_id` is due, given the registration's interval,
    /// microseconds.
    pub fn due_us(&self, registration_id: RegistrationId, interval_us: u64) -> Option<u64> {
        let interval_us = if self.is_pressed() { 0 } else { interval_us };
        self.queue(registration_id).due_us(&self.entries, interval_us, self.flush_us)
    }

    /// Marks `registration_id` as rescheduled: its due time may have changed.
    #[inline]
    pub fn reschedule(&mut self, registration_id: RegistrationId) {
        if let Some(queue) = self.queues.get_mut(usize::from(registration_id))
            && !queue.is_stirred
        {
            queue.is_stirred = true;
            self.rescheduled.push(registration_id);
        }
    }

    /// The rescheduled registrations.
    pub fn rescheduled(&self) -> &[RegistrationId] {
        &self.rescheduled
    }

    /// Moves the rescheduled registrations, each once, to `rescheduled`, whose contents are replaced.
    pub fn take_rescheduled(&mut self, rescheduled: &mut Vec<RegistrationId>) {
        rescheduled.clear();
        std::mem::swap(rescheduled, &mut self.rescheduled);
        for registration_id in rescheduled {
            self.queues[usize::from(*registration_id)].is_stirred = false;
        }
    }

    /// True if a flush covers a key of `registration_id` that is dirty since `since_us`.
    pub(super) fn is_flushed(&self, registration_id: RegistrationId, since_us: u64) -> bool {
        since_us <= self.flush_us || self.queue(registration_id).is_flushed(since_us)
    }

    pub(super) fn push(&mut self, registration_id: RegistrationId, id: EntryId) {
        let queue = &mut self.queues[usize::from(registration_id)];
        queue.push(&mut self.entries, id);
        if queue.waiting() == 1 {
            self.reschedule(registration_id);
        }
    }

    pub(super) fn push_due(&mut self, registration_id: RegistrationId, id: EntryId) {
        self.queues[usize::from(registration_id)].push_due(&mut self.entries, id);
        self.reschedule(registration_id);
    }

    pub(super) fn pop(&mut self, registration_id: RegistrationId) -> Option<EntryId> {
        let id = self.queues[usize::from(registration_id)].pop(&mut self.entries)?;
        self.reschedule(registration_id);
        Some(id)
    }

    pub(super) fn unlink(&mut self, registration_id: RegistrationId, id: EntryId) {
        self.queues[usize::from(registration_id)].unlink(&mut self.entries, id);
        self.reschedule(registration_id);
    }
}
