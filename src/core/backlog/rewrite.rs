//! Indeterminate writes: their outcome is unknown, and MongoDB may still apply them after newer
//! writes. So a key with one is written, and written once more when the old write can no longer be
//! in flight.
//!
//! An abandoned write is indeterminate if it cannot be fenced off. So are the writes that this server
//! had in flight when it crashed, or the former master when this replica was promoted: their keys are
//! not known, but they are among the keys that have been dirty for the longest time.

use std::collections::{HashMap, VecDeque};

use super::Backlog;
use crate::core::backlog::change_log::{Change, ChangeKind};
use crate::core::backlog::table::RetainedValue;
use crate::core::delivery::batch::{Batch, Item};
use crate::core::ids::{Db, RegistrationId};
use crate::core::mapping::value::Content;

/// Safety margin on the time limit of a command, for the network and MongoDB's clock, microseconds.
const SLACK_US: u64 = 2_000_000;

/// Maximum number of keys made dirty again per call.
const AT_A_TIME: usize = 256;

type DbKey = (Db, Vec<u8>);

/// How to write a key once more.
#[derive(Debug)]
struct Rewrite {
    /// When it is due, microseconds.
    due_us: u64,
    registration_id: RegistrationId,
    kind: ChangeKind,
    retained: Option<RetainedValue>,
}

/// All keys with an indeterminate write.
#[derive(Debug, Default)]
pub(super) struct IndeterminateWrites {
    /// `None` until the key was written again.
    keys: HashMap<DbKey, Option<Rewrite>>,
    /// When keys that were written again are due once more, microseconds.
    due: VecDeque<(u64, DbKey)>,
    /// Keys dirty since this time or longer may be in flight in a predecessor's batches,
    /// microseconds.
    predecessor_us: u64,
}

impl IndeterminateWrites {
    /// When the first key is due, microseconds.
    fn due_us(&self) -> Option<u64> {
        self.due.front().map(|(due_us, _)| *due_us)
    }
}

impl Backlog {
    /// Records that `batch` was abandoned and may still be applied.
    pub(super) fn record_indeterminate(&mut self, batch: &Batch) {
        for item in &batch.items {
            // A rewrite that is due for an earlier one would be too early for this one.
            let key = (batch.registration.db, batch.key(item).to_vec());
            self.indeterminate.keys.insert(key, None);
        }
    }

    /// Data was loaded: the server that saved it may still have the oldest dirty keys in flight.
    pub fn data_loaded(&mut self, now_us: u64) {
        self.fold(now_us);
        self.loaded_groups = Default::default();
        self.assume_predecessor_in_flight(now_us);
    }

    /// This server became a master or a replica: later writes must not be overtaken by writes that
    /// are still in flight, its own or the other master's.
    pub fn role_changed(&mut self, now_us: u64) {
        self.fold(now_us);
        self.begin_epoch();
        self.assume_predecessor_in_flight(now_us);
    }

    fn assume_predecessor_in_flight(&mut self, now_us: u64) {
        self.sessions.retire();
        self.indeterminate.predecessor_us = self.dirty.watermark_us(now_us);
        // The maximum number of batches that one server has in flight.
        let batches = u32::try_from(self.settings.max_in_flight_batches).unwrap_or(1) * 2;
        for id in self.registry.ever() {
            let dirty = self.dirty.queue(id).dirty() > 0;
            if let Some(active) = self.active_mut(id) {
                active.predecessor_batches = if dirty { batches } else { 0 };
            }
        }
    }

    /// Must be called before `batch` is sent.
    pub fn sending(&mut self, batch: &Batch) {
        self.contested.sending(batch);
        let predecessor_us = self.indeterminate.predecessor_us;
        let Some(active) = self.active_mut(batch.registration_id) else { return };
        if active.predecessor_batches == 0 {
            return;
        }
        active.predecessor_batches -= 1;
        if batch.items.iter().all(|item| item.since_us > predecessor_us) {
            active.predecessor_batches = 0;
        }
        let db = batch.registration.db;
        for item in batch.items.iter().filter(|item| item.since_us <= predecessor_us) {
            self.indeterminate.keys.entry((db, batch.key(item).to_vec())).or_insert(None);
        }
    }

    /// True if MongoDB may still apply an old write of a key.
    pub(super) fn is_indeterminate(&self, db: Db, key: &[u8]) -> bool {
        !self.indeterminate.keys.is_empty()
            && self.indeterminate.keys.contains_key(&(db, key.to_vec()))
    }

