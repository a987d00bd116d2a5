//! Scans for keys that exist already: of a registration that asked for it, or that missed changes
//! because the dirty set was full.
//!
//! Who scans puts into the stream where the scan begins, what it found and where it ends. So a
//! replica knows as well as its master what was found, and keeps what it missed meanwhile itself.

use std::sync::Arc;

use super::registry::next_after;
use super::{Backlog, Scanned, Slot};
use crate::core::backlog::change_log::{Change, Touch};
use crate::core::backlog::flush_waiters::Scope;
use crate::core::backlog::table::Missed;
use crate::core::registration::Registration;

impl Backlog {
    /// The slot to scan for a while: the next one after `last` that needs it and may do it now.
    /// Nothing while MongoDB is away, because what is found would only fill the room that changes
    /// need, and while there is no room.
    pub fn next_scan(&self, last: u16) -> Option<u16> {
        let down = self.link.name() == "down";
        let has_room = |slot| self.dirty.has_room_to_scan(slot);
        let asked = next_after(self.registry.to_sync(), last, has_room);
        let missing = if down { None } else { next_after(self.dirty.missing(), last, has_room) };
        let turn = |slot: &u16| slot.wrapping_sub(last).wrapping_sub(1);
        asked.into_iter().chain(missing).min_by_key(turn)
    }

    /// Keys of `slot` may belong to those that a shorter prefix missed before: the scan of that one
    /// leaves them to the longest.
    pub(super) fn inherit_missed(&mut self, slot: u16, db: u16, prefix: &[u8]) {
        let others = self.dirty.missing().iter().copied().filter(|other| {
            *other != slot
                && self.slot(*other).is_some_and(|other| {
                    let of = &other.registration;
                    of.db == db && prefix.starts_with(&of.prefix)
                })
        });
        let oldest_us = others.filter_map(|other| self.dirty.missed(other).oldest_us()).min();
        if oldest_us.is_some() {
            let own_us = self.dirty.missed(slot).oldest_us();
            let since_us = own_us.into_iter().chain(oldest_us).min();
            self.dirty.set_missed(slot, Missed { since_us, scanned_us: None });
        }
    }

    /// True when a scan of `slot` may mark more keys.
    pub fn has_room_to_scan(&self, slot: u16) -> bool {
        self.dirty.has_room_to_scan(slot)
    }

    /// A scan of `slot` begins at the first key.
    pub fn begin_scan(&mut self, slot: u16) {
        self.dirty.begin_scan(slot);
        if let Some(bound) = self.slot_mut(slot) {
            bound.scanned = Scanned::default();
        }
    }

    /// A scan of `slot` has looked at so many more keys, and marked so many.
    pub fn scanned(&mut self, slot: u16, more: Scanned) {
        let missed = self.dirty.has_missed(slot);
        // Marks other than those of a scan are propagated to replicas, too.
        if let Some(bound) = self.slot_mut(slot).filter(|bound| bound.sync_pending || missed) {
            bound.scanned.visited += more.visited;
            bound.scanned.marked += more.marked;
        }
    }

    /// Asks for a scan of all keys of `slot`, from the beginning if one is under way.
    pub fn begin_sync(&mut self, slot: u16) {
        self.changed = true;
        self.set_sync_pending(slot, true);
        if let Some(bound) = self.slot_mut(slot) {
            bound.scanned = Scanned::default();
        }
    }

    /// True if `key` of the registration's database is for a scan of `slot` to mark.
    pub fn is_scanned(&self, slot: u16, key: &[u8]) -> bool {
        let Some(bound) = self.slot(slot) else { return false };
        let registration = &bound.registration;
        if bound.live {
            return self.route(registration.db, key) == Some(slot);
        }
        // Its prefix is routed no more. Of the keys that it had, those of longer prefixes and those
        // that it excluded were never its.
        let longer = |other: &Registration| {
            other.db == registration.db
                && other.prefix.len() > registration.prefix.len()
                && key.starts_with(&other.prefix)
        };
        key.starts_with(&registration.prefix)
            && !registration.excludes(key)
            && !self.routes_longer(registration, key)
            && !self.draining().any(|other| longer(&other.registration))
    }

    /// True if the longest prefix that captures `key` is longer than that of the registration.
    fn routes_longer(&self, registration: &Registration, key: &[u8]) -> bool {
        let live = self.routes.find(registration.db, key).and_then(|slot| self.slot(slot));
        live.is_some_and(|live| live.registration.prefix.len() > registration.prefix.len())
    }

