//! Indeterminate writes: an older write of them may still be applied, after newer ones. So once such a key
//! is written, it is written once more when nothing of the old can be under way any longer.
//!
//! A write that was given up is indeterminate when the server cannot fence it off. And so is whatever
//! this server sent before it crashed, or another one before this one was promoted: it is unknown
//! which keys that was, but no others than those that are dirty for longest.

use std::collections::{HashMap, VecDeque};

use super::Backlog;
use crate::core::backlog::change_log::{Change, ChangeKind};
use crate::core::backlog::table::RetainedValue;
use crate::core::delivery::batch::{Batch, Item};
use crate::core::ids::{Db, RegistrationId};
use crate::core::mapping::value::Content;

/// What the network and the server's clock may add to the limit of a command, microseconds.
const SLACK_US: u64 = 2_000_000;

/// Keys made dirty again in one go.
const AT_A_TIME: usize = 256;

type DbKey = (Db, Vec<u8>);

/// How to write a key once more.
#[derive(Debug)]
struct Rewrite {
    registration_id: RegistrationId,
    kind: ChangeKind,
    retained: Option<RetainedValue>,
}

/// All keys with an indeterminate write.
#[derive(Debug, Default)]
pub(super) struct IndeterminateWrites {
    /// Nothing while the key is not written again.
    keys: HashMap<DbKey, Option<Rewrite>>,
    /// When the keys that are written again are due once more.
    due: VecDeque<(u64, DbKey)>,
    /// Keys that are dirty since then or longer may be on their way already.
    predecessor_us: u64,
}

impl IndeterminateWrites {
    /// When the first key is due, microseconds.
    fn due_us(&self) -> Option<u64> {
        self.due.front().map(|(due_us, _)| *due_us)
    }
}

impl Backlog {
    /// `batch` was given up and may still be applied.
    pub(super) fn doubt(&mut self, batch: &Batch) {
        for item in &batch.items {
            let key = (batch.registration.db, batch.key(item).to_vec());
            self.indeterminate.keys.entry(key).or_insert(None);
        }
    }

    /// The data was loaded: what is dirty for longest may be on its way already.
    pub fn data_loaded(&mut self, now_us: u64) {
        self.fold(now_us);
        self.assume_predecessor_in_flight(now_us);
    }

    /// This server became a master or a replica: writes from here on must not meet what is still on its
    /// way, its own or the other master's.
    pub fn role_changed(&mut self, now_us: u64) {
        self.fold(now_us);
        self.begin_epoch();
        self.assume_predecessor_in_flight(now_us);
    }

    fn assume_predecessor_in_flight(&mut self, now_us: u64) {
        self.sessions.retire();
        self.indeterminate.predecessor_us = self.dirty.watermark_us(now_us);
        // As many batches as one server has out at a time.
        let batches = u32::try_from(self.settings.max_in_flight_batches).unwrap_or(1) * 2;
        for id in self.registry.ever() {
            let dirty = self.dirty.queue(id).dirty() > 0;
            if let Some(active) = self.active_mut(id) {
                active.predecessor_batches = if dirty { batches } else { 0 };
            }
        }
    }

    /// `batch` is about to be sent.
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

    /// A key needs no write after all: it has no indeterminate one.
    pub(super) fn forget_doubt(&mut self, db: Db, key: &[u8]) {
        if !self.indeterminate.keys.is_empty() {
            self.indeterminate.keys.remove(&(db, key.to_vec()));
        }
    }

    /// An item is about to be acknowledged: if its key has an indeterminate write, it is due once more.
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
        let first = again
            .replace(Rewrite { registration_id: batch.registration_id, kind, retained })
            .is_none();
        if first {
            let limit_ms = u64::try_from(self.settings.write_timeout_ms).unwrap_or(0);
            let due_us = now_us.saturating_add(limit_ms.saturating_mul(1000) + SLACK_US);
            self.indeterminate.due.push_back((due_us, key));
        }
    }

    /// Makes the keys dirty again that are due once more at `now_us`, and returns them with the
    /// ids of their registrations.
    pub fn mark_due_rewrites(&mut self, now_us: u64) -> Vec<(RegistrationId, Vec<u8>)> {
        let mut marked = Vec::new();
        // So many at a time that it takes no longer than reading does.
        while self.has_due_rewrites(now_us) && marked.len() < AT_A_TIME {
            let Some((_, key)) = self.indeterminate.due.pop_front() else { break };
            let Some(Some(again)) = self.indeterminate.keys.remove(&key) else { continue };
            let (db, name) = (key.0, key.1.as_slice());
            // A newer change is written anyway, and by itself.
            let ours = self.registry.route(db, name) == Some(again.registration_id);
            if !ours || self.dirty.kind_of(db, name).is_some() {
                continue;
            }
            let Rewrite { registration_id: id, kind, retained } = again;
            let kind = if retained.is_some() { ChangeKind::Changed } else { kind };
            self.log.push(Change { db, registration_id: id, kind, key: name });
            self.fold(now_us);
            if let Some(retained) = retained {
                self.dirty.retain_value(db, name, retained);
            }
            marked.push((id, key.1));
        }
        marked
    }

    /// When [`mark_due_rewrites`](Self::mark_due_rewrites) has something to do, microseconds.
    pub fn rewrites_due_us(&self) -> Option<u64> {
        self.indeterminate.due_us()
    }

    /// True when [`mark_due_rewrites`](Self::mark_due_rewrites) has something to do at `now_us`.
    pub fn has_due_rewrites(&self, now_us: u64) -> bool {
        self.indeterminate.due_us().is_some_and(|due_us| due_us <= now_us)
    }
}

#[cfg(test)]
mod tests;
