//! The queues of all registrations, and which of them may be due at another time than before.

use super::{Arena, Dirty, Queue};

impl Dirty {
    /// Makes room for the registration in `slot`.
    pub fn open_slot(&mut self, slot: u16) {
        while self.queues.len() <= usize::from(slot) {
            self.queues.push(Queue::default());
            self.arenas.push(Arena::default());
        }
    }

    /// The queue of `slot`.
    pub fn queue(&self, slot: u16) -> &Queue {
        &self.queues[usize::from(slot)]
    }

    /// The registration in `slot` is gone, and with it what was counted for it.
    pub fn forget_counters(&mut self, slot: u16) {
        let queue = &mut self.queues[usize::from(slot)];
        (queue.captured_total, queue.coalesced_total) = (0, 0);
    }

    /// Changes of all registrations, and those of them that needed no write of their own.
    pub fn totals(&self) -> (u64, u64) {
        (self.captured_total, self.coalesced_total)
    }

    /// Makes every key of `slot` that is dirty since `watermark_us` or longer due at once.
    pub fn flush(&mut self, slot: u16, watermark_us: u64) {
        self.queues[usize::from(slot)].flush(watermark_us);
        self.stir(slot);
    }

    /// The same for every slot; their schedules are the caller's to look at.
    pub fn flush_all(&mut self, watermark_us: u64) {
        self.flush_us = self.flush_us.max(watermark_us);
    }

    /// Since when the oldest waiting key of `slot` is dirty, microseconds.
    pub fn oldest_us(&self, slot: u16) -> Option<u64> {
        self.queue(slot).head_since_us(&self.entries)
    }

    /// When the first key of `slot` is due, given the registration's interval.
    pub fn due_us(&self, slot: u16, interval_us: u64) -> Option<u64> {
        let interval_us = if self.is_pressed() { 0 } else { interval_us };
        self.queue(slot).due_us(&self.entries, interval_us, self.flush_us)
    }

    /// The keys of `slot` may be due at another time from now on.
    #[inline]
    pub fn stir(&mut self, slot: u16) {
        if let Some(queue) = self.queues.get_mut(usize::from(slot))
            && !queue.is_stirred
        {
            queue.is_stirred = true;
            self.stirred.push(slot);
        }
    }

    /// The slots that were stirred and not asked since.
    pub fn stirred(&self) -> &[u16] {
        &self.stirred
    }

    /// The slots that were stirred since this was last asked, each once, in place of what is in
    /// `stirred`.
    pub fn take_stirred(&mut self, stirred: &mut Vec<u16>) {
        stirred.clear();
        std::mem::swap(stirred, &mut self.stirred);
        for slot in stirred {
            self.queues[usize::from(*slot)].is_stirred = false;
        }
    }

    /// True if a key of `slot` that is dirty since then was asked for by a flush.
    pub(super) fn is_flushed(&self, slot: u16, since_us: u64) -> bool {
        since_us <= self.flush_us || self.queue(slot).is_flushed(since_us)
    }

    pub(super) fn push(&mut self, slot: u16, id: u32) {
        let queue = &mut self.queues[usize::from(slot)];
        queue.push(&mut self.entries, id);
        if queue.waiting() == 1 {
            self.stir(slot);
        }
    }

    pub(super) fn push_due(&mut self, slot: u16, id: u32) {
        self.queues[usize::from(slot)].push_due(&mut self.entries, id);
        self.stir(slot);
    }

    pub(super) fn pop(&mut self, slot: u16) -> Option<u32> {
        let id = self.queues[usize::from(slot)].pop(&mut self.entries)?;
        self.stir(slot);
        Some(id)
    }

    pub(super) fn unlink(&mut self, slot: u16, id: u32) {
        self.queues[usize::from(slot)].unlink(&mut self.entries, id);
        self.stir(slot);
    }
}
