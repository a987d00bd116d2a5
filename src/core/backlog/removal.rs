//! Expired and evicted keys.
//!
//! Redis propagates both to replicas and the AOF as DEL. So the master announces each of them in the
//! replication stream just before the DEL, and replicas and AOF loading apply the same policy as the
//! master.

use super::{Backlog, Missing};
use crate::core::backlog::change_log::{Change, ChangeKind};
use crate::core::backlog::dead_letters::DeadLetter;
use crate::core::backlog::table::RetainedValue;
use crate::core::ids::{Db, RegistrationId};
use crate::core::mapping::value::{Content, NO_EXPIRY};

impl Backlog {
    /// True if the value of `key` must be retained before the key is removed (`kind` is the
    /// reason): the key is dirty, may be dirty or has a dead letter, and its document is to be
    /// kept.
    pub fn must_retain(&mut self, db: Db, key: &[u8], kind: ChangeKind, now_us: u64) -> bool {
        let Some(active) = self.registry.route(db, key).and_then(|id| self.active(id)) else {
            return false;
        };
        if Backlog::on_missing(&active.registration, kind) == Missing::Delete {
            return false;
        }
        self.fold(now_us);
        self.has_unretained(db, key)
    }

    /// Retains the value of a key that is dirty, may be dirty or has a dead letter; false for any
    /// other.
    pub fn retain_value(
        &mut self,
        db: Db,
        key: &[u8],
        value: RetainedValue,
        clock: impl FnOnce() -> u64,
    ) -> bool {
        self.fold_logged(clock);
        if self.dirty.kind_of(db, key).is_some() {
            return self.dirty.retain_value(db, key, value);
        }
        if let Some(id) = self.maybe_missed(db, key) {
            self.dirty.retain_missed(db, id, key, &value);
            self.changed = true;
            return true;
        }
        self.dead.retain_value(db, key, value)
    }

    /// A dirty key no longer exists. If its document is to be deleted, the deletion is retained
    /// like a value: after SWAPDB another key may have its name, whose value must not be written
    /// for it.
    pub fn retain_missing(&mut self, db: Db, key: &[u8], now_us: u64) {
        self.fold_logged(|| now_us);
        let id = self.dirty.id_of(db, key).and_then(|id| self.active(id));
        let Some((active, kind)) = id.zip(self.dirty.kind_of(db, key)) else { return };
        if Backlog::on_missing(&active.registration, kind) == Missing::Delete {
            let (content, bytes) = (Content::Tombstone, Box::default());
            self.dirty.retain_value(
                db,
                key,
                RetainedValue { content, expire_ms: NO_EXPIRY, bytes },
            );
        }
    }

    /// A key was removed; `kind` is the reason. True if it belongs to a registration, so that the
    /// removal must be announced to replicas. `joins` as in [`record`](Self::record).
    pub fn removed(
        &mut self,
        (db, key): (Db, &[u8]),
        kind: ChangeKind,
        joins: impl FnOnce() -> bool,
        now_us: u64,
    ) -> bool {
        let Some(id) = self.registry.route(db, key) else { return false };
        let has_groups = self.registry.has_groups();
        let joins = || has_groups && joins();
        // A document that is being loaded must not bring the key back.
        self.loads.see_written(id, key);
        if kind == ChangeKind::Evicted {
            self.count_evicted(id);
        }
        let Some(active) = self.active(id) else { return false };
        match Backlog::on_missing(&active.registration, kind) {
            Missing::Delete => {
                let joins = joins();
                if self.log.push(Change { db, registration_id: id, kind, joins, key }) {
                    self.fold(now_us);
                }
            }
            Missing::Keep => {
                self.fold(now_us);
                // A key whose change may have been missed counts, too: it is not known to be clean.
                if self.has_unretained(db, key) {
                    self.lost_total += 1;
                    self.writes_see_lost(db, key);
                    self.was_not_deleted((db, key), id, joins, now_us);
                }
            }
        }
        true
    }

    /// A key of `id` that was marked as possibly deleted was not: it has just expired or been
    /// evicted.
    fn was_not_deleted(
        &mut self,
        (db, key): (Db, &[u8]),
        id: RegistrationId,
        joins: impl FnOnce() -> bool,
        now_us: u64,
    ) {
        match self.dirty.kind_of(db, key) {
            // As a change of its own, because the key may be in the process of being read.
            Some(ChangeKind::MaybeDeleted) => {
                let (kind, joins) = (ChangeKind::Changed, joins());
                self.log.push(Change { db, registration_id: id, kind, joins, key });
                self.fold(now_us);
            }
            Some(_) => {}
            None => self.dead.was_not_deleted(db, key),
        }
    }

    /// True if a key is dirty, may be dirty or has a dead letter, and its value exists only in Redis.
    pub fn is_unretained(&mut self, db: Db, key: &[u8], clock: impl FnOnce() -> u64) -> bool {
        self.fold_logged(clock);
        self.has_unretained(db, key)
    }

    fn has_unretained(&self, db: Db, key: &[u8]) -> bool {
        match self.dirty.kind_of(db, key) {
            Some(kind) => kind.may_hold_value(),
            None => {
                self.dead.find(db, key).is_some_and(DeadLetter::is_unretained)
                    || self.maybe_missed(db, key).is_some()
            }
        }
    }

    /// True if a key that is not dirty has a dead letter, and its value exists only in Redis.
    pub(super) fn is_refused(&self, db: Db, key: &[u8]) -> bool {
        self.dirty.kind_of(db, key).is_none()
            && self.dead.find(db, key).is_some_and(DeadLetter::is_unretained)
    }

    /// A key has left with its hash slot: another node of the cluster has its value, and writes its document.
    /// False if it belongs to no registration.
    pub fn left(&mut self, (db, key): (Db, &[u8]), now_us: u64) -> bool {
        let Some(id) = self.registry.route(db, key) else { return false };
        self.fold(now_us);
        self.clear_letter(db, key);
        self.writes_see_left(db, key);
        self.departs(db, key);
        if self.dirty.kind_of(db, key).is_some() {
            // A missing key that was changed, and not deleted, needs no write.
            let (kind, joins) = (ChangeKind::Changed, false);
            self.log.push(Change { db, registration_id: id, kind, joins, key });
            self.fold(now_us);
        }
        true
    }

    /// The stream announces that the following DEL of `key` is an expiration or eviction.
    pub fn announce(&mut self, db: Db, key: &[u8]) {
        self.announced = Some((db, key.to_vec()));
    }

    /// True once for each key of the DEL that was announced.
    pub fn was_announced(&mut self, db: Db, key: &[u8]) -> bool {
        let matches =
            self.announced.as_ref().is_some_and(|(of, name)| *of == db && name.as_slice() == key);
        if matches {
            self.announced = None;
        }
        matches
            || (!self.announced_left.is_empty() && self.announced_left.remove(&(db, key.to_vec())))
    }
}
