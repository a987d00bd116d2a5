//! Scans of existing keys: for WB.SYNC, or for registrations that missed changes because the dirty
//! table was full.
//!
//! The scanning master propagates the begin of the scan, the keys that were found and its end. So a
//! replica has the same keys marked, and still knows which changes it missed itself meanwhile.

use std::sync::Arc;

use super::registry::next_after;
use super::{ActiveRegistration, Backlog, Scanned};
use crate::core::backlog::change_log::{Change, ChangeKind};
use crate::core::backlog::flush_waiters::Scope;
use crate::core::backlog::table::Missed;
use crate::core::ids::{Db, RegistrationId};
use crate::core::registration::Registration;

impl Backlog {
    /// The registration to scan next: the first after `last` that needs a scan and has room for
    /// more keys. While MongoDB is unreachable there are no scans for missed changes, because the
    /// keys found would take the room of new changes.
    pub fn next_scan(&self, last: RegistrationId) -> Option<RegistrationId> {
        let down = self.link.name() == "down";
        let has_room = |id| self.dirty.has_room_to_scan(id);
        let asked = next_after(self.registry.to_sync(), last, has_room);
        let missing = if down { None } else { next_after(self.dirty.missing(), last, has_room) };
        let turn = |id: &RegistrationId| id.distance_from(last.next());
        asked.into_iter().chain(missing).min_by_key(turn)
    }

    /// Copies missed changes of shorter prefixes to the new registration `id`: they may be of its
    /// keys, and a scan of the shorter prefix skips keys that belong to a longer one.
    pub(super) fn inherit_missed(&mut self, id: RegistrationId, db: Db, prefix: &[u8]) {
        let others = self.dirty.missing().iter().copied().filter(|other| {
            *other != id
                && self.active(*other).is_some_and(|other| {
                    let of = &other.registration;
                    of.db == db && prefix.starts_with(&of.prefix)
                })
        });
        let oldest_us = others.filter_map(|other| self.dirty.missed(other).oldest_us()).min();
        if oldest_us.is_some() {
            let own_us = self.dirty.missed(id).oldest_us();
            let since_us = own_us.into_iter().chain(oldest_us).min();
            self.dirty.set_missed(id, Missed { since_us, scanned_us: None });
        }
    }

    /// True when a scan of `id` may mark more keys.
    pub fn has_room_to_scan(&self, id: RegistrationId) -> bool {
        self.dirty.has_room_to_scan(id)
    }

    /// A scan of `id` begins, from the first key.
    pub fn begin_scan(&mut self, id: RegistrationId) {
        self.dirty.begin_scan(id);
        if let Some(active) = self.active_mut(id) {
            active.scanned = Scanned::default();
        }
    }

    /// Adds progress of a scan of `id`.
    pub fn scanned(&mut self, id: RegistrationId, more: Scanned) {
        let missed = self.dirty.has_missed(id);
        // On replicas, WB._MARK is also received for other reasons than a scan.
        if let Some(active) = self.active_mut(id).filter(|active| active.sync_pending || missed) {
            active.scanned.visited += more.visited;
            active.scanned.marked += more.marked;
        }
    }

    /// Requests a scan of all keys of `id`, which restarts if one is in progress.
    pub fn begin_sync(&mut self, id: RegistrationId) {
        self.changed = true;
        self.set_sync_pending(id, true);
        if let Some(active) = self.active_mut(id) {
            active.scanned = Scanned::default();
        }
    }

    /// Ends the marking that [`begin_sync`](Self::begin_sync) has requested. True if it had not ended.
    pub fn cancel_sync(&mut self, id: RegistrationId) -> bool {
        let is_pending = self.active(id).is_some_and(|active| active.sync_pending);
        if is_pending {
            self.set_sync_pending(id, false);
        }
        is_pending
    }

    /// True if a scan of `id` must mark `key` of the registration's database.
    pub fn is_scanned(&self, id: RegistrationId, key: &[u8]) -> bool {
        let Some(active) = self.active(id) else { return false };
        let registration = &active.registration;
        if active.live {
            return self.registry.route(registration.db, key) == Some(id);
        }
        // A draining prefix is no longer routed. Keys of longer prefixes and excluded keys never
        // belonged to it.
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
        let live =
            self.registry.longest_prefix(registration.db, key).and_then(|id| self.active(id));
        live.is_some_and(|live| live.registration.prefix.len() > registration.prefix.len())
    }

