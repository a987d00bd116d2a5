//! Scans for keys that exist already: of a registration that asked for it, or that missed changes
//! because the dirty set was full.
//!
//! Who scans puts into the stream where the scan begins, what it found and where it ends. So a
//! replica knows as well as its master what was found, and keeps what it missed meanwhile itself.

use std::sync::Arc;

use super::registry::next_after;
use super::{ActiveRegistration, Backlog, Scanned};
use crate::core::backlog::change_log::{Change, ChangeKind};
use crate::core::backlog::flush_waiters::Scope;
use crate::core::backlog::table::Missed;
use crate::core::ids::{Db, RegistrationId};
use crate::core::registration::Registration;

impl Backlog {
    /// The registration to scan for a while: the next one after `last` that needs it and may do it now.
    /// Nothing while MongoDB is away, because what is found would only fill the room that changes
    /// need, and while there is no room.
    pub fn next_scan(&self, last: RegistrationId) -> Option<RegistrationId> {
        let down = self.link.name() == "down";
        let has_room = |id| self.dirty.has_room_to_scan(id);
        let asked = next_after(self.registry.to_sync(), last, has_room);
        let missing = if down { None } else { next_after(self.dirty.missing(), last, has_room) };
        let turn = |id: &RegistrationId| id.distance_from(last.next());
        asked.into_iter().chain(missing).min_by_key(turn)
    }

    /// Keys of `id` may belong to those that a shorter prefix missed before: the scan of that one
    /// leaves them to the longest.
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

    /// A scan of `id` begins at the first key.
    pub fn begin_scan(&mut self, id: RegistrationId) {
        self.dirty.begin_scan(id);
        if let Some(active) = self.active_mut(id) {
            active.scanned = Scanned::default();
        }
    }

    /// A scan of `id` has looked at so many more keys, and marked so many.
    pub fn scanned(&mut self, id: RegistrationId, more: Scanned) {
        let missed = self.dirty.has_missed(id);
        // Marks other than those of a scan are propagated to replicas, too.
        if let Some(active) = self.active_mut(id).filter(|active| active.sync_pending || missed) {
            active.scanned.visited += more.visited;
            active.scanned.marked += more.marked;
        }
    }

    /// Asks for a scan of all keys of `id`, from the beginning if one is under way.
    pub fn begin_sync(&mut self, id: RegistrationId) {
        self.changed = true;
        self.set_sync_pending(id, true);
        if let Some(active) = self.active_mut(id) {
            active.scanned = Scanned::default();
        }
    }

    /// True if `key` of the registration's database is for a scan of `id` to mark.
    pub fn is_scanned(&self, id: RegistrationId, key: &[u8]) -> bool {
        let Some(active) = self.active(id) else { return false };
        let registration = &active.registration;
        if active.live {
            return self.registry.route(registration.db, key) == Some(id);
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
        let live =
            self.registry.longest_prefix(registration.db, key).and_then(|id| self.active(id));
        live.is_some_and(|live| live.registration.prefix.len() > registration.prefix.len())
    }

    fn draining(&self) -> impl Iterator<Item = &ActiveRegistration> {
        self.registry.draining().iter().filter_map(|id| self.active(*id))
    }

    /// A scan of `id` has found `key`. It is [`ChangeKind::Found`] for who scans: limit or not, it
    /// is remembered.
    pub fn found(&mut self, id: RegistrationId, key: &[u8], kind: ChangeKind, now_us: u64) {
        let Some(active) = self.active(id) else { return };
        let (db, live) = (active.registration.db, active.live);
        if !live {
            // Another registration may have the key by now, and what it knows is newer.
            self.fold(now_us);
            if self.dirty.id_of(db, key).is_some_and(|other| other != id) {
                return;
            }
        }
        if self.log.push(Change { db, registration_id: id, kind, key }) {
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

    /// How many ids missed changes.
    pub fn rescans_len(&self) -> usize {
        self.dirty.missing().len()
    }

    /// The ids that missed changes.
    pub fn rescans(&self) -> impl Iterator<Item = RegistrationId> + '_ {
        self.dirty.missing().iter().copied()
    }

    /// The registration of such a registration in `db`, or in all databases, with its number.
    pub fn rescans_of(&self, db: Option<Db>) -> Vec<(RegistrationId, Arc<Registration>)> {
        let ids = self.rescans().filter_map(|id| Some((id, self.active(id)?)));
        ids.filter(|(_, active)| db.is_none_or(|db| db == active.registration.db))
            .map(|(id, ActiveRegistration { registration, .. })| (id, Arc::clone(registration)))
            .collect()
    }

    /// The registration that `key` belongs to, if that registration may have missed it: the key is not known to
    /// be dirty, nor to be clean.
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

    /// Everything that `id` missed is known now, or does not count any more.
    pub fn clear_missed(&mut self, id: RegistrationId) {
        self.dirty.set_missed(id, Missed::default());
        self.resume_flushes();
    }

    /// True if something in `scope` was missed until `watermark_us` and may not be found yet.
    pub(super) fn misses(&self, scope: &Scope, watermark_us: u64) -> bool {
        let misses = |id: RegistrationId| {
            self.dirty.missed(id).oldest_us().is_some_and(|us| us <= watermark_us)
        };
        match scope {
            Scope::All => self.rescans().any(misses),
            Scope::Registration(id) => misses(*id),
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

    /// Makes what is dirty in `scope` due at once.
    pub(super) fn hasten_scope(&mut self, scope: &Scope, watermark_us: u64) {
        match scope {
            Scope::All => {
                self.dirty.flush_all(watermark_us);
                self.stir_all();
            }
            Scope::Registration(id) => self.dirty.flush(*id, watermark_us),
            Scope::Keys(_) => {}
        }
    }
}
