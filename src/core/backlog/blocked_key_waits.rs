//! Waits of blocked keys: each stays in flight, and is then sent in a batch of its own.

use super::Backlog;
use crate::core::backlog::blocked_keys::BlockedKey;
use crate::core::delivery::batch::{Batch, Item};
use crate::core::ids::RegistrationId;
use crate::core::registration::Registration;

impl Backlog {
    /// Registrations with blocked keys, each with their number.
    pub fn blocked_keys(&self) -> impl Iterator<Item = (&Registration, usize)> {
        let ids = self.blocked.ids().into_iter();
        ids.filter_map(|(id, count)| Some((&*self.active(id)?.registration, count)))
    }

    /// Blocks the key of an item, whose document cannot be written now, until `until_us`. If too
    /// many keys are blocked already, the key is requeued and its registration waits.
    pub(super) fn block(&mut self, batch: &Batch, item: &Item, reason: &str, until_us: u64) {
        if !self.dirty.is_in_flight(item.entry, item.version) {
            return;
        }
        if !self.waits_apart(batch, item) {
            return;
        }
        let key =
            BlockedKey::new(batch.registration_id, item.version, item.since_us, reason.to_owned());
        if !self.blocked.block(item.entry, key, until_us) {
            self.dirty.requeue_front(item.entry, item.since_us);
            if let Some(active) = self.active_mut(batch.registration_id) {
                active.hold_us = active.hold_us.max(until_us);
            }
            self.dirty.reschedule(batch.registration_id);
        }
    }

    /// When the next blocked key can be retried, microseconds.
    pub(super) fn blocked_due_us(&self) -> Option<u64> {
        let ids = self.blocked.ids().into_iter();
        ids.filter_map(|(id, _)| self.blocked_key_due_us(id)).min()
    }

    /// The same for one registration, of which one key is retried at a time.
    fn blocked_key_due_us(&self, id: RegistrationId) -> Option<u64> {
        let due_us = self.blocked.due_us(id)?;
        let active = self.active(id).filter(|_| !self.is_paused(id))?;
        let is_retrying =
            self.in_flight.iter().any(|flight| flight.registration_id == id && flight.retry);
        (!is_retrying && self.in_flight.has_credit(id, true)).then_some(due_us.max(active.hold_us))
    }

    /// Requeues a due blocked key at the front of its registration's queue. Returns the
    /// registration and the number of attempts.
    pub(super) fn retry_blocked(&mut self, now_us: u64) -> Option<(RegistrationId, u32)> {
        if self.blocked.is_empty() {
            return None;
        }
        for (id, _) in self.blocked.ids() {
            if self.blocked_key_due_us(id).is_none_or(|due_us| due_us > now_us) {
                continue;
            }
            while let Some((entry, key)) = self.blocked.take_due(id, now_us) {
                // If the key is no longer in flight, its entry may have been reused by another key.
                if self.dirty.is_in_flight(entry, key.version) {
                    self.dirty.requeue_front(entry, key.since_us);
                    return Some((id, key.attempts));
                }
                self.blocked.remove(entry);
            }
        }
        None
    }

    /// Unblocks and requeues the blocked keys of `id`.
    pub(super) fn release_blocked(&mut self, id: RegistrationId) {
        for (entry, key) in self.blocked.remove_registration(id) {
            if self.dirty.is_in_flight(entry, key.version) {
                self.dirty.requeue_front(entry, key.since_us);
            }
        }
    }
}