    /// True if what will be written once more for a key with an indeterminate write is its deletion.
    pub(super) fn is_deleted_again(&self, db: Db, key: &[u8]) -> bool {
        if self.indeterminate.keys.is_empty() {
            return false;
        }
        let Some(Some(again)) = self.indeterminate.keys.get(&(db, key.to_vec())) else {
            return false;
        };
        match &again.retained {
            Some(retained) => retained.content == Content::Tombstone,
            None => again.kind == ChangeKind::Deleted,
        }
    }

    /// Forgets the indeterminate write of a key that needs no write after all.
    pub(super) fn forget_indeterminate(&mut self, db: Db, key: &[u8]) {
        if !self.indeterminate.keys.is_empty() {
            self.indeterminate.keys.remove(&(db, key.to_vec()));
        }
    }

    /// Schedules another write of an item that is about to be acknowledged, if its key has an
    /// indeterminate write.
    pub(super) fn schedule_rewrite(&mut self, batch: &Batch, item: &Item, now_us: u64) {
        if self.indeterminate.keys.is_empty() {
            return;
        }
        let key = (batch.registration.db, batch.key(item).to_vec());
        let Some(again) = self.indeterminate.keys.get_mut(&key) else { return };
        let retained =
            (self.dirty.kind_of(key.0, &key.1) == Some(ChangeKind::Retained)).then(|| {
                let (content, expire_ms) = (item.content, item.expire_ms);
                RetainedValue { content, expire_ms, bytes: batch.value(item).into() }
            });
        let kind = match (&retained, item.content) {
            (Some(_), _) => ChangeKind::Retained,
            (None, Content::Tombstone) => ChangeKind::Deleted,
            (None, _) => ChangeKind::Changed,
        };
        let registration_id = batch.registration_id;
        let first = again.is_none();
        let due_us = again.as_ref().map_or_else(
            || {
                let limit_ms = u64::try_from(self.settings.write_timeout_ms).unwrap_or(0);
                now_us.saturating_add(limit_ms.saturating_mul(1000) + SLACK_US)
            },
            |again| again.due_us,
        );
        *again = Some(Rewrite { due_us, registration_id, kind, retained });
        if first {
            self.indeterminate.due.push_back((due_us, key));
        }
    }

    /// Makes keys dirty again whose rewrite is due at `now_us`, and returns them with the ids of
    /// their registrations.
    pub fn mark_due_rewrites(&mut self, now_us: u64) -> Vec<(RegistrationId, Vec<u8>)> {
        self.fold_logged(|| now_us);
        let mut marked = Vec::new();
        // Limited, so that it takes no longer than a slice of reading.
        while self.has_due_rewrites(now_us) && marked.len() < AT_A_TIME {
            let Some((due_us, key)) = self.indeterminate.due.pop_front() else { break };
            let known = self.indeterminate.keys.get(&key).and_then(Option::as_ref);
            // After another indeterminate write it is due later.
            if known.is_none_or(|again| again.due_us != due_us) {
                continue;
            }
            let Some(Some(again)) = self.indeterminate.keys.remove(&key) else { continue };
            let (db, name) = (key.0, key.1.as_slice());
            // If the key is dirty, it is written anyway.
            let ours = self.registry.route(db, name) == Some(again.registration_id);
            if !ours || self.dirty.kind_of(db, name).is_some() {
                continue;
            }
            let Rewrite { registration_id: id, kind, retained, .. } = again;
            let kind = if retained.is_some() { ChangeKind::Changed } else { kind };
            self.log.push(Change { db, registration_id: id, kind, joins: false, key: name });
            self.fold(now_us);
            if let Some(retained) = retained {
                self.dirty.retain_value(db, name, retained);
            }
            marked.push((id, key.1));
        }
        marked
    }

    /// When [`mark_due_rewrites`](Self::mark_due_rewrites) must be called, microseconds.
    pub fn rewrites_due_us(&self) -> Option<u64> {
        self.indeterminate.due_us()
    }

    /// True if [`mark_due_rewrites`](Self::mark_due_rewrites) must be called at `now_us`.
    pub fn has_due_rewrites(&self, now_us: u64) -> bool {
        self.indeterminate.due_us().is_some_and(|due_us| due_us <= now_us)
    }
}

#[cfg(test)]
mod tests;