    fn draining(&self) -> impl Iterator<Item = &Slot> {
        self.registry.draining().iter().filter_map(|slot| self.slot(*slot))
    }

    /// A scan of `slot` has found `key`. It is [`Touch::Found`] for who scans: limit or not, it
    /// is remembered.
    pub fn found(&mut self, slot: u16, key: &[u8], touch: Touch, now_us: u64) {
        let Some(bound) = self.slot(slot) else { return };
        let (db, live) = (bound.registration.db, bound.live);
        if !live {
            // Another registration may have the key by now, and what it knows is newer.
            self.fold(now_us);
            if self.dirty.slot_of(db, key).is_some_and(|other| other != slot) {
                return;
            }
        }
        if self.log.push(Change { db, slot, touch, key }) {
            self.fold(now_us);
        }
    }

    /// A scan of `slot` has visited every key.
    pub fn end_scan(&mut self, slot: u16, now_us: u64) {
        self.fold(now_us);
        self.set_sync_pending(slot, false);
        self.dirty.end_scan(slot);
        self.resume_flushes();
        self.retire_if_done(slot);
    }

    /// How many slots missed changes.
    pub fn rescans_len(&self) -> usize {
        self.dirty.missing().len()
    }

    /// The slots that missed changes.
    pub fn rescans(&self) -> impl Iterator<Item = u16> + '_ {
        self.dirty.missing().iter().copied()
    }

    /// The registration of such a slot in `db`, or in all databases, with its number.
    pub fn rescans_of(&self, db: Option<u16>) -> Vec<(u16, Arc<Registration>)> {
        let slots = self.rescans().filter_map(|slot| Some((slot, self.slot(slot)?)));
        slots
            .filter(|(_, bound)| db.is_none_or(|db| db == bound.registration.db))
            .map(|(slot, Slot { registration, .. })| (slot, Arc::clone(registration)))
            .collect()
    }

    /// The slot that `key` belongs to, if that slot may have missed it: the key is not known to
    /// be dirty, nor to be clean.
    pub fn maybe_missed(&self, db: u16, key: &[u8]) -> Option<u16> {
        if self.dirty.touched(db, key).is_some() {
            return None;
        }
        let routed = self.route(db, key).filter(|slot| self.dirty.has_missed(*slot));
        let drains = |slot: &u16| {
            let bound = self.slot(*slot).filter(|bound| !bound.live);
            bound.is_some_and(|bound| bound.registration.db == db) && self.is_scanned(*slot, key)
        };
        routed.or_else(|| self.rescans().find(drains))
    }

    /// Changes whenever a scan under way counts no more.
    pub fn epoch(&self) -> u32 {
        self.epoch
    }

    /// Everything that `slot` missed is known now, or does not count any more.
    pub fn clear_missed(&mut self, slot: u16) {
        self.dirty.set_missed(slot, Missed::default());
        self.resume_flushes();
    }

    /// True if something in `scope` was missed until `watermark_us` and may not be found yet.
    pub(super) fn misses(&self, scope: &Scope, watermark_us: u64) -> bool {
        let misses =
            |slot: u16| self.dirty.missed(slot).oldest_us().is_some_and(|us| us <= watermark_us);
        match scope {
            Scope::All => self.rescans().any(misses),
            Scope::Slot(slot) => misses(*slot),
            // Their keys were found when they came.
            Scope::Keys(_) => false,
        }
    }

    /// Lets flushes go on that waited for scans.
    fn resume_flushes(&mut self) {
        if !self.waiters.has_suspended() {
            return;
        }
        let watermark_us = self.dirty.watermark_us(0);
        let mut waiters = std::mem::take(&mut self.waiters);
        let dirty = |scope: &Scope| match scope {
            Scope::Slot(slot) => self.dirty.queue(*slot).dirty(),
            _ => self.dirty.len(),
        };
        let missed = |scope: &Scope, watermark_us| self.misses(scope, watermark_us);
        let resumed = waiters.resume(watermark_us, missed, dirty);
        self.waiters = waiters;
        self.changed = true;
        for scope in resumed {
            self.hasten_scope(&scope, watermark_us);
        }
    }

    /// Makes what is dirty in `scope` due at once.
    pub(super) fn hasten_scope(&mut self, scope: &Scope, watermark_us: u64) {
        match scope {
            Scope::All => {
                self.dirty.flush_all(watermark_us);
                self.stir_all();
            }
            Scope::Slot(slot) => self.dirty.flush(*slot, watermark_us),
            Scope::Keys(_) => {}
        }
    }
}
