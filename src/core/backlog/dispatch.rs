//! Begins batches: which registration is due, and which of its keys are in the next batch.

use std::sync::Arc;

use super::Backlog;
use crate::core::backlog::change_log::ChangeKind;
use crate::core::backlog::table::{Next, RetainedValue, Taken};
use crate::core::delivery::batch::{Batch, Item};
use crate::core::ids::RegistrationId;
use crate::core::mapping::value::{Content, Span};
use crate::core::registration::{OnRemoval, Registration};

/// What to do if a dirty key does not exist.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Missing {
    /// Delete its document.
    Delete,
    /// Leave its document as it is.
    Keep,
}

/// What was due next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Due {
    /// A key, to be read, with its name in the batch.
    Key(Taken, Span),
    /// A group, of which so many keys wait to be sent together.
    Group(usize),
}

impl Backlog {
    /// Begins a batch of the next due registration, round-robin.
    pub fn begin_batch(&mut self, now_us: u64) -> Option<Batch> {
        if !self.in_flight.may_send() {
            return None;
        }
        self.release_slow(now_us);
        self.release_parked();
        let retry = self.retry_blocked(now_us);
        let (id, retry) = match retry {
            Some(retry) => retry,
            None => (self.next_registration(now_us)?, 0),
        };
        let registration = Arc::clone(&self.active(id)?.registration);
        if let Some(active) = self.active_mut(id) {
            active.writes.gathers_since_us = None;
        }
        let (items, bytes) = self.in_flight.buffers();
        let slow = retry > 0 || self.slow_registrations.contains(&id);
        Some(Batch {
            registration,
            registration_id: id,
            epoch: self.in_flight.epoch,
            slow,
            retry,
            items,
            groups: Vec::new(),
            bytes,
        })
    }

    /// Takes the next due key of the batch's registration, unless the batch is full. Its name is
    /// appended to the batch; the caller reads the value and pushes the item.
    pub fn take(&mut self, batch: &mut Batch, now_us: u64) -> Option<Due> {
        let most_keys = match batch.registration.batch_max_keys {
            Some(keys) => keys as usize,
            None => usize::try_from(self.settings.batch_max_keys).unwrap_or(1),
        };
        let most_bytes = usize::try_from(self.settings.batch_max_bytes).unwrap_or(0);
        let most_keys = if batch.retry > 0 { 1 } else { most_keys };
        // The first key is never subject to the byte limit.
        let full = batch.items.len() >= most_keys
            || (!batch.items.is_empty() && batch.bytes.len() >= most_bytes);
        // A held batch may have been begun with other options.
        let active = self.active(batch.registration_id)?;
        if !Arc::ptr_eq(&active.registration, &batch.registration) {
            return None;
        }
        if self.contested.is_released(batch.registration_id) && active.hold_us <= now_us {
            return self.take_released(batch).map(|(taken, key)| Due::Key(taken, key));
        }
        if full
            || self.registration_due_us(batch.registration_id).is_none_or(|due_us| due_us > now_us)
        {
            return None;
        }
        let start = batch.bytes.len();
        let copy = |key: &[u8]| batch.bytes.extend_from_slice(key);
        match self.dirty.take_next(batch.registration_id, copy)? {
            Next::Key(taken) => Some(Due::Key(taken, Span { start, end: batch.bytes.len() })),
            Next::Group(group, keys) => {
                self.group_is_due(group);
                Some(Due::Group(keys))
            }
        }
    }

    /// The next due key, after the groups that are due before it.
    #[cfg(test)]
    pub fn take_key(&mut self, batch: &mut Batch, now_us: u64) -> Option<(Taken, Span)> {
        loop {
            if let Due::Key(taken, key) = self.take(batch, now_us)? {
                return Some((taken, key));
            }
        }
    }

    /// Requeues the keys of a batch that could not be sent or is not needed.
    pub fn unsent(&mut self, batch: Batch) {
        for item in batch.items.iter().rev() {
            self.dirty.requeue_front(item.entry, item.since_us);
        }
        self.retire_if_done(batch.registration_id);
        self.in_flight.recycle(batch);
    }

    /// The registration's policy for a removed key, by the last kind of change; `kind` is
    /// [`ChangeKind::Changed`] if the server did not report why the key was removed.
    pub fn on_missing(registration: &Registration, kind: ChangeKind) -> Missing {
        let policy = match kind {
            ChangeKind::Deleted | ChangeKind::MaybeDeleted => registration.on_delete,
            ChangeKind::Expired => registration.on_expire,
            ChangeKind::Evicted => registration.on_evict,
            // Removed without an event, as by FLUSHALL: MongoDB keeps the documents.
            ChangeKind::Changed
            | ChangeKind::ExpiryMayHaveChanged
            | ChangeKind::Found
            | ChangeKind::ExpiryOnly
            | ChangeKind::Retained => OnRemoval::Keep,
        };
        match policy {
            OnRemoval::Delete => Missing::Delete,
            OnRemoval::Keep => Missing::Keep,
        }
    }

    /// True if the key changed after it was taken.
    pub fn changed_since(&mut self, taken: &Taken, now_us: u64) -> bool {
        self.fold_logged(|| now_us);
        self.dirty.changed_since(taken)
    }

    /// Requeues a key that was taken and not read at the front of its queue.
    pub fn requeue(&mut self, taken: &Taken) {
        self.dirty.requeue_front(taken.entry, taken.since_us);
    }

    /// Requeues a key that cannot be read or settled now at the back of its queue. If its batch has
    /// no items yet, its registration backs off until `hold_us`.
    pub fn postpone(&mut self, batch: &Batch, taken: &Taken, hold_us: u64) {
        self.dirty.postpone(taken.entry, taken.since_us);
        if batch.items.is_empty()
            && let Some(active) = self.active_mut(batch.registration_id)
        {
            active.hold_us = active.hold_us.max(hold_us);
            self.dirty.reschedule(batch.registration_id);
        }
    }

    /// The retained value of a key that was taken, if it has not changed since.
    pub fn retained(&mut self, taken: &Taken, now_us: u64) -> Option<&RetainedValue> {
        self.fold_logged(|| now_us);
        self.dirty.retained(taken.entry)
    }

    /// When a key that waits in the queue of `id` is due, microseconds.
    pub(super) fn registration_due_us(&self, id: RegistrationId) -> Option<u64> {
        let active = self.active(id).filter(|_| !self.is_paused(id))?;
        let interval_ms = match active.registration.interval_ms {
            // No further change will be coalesced.
            _ if !active.live => 0,
            Some(ms) => ms,
            None => u64::try_from(self.settings.flush_interval_ms).unwrap_or(0),
        };
        if self.contested.is_released(id) {
            return Some(active.hold_us);
        }
        let due_us = self.dirty.due_us(id, interval_ms.saturating_mul(1000))?;
        Some(due_us.max(active.hold_us))
    }
}

/// The item of a taken key with its value at `value`, which expires at `expire_ms`.
pub fn item(taken: &Taken, key: Span, content: Content, value: Span, expire_ms: i64) -> Item {
    let Taken { entry, version, since_us, .. } = *taken;
    Item { entry, version, since_us, key, content, value, expire_ms }
}