    fn draining(&self) -> impl Iterator<Item = &ActiveRegistration> {
        self.registry.draining().iter().filter_map(|id| self.active(*id))
    }

    /// Marks `key`, which a scan of `id` has found. The scanning server passes
    /// [`ChangeKind::Found`], and then the key is marked even if the table is full.
    pub fn found(&mut self, id: RegistrationId, key: &[u8], kind: ChangeKind, now_us: u64) {
        let Some(active) = self.active(id) else { return };
        let (db, live) = (active.registration.db, active.live);
        if !live {
            // The key may be dirty in another registration by now, whose state is newer.
            self.fold(now_us);
            if self.dirty.id_of(db, key).is_some_and(|other| other != id) {
                return;
            }
        }
        if self.log.push(Change { db, registration_id: id, kind, joins: false, key }) {
            self.fold(now_us);
        }
    }

    /// A scan of `id` has visited every key.
    pub fn end_scan(&mut self, id: RegistrationId, now_us: u64) {
        self.fold(now_us);
        self.set_sync_pending(id, false);
        self.dirty.end_scan(id);
        self.resume_flushes();
        self.retire_if_done(id);
    }

    /// Number of registrations that missed changes.
    pub fn rescans_len(&self) -> usize {
        self.dirty.missing().len()
    }

    /// The ids of registrations that missed changes.
    pub fn rescans(&self) -> impl Iterator<Item = RegistrationId> + '_ {
        self.dirty.missing().iter().copied()
    }

    /// The registrations in `db`, or in all databases, that missed changes, with their ids.
    pub fn rescans_of(&self, db: Option<Db>) -> Vec<(RegistrationId, Arc<Registration>)> {
        let ids = self.rescans().filter_map(|id| Some((id, self.active(id)?)));
        ids.filter(|(_, active)| db.is_none_or(|db| db == active.registration.db))
            .map(|(id, ActiveRegistration { registration, .. })| (id, Arc::clone(registration)))
            .collect()
    }

    /// The registration of `key`, if it may have missed a change of the key, so that it is not
    /// known if the key is dirty or clean.
    pub fn maybe_missed(&self, db: Db, key: &[u8]) -> Option<RegistrationId> {
        if self.dirty.kind_of(db, key).is_some() {
            return None;
        }
        let routed = self.registry.route(db, key).filter(|id| self.dirty.has_missed(*id));
        let drains = |id: &RegistrationId| {
            let active = self.active(*id).filter(|active| !active.live);
            active.is_some_and(|active| active.registration.db == db) && self.is_scanned(*id, key)
        };
        routed.or_else(|| self.rescans().find(drains))
    }

    /// Clears the missed changes of `id`: all are found, or no longer needed.
    pub fn clear_missed(&mut self, id: RegistrationId) {
        self.dirty.set_missed(id, Missed::default());
        self.resume_flushes();
    }

    /// True if changes in `scope` were missed until `watermark_us` and may not have been found yet.
    pub(super) fn misses(&self, scope: &Scope, watermark_us: u64) -> bool {
        let misses = |id: RegistrationId| {
            self.dirty.missed(id).oldest_us().is_some_and(|us| us <= watermark_us)
        };
        match scope {
            Scope::All => self.rescans().any(misses),
            Scope::Registration(id) => misses(*id),
            // Missed keys were marked when the flush began.
            Scope::Keys(_) => false,
        }
    }

    /// Resumes flushes that waited for scans.
    fn resume_flushes(&mut self) {
        if !self.waiters.has_suspended() {
            return;
        }
        let watermark_us = self.dirty.watermark_us(0);
        let mut waiters = std::mem::take(&mut self.waiters);
        let dirty = |scope: &Scope| match scope {
            Scope::Registration(id) => self.dirty.queue(*id).dirty(),
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

    /// Makes the dirty keys in `scope` due immediately.
    pub(super) fn hasten_scope(&mut self, scope: &Scope, watermark_us: u64) {
        match scope {
            Scope::All => {
                self.dirty.flush_all(watermark_us);
                self.reschedule_all();
            }
            Scope::Registration(id) => self.dirty.flush(*id, watermark_us),
            Scope::Keys(_) => {}
        }
    }
}
