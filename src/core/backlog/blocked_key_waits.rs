//! Blocked keys at work: each waits in flight, and is then sent in a batch of its own.

use super::Backlog;
use crate::core::backlog::blocked_keys::BlockedKey;
use crate::core::delivery::batch::{Batch, Item};
use crate::core::ids::RegistrationId;
use crate::core::registration::Registration;

impl Backlog {
    /// Blocked keys, each registration's with its number.
    pub fn blocked_keys(&self) -> impl Iterator<Item = (&Registration, usize)> {
        let ids = self.blocked.ids().into_iter();
        ids.filter_map(|(id, count)| Some((&*self.active(id)?.registration, count)))
    }

    /// The document of an item cannot be written now: its key waits until `until_us`. When too
    /// many wait already, the key is dirty as before.
    pub(super) fn block(&mut self, batch: &Batch, item: &Item, reason: &str, until_us: u64) {
        if !self.dirty.is_in_flight(item.entry, item.version) {
            return;
        }
        let key =
            BlockedKey::new(batch.registration_id, item.version, item.since_us, reason.to_owned());
        if !self.blocked.block(item.entry, key, until_us) {
            self.dirty.give_back(item.entry, item.since_us);
            if let Some(active) = self.active_mut(batch.registration_id) {
                active.hold_us = active.hold_us.max(until_us);
            }
            self.dirty.stir(batch.registration_id);
        }
    }

    /// When the next blocked key can be tried, microseconds.
    pub(super) fn blocked_due_us(&self) -> Option<u64> {
        let ids = self.blocked.ids().into_iter();
        ids.filter_map(|(id, _)| self.blocked_key_due_us(id)).min()
    }

    /// The same for one registration; one of its keys is tried at a time.
    fn blocked_key_due_us(&self, id: RegistrationId) -> Option<u64> {
        let due_us = self.blocked.due_us(id)?;
        let active = self.active(id).filter(|_| !self.is_paused(id))?;
        let tries =
            self.in_flight.iter().any(|flight| flight.registration_id == id && flight.retry);
        (!tries && self.in_flight.has_credit(id, true)).then_some(due_us.max(active.hold_us))
    }

    /// Makes a blocked key that is due the first of its registration's queue: the registration, and how
    /// often it was tried.
    pub(super) fn retry_blocked(&mut self, now_us: u64) -> Option<(RegistrationId, u32)> {
        if self.blocked.is_empty() {
            return None;
        }
        for (id, _) in self.blocked.ids() {
            if self.blocked_key_due_us(id).is_none_or(|due_us| due_us > now_us) {
                continue;
            }
            while let Some((entry, key)) = self.blocked.take_due(id, now_us) {
                // Whatever took the key out of its flight meanwhile, the entry may be another
                // key's.
                if self.dirty.is_in_flight(entry, key.version) {
                    self.dirty.give_back(entry, key.since_us);
                    return Some((id, key.attempts));
                }
                self.blocked.remove(entry);
            }
        }
        None
    }

    /// The blocked keys of `id` are dirty as any others.
    pub(super) fn release_blocked(&mut self, id: RegistrationId) {
        for (entry, key) in self.blocked.remove_registration(id) {
            if self.dirty.is_in_flight(entry, key.version) {
                self.dirty.give_back(entry, key.since_us);
            }
        }
    }
}
