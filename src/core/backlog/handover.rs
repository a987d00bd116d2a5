//! Keys whose documents this node may have left wrong when their hash slot moved to another node: that one
//! writes them again.
//!
//! - A removal that was not written when the slot was gone: the new node has no key to tell it of.
//! - A value that was in flight when its key left: it may overwrite a newer one of the new node.
//!
//! The key is sent to all nodes until the one that has its slot confirms it. A removal stays dirty until then.

use std::collections::{HashMap, HashSet};

use super::Backlog;
use crate::core::backlog::change_log::{Change, ChangeKind};
use crate::core::backlog::table::RetainedValue;
use crate::core::cluster::message::{Handed, LastValue};
use crate::core::delivery::batch::Batch;
use crate::core::ids::{Db, RegistrationId};
use crate::core::mapping::value::NO_EXPIRY;

/// Keys in one message.
const AT_A_TIME: usize = 256;
/// Keys that are sent at once.
const AT_ONCE: usize = 4096;
/// When an operator must know that no node takes a key over, microseconds.
const LATE_US: u64 = 20_000_000;
/// How long a slot may take to move, microseconds.
const ON_ITS_WAY_US: u64 = 600_000_000;

/// A key that another node has to confirm.
#[derive(Debug)]
struct Handover {
    /// What the new node does if it does not have the key.
    kind: ChangeKind,
    retained: Option<RetainedValue>,
    /// True if the key stays dirty until it is confirmed.
    is_dirty: bool,
    is_confirmed: bool,
    /// When it was sent first, microseconds.
    since_us: Option<u64>,
}

impl Handover {
    fn new(kind: ChangeKind, retained: Option<RetainedValue>, is_dirty: bool) -> Self {
        Handover { kind, retained, is_dirty, is_confirmed: false, since_us: None }
    }
}

/// All keys that are handed over.
#[derive(Debug, Default)]
pub struct Handovers {
    keys: HashMap<(Db, Vec<u8>), Handover>,
    /// Keys that have left while they were in flight.
    departed: HashSet<(Db, Vec<u8>)>,
    /// When they are sent, microseconds; 0 for at once.
    pub again_us: u64,
}

impl Handovers {
    /// True if there are none.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }
}

impl Backlog {
    /// A dirty key has left while it may be in flight.
    pub(super) fn departs(&mut self, db: Db, key: &[u8]) {
        if self
            .dirty
            .standing(db, key)
            .is_some_and(|standing| standing.in_flight && !standing.parked)
        {
            self.handovers.departed.insert((db, key.to_vec()));
        }
    }

    /// A batch has ended: those of its keys that have left meanwhile are handed over.
    pub(super) fn departed_with(&mut self, batch: &Batch) {
        if self.handovers.departed.is_empty() {
            return;
        }
        let db = batch.registration.db;
        for item in &batch.items {
            let key = (db, batch.key(item).to_vec());
            if !self.handovers.departed.remove(&key) {
                continue;
            }
            // A key with a time to live that the new node does not have has expired there more likely than not.
            let kind =
                if item.expire_ms == NO_EXPIRY { ChangeKind::Deleted } else { ChangeKind::Expired };
            let handover = Handover::new(kind, None, false);
            self.handovers.keys.entry(key).or_insert(handover);
            self.handovers.again_us = 0;
        }
    }

    /// Hands over the removal of a key. True once the new node has confirmed it; the key needs no write then.
    pub fn hand_over(
        &mut self,
        (db, key): (Db, &[u8]),
        kind: ChangeKind,
        retained: Option<RetainedValue>,
    ) -> bool {
        let key = (db, key.to_vec());
        if self.handovers.keys.get(&key).is_some_and(|known| known.is_confirmed && known.is_dirty) {
            self.handovers.keys.remove(&key);
            return true;
        }
        let known = self.handovers.keys.get(&key);
        if known.is_none_or(|known| !known.is_dirty || known.kind != kind) {
            self.handovers.keys.insert(key, Handover::new(kind, retained, true));
            self.handovers.again_us = 0;
        }
        false
    }

