//! The queues of all registrations, and which of them may be due at another time than before.

use super::{Arena, Dirty, Queue};
use crate::core::ids::{EntryId, RegistrationId};

impl Dirty {
    /// Makes room for the registration `registration_id`.
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

    /// The registration `registration_id` is gone, and with it what was counted for it.
    pub fn forget_counters(&mut self, registration_id: RegistrationId) {
        let queue = &mut self.queues[usize::from(registration_id)];
        (queue.captured_total, queue.coalesced_total) = (0, 0);
    }

    /// Changes of all registrations, and those of them that needed no write of their own.
    pub fn totals(&self) -> (u64, u64) {
        (self.captured_total, self.coalesced_total)
    }

    /// Makes every key of `registration_id` that is dirty since `watermark_us` or longer due at once.
    pub fn flush(&mut self, registration_id: RegistrationId, watermark_us: u64) {
        self.queues[usize::from(registration_id)].flush(watermark_us);
        self.stir(registration_id);
    }

    /// The same for every registration; their schedules are the caller's to look at.
    pub fn flush_all(&mut self, watermark_us: u64) {
        self.flush_us = self.flush_us.max(watermark_us);
    }

    /// Since when the oldest waiting key of `registration_id` is dirty, microseconds.
    pub fn oldest_us(&self, registration_id: RegistrationId) -> Option<u64> {
        self.queue(registration_id).head_since_us(&self.entries)
    }

    /// When the first key of `registration_id` is due, given the registration's interval.
    pub fn due_us(&self, registration_id: RegistrationId, interval_us: u64) -> Option<u64> {
        let interval_us = if self.is_pressed() { 0 } else { interval_us };
        self.queue(registration_id).due_us(&self.entries, interval_us, self.flush_us)
    }

    /// The keys of `registration_id` may be due at another time from now on.
    #[inline]
    pub fn stir(&mut self, registration_id: RegistrationId) {
        if let Some(queue) = self.queues.get_mut(usize::from(registration_id))
            && !queue.is_stirred
        {
            queue.is_stirred = true;
            self.stirred.push(registration_id);
        }
    }

    /// The ids that were stirred and not asked since.
    pub fn stirred(&self) -> &[RegistrationId] {
        &self.stirred
    }

    /// The ids that were stirred since this was last asked, each once, in place of what is in
    /// `stirred`.
    pub fn take_stirred(&mut self, stirred: &mut Vec<RegistrationId>) {
        stirred.clear();
        std::mem::swap(stirred, &mut self.stirred);
        for registration_id in stirred {
            self.queues[usize::from(*registration_id)].is_stirred = false;
        }
    }

    /// True if a key of `registration_id` that is dirty since then was asked for by a flush.
    pub(super) fn is_flushed(&self, registration_id: RegistrationId, since_us: u64) -> bool {
        since_us <= self.flush_us || self.queue(registration_id).is_flushed(since_us)
    }

    pub(super) fn push(&mut self, registration_id: RegistrationId, id: EntryId) {
        let queue = &mut self.queues[usize::from(registration_id)];
        queue.push(&mut self.entries, id);
        if queue.waiting() == 1 {
            self.stir(registration_id);
        }
    }

    pub(super) fn push_due(&mut self, registration_id: RegistrationId, id: EntryId) {
        self.queues[usize::from(registration_id)].push_due(&mut self.entries, id);
        self.stir(registration_id);
    }

    pub(super) fn pop(&mut self, registration_id: RegistrationId) -> Option<EntryId> {
        let id = self.queues[usize::from(registration_id)].pop(&mut self.entries)?;
        self.stir(registration_id);
        Some(id)
    }

    pub(super) fn unlink(&mut self, registration_id: RegistrationId, id: EntryId) {
        self.queues[usize::from(registration_id)].unlink(&mut self.entries, id);
        self.stir(registration_id);
    }
}
