//! Keys that go away by themselves: expired or evicted.
//!
//! Replicas and the AOF see both as a plain DEL. So the master announces each of them in the
//! stream, just before the DEL, and everybody who reads the stream does the same as the master.

use super::{Backlog, Missing};
use crate::core::backlog::change_log::{Change, Touch};
use crate::core::backlog::dead_letters::DeadLetter;
use crate::core::backlog::table::Captured;
use crate::core::ids::{Db, RegistrationId};
use crate::core::mapping::value::{Content, NO_EXPIRY};

impl Backlog {
    /// True if the value of `key` must be captured before the key goes away as `touch` says: it
    /// is dirty, or may be, or was refused, and its document is to stay.
    pub fn must_capture(&mut self, db: Db, key: &[u8], touch: Touch, now_us: u64) -> bool {
        let Some(active) = self.route(db, key).and_then(|id| self.active(id)) else {
            return false;
        };
        if Backlog::on_missing(&active.registration, touch) == Missing::Delete {
            return false;
        }
        self.fold(now_us);
        self.is_uncaptured(db, key)
    }

    /// Keeps the value of a key that is dirty, or may be, or was refused; false for any other.
    pub fn capture(&mut self, db: Db, key: &[u8], value: Captured) -> bool {
        if self.dirty.touched(db, key).is_some() {
            return self.dirty.capture(db, key, value);
        }
        if let Some(id) = self.maybe_missed(db, key) {
            self.dirty.capture_missed(db, id, key, &value);
            self.changed = true;
            return true;
        }
        self.dead.capture(db, key, value)
    }

    /// A dirty key is not there any more. If its document is to be deleted, that is kept like a
    /// value: after SWAPDB another key may have its name, whose value is not ours to write.
    pub fn capture_missing(&mut self, db: Db, key: &[u8], now_us: u64) {
        self.fold_logged(now_us);
        let id = self.dirty.id_of(db, key).and_then(|id| self.active(id));
        let Some((active, touch)) = id.zip(self.dirty.touched(db, key)) else { return };
        if Backlog::on_missing(&active.registration, touch) == Missing::Delete {
            let (content, bytes) = (Content::Tombstone, Box::default());
            self.dirty.capture(db, key, Captured { content, expire_ms: NO_EXPIRY, bytes });
        }
    }

    /// A key went away as `touch` says. True when it belongs to a registration, so that replicas
    /// must be told.
    pub fn gone(&mut self, db: Db, key: &[u8], touch: Touch, now_us: u64) -> bool {
        let Some(id) = self.route(db, key) else { return false };
        let Some(active) = self.active(id) else { return false };
        match Backlog::on_missing(&active.registration, touch) {
            Missing::Delete => {
                if self.log.push(Change { db, registration_id: id, touch, key }) {
                    self.fold(now_us);
                }
            }
            Missing::Keep => {
                self.fold(now_us);
                // One that was perhaps missed is counted, too: it is not known to be clean.
                if self.is_uncaptured(db, key) {
                    self.lost_total += 1;
                    self.was_not_deleted(db, id, key, now_us);
                }
            }
        }
        true
    }

    /// A key of `id` that was perhaps deleted was not: it has just expired or been evicted.
    fn was_not_deleted(&mut self, db: Db, id: RegistrationId, key: &[u8], now_us: u64) {
        match self.dirty.touched(db, key) {
            // As a change of its own, because the key may be being read right now.
            Some(Touch::PerhapsDeleted) => {
                self.log.push(Change { db, registration_id: id, touch: Touch::Changed, key });
                self.fold(now_us);
            }
            Some(_) => {}
            None => self.dead.was_not_deleted(db, key),
        }
    }

    /// True if a key is dirty, or may be, or was refused, and its value is in Redis alone.
    pub fn is_uncaptured(&self, db: Db, key: &[u8]) -> bool {
        match self.dirty.touched(db, key) {
            Some(touch) => touch.may_hold_value(),
            None => {
                self.dead.find(db, key).is_some_and(DeadLetter::is_uncaptured)
                    || self.maybe_missed(db, key).is_some()
            }
        }
    }

    /// True if a key that is not dirty was refused, and its value is in Redis alone.
    pub(super) fn is_refused(&self, db: Db, key: &[u8]) -> bool {
        self.dirty.touched(db, key).is_none()
            && self.dead.find(db, key).is_some_and(DeadLetter::is_uncaptured)
    }

    /// The stream announces that the DEL of `key` which follows is none of a client.
    pub fn announce(&mut self, db: Db, key: &[u8]) {
        self.announced = Some((db, key.to_vec()));
    }

    /// True once, for the DEL that was announced.
    pub fn was_announced(&mut self, db: Db, key: &[u8]) -> bool {
        let matches =
            self.announced.as_ref().is_some_and(|(of, name)| *of == db && name.as_slice() == key);
        if matches {
            self.announced = None;
        }
        matches
    }
}