    /// Hands over the removal of a key that needs no write here any more, whether it is confirmed or not.
    pub fn leave_to_other(
        &mut self,
        (db, key): (Db, &[u8]),
        kind: ChangeKind,
        retained: Option<RetainedValue>,
    ) {
        let handover = Handover::new(kind, retained, false);
        self.handovers.keys.insert((db, key.to_vec()), handover);
        self.handovers.again_us = 0;
    }

    /// True if a key waits for another node to take it over.
    pub(super) fn is_handed_over(&self, db: Db, key: &[u8]) -> bool {
        !self.handovers.is_empty() && self.handovers.keys.contains_key(&(db, key.to_vec()))
    }

    /// A warning if no node has taken keys over for long.
    pub fn handover_warning(&self, now_us: u64) -> Option<String> {
        let is_late = |handover: &&Handover| {
            !handover.is_confirmed
                && handover.since_us.is_some_and(|since_us| since_us + LATE_US < now_us)
        };
        let count = self.handovers.keys.values().filter(is_late).count();
        (count > 0).then(|| {
            format!(
                "{count} keys have left with their hash slots, and no node of the cluster takes them over: load \
                 this version of the module on the node that has the slots"
            )
        })
    }

    /// The keys to send, in parts of one database. Those whose slot has come back are forgotten: this node writes
    /// them. `has` is true for a key whose slot this node has, or is about to give or to get.
    pub fn handed_over(
        &mut self,
        now_us: u64,
        has: impl Fn(&[u8]) -> bool,
    ) -> Vec<(Db, Vec<Handed>)> {
        let mut by_db: HashMap<Db, Vec<Handed>> = HashMap::new();
        let mut own = Vec::new();
        for (of, handover) in self.handovers.keys.iter_mut().take(AT_ONCE) {
            let (db, key) = of;
            if handover.is_confirmed {
                continue;
            }
            handover.since_us.get_or_insert(now_us);
            // A value that was in flight may have left with a slot that is still on its way.
            let stays = handover.is_dirty
                || handover.since_us.is_some_and(|since_us| since_us + ON_ITS_WAY_US < now_us);
            if stays && has(key) {
                own.push(of.clone());
                continue;
            }
            let value = handover.retained.as_ref().map(|retained| LastValue {
                content: retained.content,
                expire_ms: retained.expire_ms,
                bytes: retained.bytes.to_vec(),
            });
            let handed = Handed { key: key.clone(), kind: handover.kind as u8, value };
            by_db.entry(*db).or_default().push(handed);
        }
        own.iter().for_each(|of| drop(self.handovers.keys.remove(of)));
        let parts = by_db.into_iter().flat_map(|(db, mut all)| {
            let mut parts = Vec::new();
            while !all.is_empty() {
                let rest = all.split_off(AT_A_TIME.min(all.len()));
                parts.push((db, std::mem::replace(&mut all, rest)));
            }
            parts
        });
        parts.collect()
    }

    /// The new node has confirmed these keys.
    pub fn handed_over_to(&mut self, db: Db, keys: Vec<Vec<u8>>) {
        for key in keys {
            let key = (db, key);
            let Some(handover) = self.handovers.keys.get_mut(&key) else { continue };
            handover.is_confirmed = true;
            if !handover.is_dirty {
                self.handovers.keys.remove(&key);
            }
        }
    }

