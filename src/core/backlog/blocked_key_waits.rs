//! Blocked keys at work: each waits in flight, and is then sent in a batch of its own.

use super::Backlog;
use crate::core::backlog::blocked_keys::BlockedKey;
use crate::core::delivery::batch::{Batch, Item};
use crate::core::registration::Registration;

impl Backlog {
    /// Blocked keys, each registration's with its number.
    pub fn blocked_keys(&self) -> impl Iterator<Item = (&Registration, usize)> {
        let slots = self.blocked.slots().into_iter();
        slots.filter_map(|(slot, count)| Some((&*self.slot(slot)?.registration, count)))
    }

    /// The document of an item cannot be written now: its key waits until `until_us`. When too
    /// many wait already, the key is dirty as before.
    pub(super) fn block(&mut self, batch: &Batch, item: &Item, reason: &str, until_us: u64) {
        if !self.dirty.is_in_flight(item.entry, item.ver) {
            return;
        }
        let key = BlockedKey::new(batch.slot, item.ver, item.since_us, reason.to_owned());
        if !self.blocked.block(item.entry, key, until_us) {
            self.dirty.give_back(item.entry, item.since_us);
            if let Some(slot) = self.slot_mut(batch.slot) {
                slot.hold_us = slot.hold_us.max(until_us);
            }
            self.dirty.stir(batch.slot);
        }
    }

    /// When the next blocked key can be tried, microseconds.
    pub(super) fn blocked_due_us(&self) -> Option<u64> {
        let slots = self.blocked.slots().into_iter();
        slots.filter_map(|(slot, _)| self.blocked_slot_due_us(slot)).min()
    }

    /// The same for one registration; one of its keys is tried at a time.
    fn blocked_slot_due_us(&self, slot: u16) -> Option<u64> {
        let due_us = self.blocked.due_us(slot)?;
        let bound = self.slot(slot).filter(|_| !self.is_paused(slot))?;
        let mut flights = self.flights.iter().chain(&self.held);
        let tries = flights.any(|flight| flight.slot == slot && flight.retry);
        (!tries && self.has_credit(slot, true)).then_some(due_us.max(bound.hold_us))
    }

    /// Makes a blocked key that is due the first of its registration's queue: the slot, and how
    /// often it was tried.
    pub(super) fn retry_blocked(&mut self, now_us: u64) -> Option<(u16, u32)> {
        if self.blocked.is_empty() {
            return None;
        }
        for (slot, _) in self.blocked.slots() {
            if self.blocked_slot_due_us(slot).is_none_or(|due_us| due_us > now_us) {
                continue;
            }
            while let Some((entry, key)) = self.blocked.take_due(slot, now_us) {
                // Whatever took the key out of its flight meanwhile, the entry may be another
                // key's.
                if self.dirty.is_in_flight(entry, key.ver) {
                    self.dirty.give_back(entry, key.since_us);
                    return Some((slot, key.attempts));
                }
                self.blocked.remove(entry);
            }
        }
        None
    }

    /// The blocked keys of `slot` are dirty as any others.
    pub(super) fn release_blocked(&mut self, slot: u16) {
        for (entry, key) in self.blocked.remove_slot(slot) {
            if self.dirty.is_in_flight(entry, key.ver) {
                self.dirty.give_back(entry, key.since_us);
            }
        }
    }
}