    /// A node that had the slot of a key before hands it over: the key is written again, if it `exists` here, or
    /// else what was left of it. Returns its registration if it has become dirty.
    pub fn take_over(
        &mut self,
        db: Db,
        handed: &Handed,
        exists: bool,
        now_us: u64,
    ) -> Option<RegistrationId> {
        let id = self.registry.route(db, &handed.key)?;
        self.fold(now_us);
        // A newer change of it is written anyway.
        if self.dirty.kind_of(db, &handed.key).is_some() {
            return None;
        }
        let kind = if exists { ChangeKind::Changed } else { ChangeKind::from_u8(handed.kind)? };
        let value = handed.value.as_ref().filter(|_| !exists);
        let kind = if value.is_some() { ChangeKind::Changed } else { kind };
        self.log.push(Change { db, registration_id: id, kind, joins: false, key: &handed.key });
        self.fold(now_us);
        if let Some(LastValue { content, expire_ms, bytes }) = value {
            let bytes = bytes.as_slice().into();
            let retained = RetainedValue { content: *content, expire_ms: *expire_ms, bytes };
            self.dirty.retain_value(db, &handed.key, retained);
        }
        Some(id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::registration::{Namespace, Registration};

    fn backlog() -> Backlog {
        let mut backlog = Backlog::default();
        let namespace = Namespace { database: "d".to_owned(), collection: "c".to_owned() };
        backlog.register(Registration::new(Db(0), b"k:", namespace));
        backlog
    }

    fn names(parts: &[(Db, Vec<Handed>)]) -> Vec<Vec<u8>> {
        let mut names: Vec<_> = parts
            .iter()
            .flat_map(|(_, keys)| keys.iter().map(|handed| handed.key.clone()))
            .collect();
        names.sort();
        names
    }

    #[test]
    fn a_removal_is_sent_until_it_is_confirmed_and_then_needs_no_write() {
        let mut backlog = backlog();
        let of = (Db(0), &b"k:1"[..]);
        assert!(!backlog.hand_over(of, ChangeKind::Deleted, None));
        for _ in 0..2 {
            assert!(!backlog.hand_over(of, ChangeKind::Deleted, None));
            assert_eq!(names(&backlog.handed_over(1, |_| false)), [b"k:1"]);
        }
        backlog.handed_over_to(Db(0), vec![b"k:1".to_vec(), b"k:unknown".to_vec()]);
        assert!(backlog.handed_over(1, |_| false).is_empty());
        assert!(backlog.hand_over(of, ChangeKind::Deleted, None));
        // A later removal is another one.
        assert!(!backlog.hand_over(of, ChangeKind::Deleted, None));
    }

    #[test]
    fn a_key_whose_slot_comes_back_is_not_sent() {
        let mut backlog = backlog();
        for key in [&b"k:1"[..], b"k:2"] {
            backlog.hand_over((Db(0), key), ChangeKind::Deleted, None);
        }
        assert_eq!(names(&backlog.handed_over(1, |key| key == b"k:1")), [b"k:2"]);
        assert_eq!(names(&backlog.handed_over(1, |_| false)), [b"k:2"]);
    }

    #[test]
    fn the_new_node_deletes_what_it_does_not_have_and_writes_what_it_has() {
        let mut backlog = backlog();
        let handed = |key: &[u8], kind| Handed { key: key.to_vec(), kind: kind as u8, value: None };
        let mut take = |key: &[u8], kind, exists| {
            backlog.take_over(Db(0), &handed(key, kind), exists, 1);
            backlog.dirty.kind_of(Db(0), key)
        };
        assert_eq!(take(b"k:1", ChangeKind::Deleted, false), Some(ChangeKind::Deleted));
        assert_eq!(take(b"k:2", ChangeKind::Deleted, true), Some(ChangeKind::Changed));
        assert_eq!(take(b"k:1", ChangeKind::Expired, false), Some(ChangeKind::Deleted), "is dirty");
        assert_eq!(take(b"other", ChangeKind::Deleted, true), None);
        let value = LastValue {
            content: crate::core::mapping::value::Content::String,
            expire_ms: -1,
            bytes: b"v".to_vec(),
        };
        let with = Handed { value: Some(value), ..handed(b"k:3", ChangeKind::Retained) };
        backlog.take_over(Db(0), &with, false, 1);
        assert_eq!(backlog.dirty.kind_of(Db(0), b"k:3"), Some(ChangeKind::Retained));
    }
}
