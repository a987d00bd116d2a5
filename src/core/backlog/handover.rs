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
use crate::core::backlog::table::{RetainedValue, Taken};
use crate::core::cluster::message::{Handed, LastValue, STATEMENTS_BYTES};
use crate::core::delivery::batch::Batch;
use crate::core::ids::{Db, RegistrationId, Version};
use crate::core::mapping::value::NO_EXPIRY;

/// Keys in one message.
const AT_A_TIME: usize = 256;
/// Keys in one message take at most about this many bytes; a larger one is alone.
const MESSAGE_BYTES: usize = STATEMENTS_BYTES;
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
    /// The version of the key that stays dirty until it is confirmed; `None` if none does.
    dirty: Option<Version>,
    is_confirmed: bool,
    /// When it was sent first, microseconds.
    since_us: Option<u64>,
}

impl Handover {
    fn new(kind: ChangeKind, retained: Option<RetainedValue>, dirty: Option<Version>) -> Self {
        Handover { kind, retained, dirty, is_confirmed: false, since_us: None }
    }

    /// Approximate size in a message, bytes.
    fn len(&self, key: &[u8]) -> usize {
        key.len() + self.retained.as_ref().map_or(0, |retained| retained.bytes.len())
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
    /// A key that has left turns out not to have been in flight.
    pub(super) fn stays(&mut self, db: Db, key: &[u8]) {
        if !self.departed.is_empty() {
            self.departed.remove(&(db, key.to_vec()));
        }
    }

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
            let handover = Handover::new(kind, None, None);
            self.handovers.keys.entry(key).or_insert(handover);
            self.handovers.again_us = 0;
        }
    }

    /// Hands over the removal of a key that was taken. True once the new node has confirmed it; the key needs no
    /// write then.
    pub fn hand_over(
        &mut self,
        taken: &Taken,
        key: &[u8],
        retained: Option<RetainedValue>,
    ) -> bool {
        let key = (taken.db, key.to_vec());
        // Another version is another removal.
        let known =
            self.handovers.keys.get(&key).filter(|known| known.dirty == Some(taken.version));
        match known {
            Some(known) if known.is_confirmed => {
                self.handovers.keys.remove(&key);
                return true;
            }
            Some(_) => {}
            None => {
                let handover = Handover::new(taken.kind, retained, Some(taken.version));
                self.handovers.keys.insert(key, handover);
                self.handovers.again_us = 0;
            }
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
        let handover = Handover::new(kind, retained, None);
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
        // Confirmed, and then written by other means: the slot has come back, or the registration has ended.
        let dirty = &self.dirty;
        self.handovers
            .keys
            .retain(|(db, key), known| !known.is_confirmed || dirty.kind_of(*db, key).is_some());
        let mut parts: Vec<(Db, Vec<Handed>)> = Vec::new();
        let (mut bytes, mut own) = (0, Vec::new());
        let waiting = self.handovers.keys.iter_mut().filter(|(_, known)| !known.is_confirmed);
        for (of, handover) in waiting.take(AT_ONCE) {
            let (db, key) = of;
            handover.since_us.get_or_insert(now_us);
            // A value that was in flight may have left with a slot that is still on its way.
            let stays = handover.dirty.is_some()
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
            bytes += handover.len(key);
            match parts.last_mut() {
                Some((last, part))
                    if last == db && part.len() < AT_A_TIME && bytes <= MESSAGE_BYTES =>
                {
                    part.push(handed);
                }
                _ => {
                    bytes = handover.len(key);
                    parts.push((*db, vec![handed]));
                }
            }
        }
        own.iter().for_each(|of| drop(self.handovers.keys.remove(of)));
        parts
    }

    /// The new node has confirmed these keys.
    pub fn handed_over_to(&mut self, db: Db, keys: Vec<Vec<u8>>) {
        for key in keys {
            let key = (db, key);
            let Some(handover) = self.handovers.keys.get_mut(&key) else { continue };
            handover.is_confirmed = true;
            if handover.dirty.is_none() {
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
        match self.dirty.standing(db, &handed.key) {
            // Its value was read already, perhaps before the other node has overwritten the document.
            Some(known) if known.in_flight && !known.parked && known.retained.is_none() => {}
            // A change that is written anyway.
            Some(_) => return None,
            None => {}
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
    use crate::core::ids::EntryId;
    use crate::core::mapping::value::Content;
    use crate::core::registration::{Namespace, Registration};

    fn backlog() -> Backlog {
        let mut backlog = Backlog::default();
        let namespace = Namespace { database: "d".to_owned(), collection: "c".to_owned() };
        backlog.register(Registration::new(Db(0), b"k:", namespace));
        backlog
    }

    fn removal(version: u32) -> Taken {
        let (entry, version) = (EntryId(0), Version(version));
        Taken { entry, version, since_us: 1, db: Db(0), kind: ChangeKind::Deleted }
    }

    fn changed(backlog: &mut Backlog, key: &[u8]) {
        backlog.record((Db(0), key), ChangeKind::Changed, || false, || 0);
        backlog.fold(1);
    }

    fn names(parts: &[(Db, Vec<Handed>)]) -> Vec<Vec<u8>> {
        let keys = parts.iter().flat_map(|(_, keys)| keys);
        let mut names: Vec<_> = keys.map(|handed| handed.key.clone()).collect();
        names.sort();
        names
    }

    #[test]
    fn a_removal_is_sent_until_it_is_confirmed_and_then_needs_no_write() {
        let mut backlog = backlog();
        changed(&mut backlog, b"k:1");
        for _ in 0..2 {
            assert!(!backlog.hand_over(&removal(1), b"k:1", None));
            assert_eq!(names(&backlog.handed_over(1, |_| false)), [b"k:1"]);
        }
        backlog.handed_over_to(Db(0), vec![b"k:1".to_vec(), b"k:unknown".to_vec()]);
        assert!(backlog.handed_over(1, |_| false).is_empty());
        // A later removal is another one.
        assert!(!backlog.hand_over(&removal(2), b"k:1", None));
        backlog.handed_over_to(Db(0), vec![b"k:1".to_vec()]);
        assert!(backlog.hand_over(&removal(2), b"k:1", None));
        assert!(backlog.handovers.is_empty());
    }

    #[test]
    fn a_confirmed_removal_that_was_written_by_other_means_is_forgotten() {
        let mut backlog = backlog();
        backlog.hand_over(&removal(1), b"k:1", None);
        backlog.handed_over_to(Db(0), vec![b"k:1".to_vec()]);
        assert!(backlog.handed_over(1, |_| false).is_empty());
        assert!(backlog.handovers.is_empty());
    }

    #[test]
    fn a_key_whose_slot_comes_back_is_not_sent() {
        let mut backlog = backlog();
        for key in [&b"k:1"[..], b"k:2"] {
            backlog.hand_over(&removal(1), key, None);
        }
        assert_eq!(names(&backlog.handed_over(1, |key| key == b"k:1")), [b"k:2"]);
        assert_eq!(names(&backlog.handed_over(1, |_| false)), [b"k:2"]);
    }

    #[test]
    fn large_values_are_sent_in_messages_of_their_own() {
        let mut backlog = backlog();
        for number in 0..600 {
            let len = if number % 200 == 0 { MESSAGE_BYTES } else { 1 };
            let bytes = vec![b'x'; len].into();
            let retained = RetainedValue { content: Content::String, expire_ms: NO_EXPIRY, bytes };
            backlog.hand_over(&removal(1), format!("k:{number}").as_bytes(), Some(retained));
        }
        let parts = backlog.handed_over(1, |_| false);
        assert_eq!(names(&parts).len(), 600);
        let len = |handed: &Handed| handed.value.as_ref().map_or(0, |value| value.bytes.len());
        for (_, keys) in &parts {
            let bytes: usize = keys.iter().map(len).sum();
            assert!(keys.len() == 1 || bytes <= MESSAGE_BYTES, "{bytes} bytes");
        }
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
        let (content, bytes) = (Content::String, b"v".to_vec());
        let value = Some(LastValue { content, expire_ms: NO_EXPIRY, bytes });
        let with = Handed { value, ..handed(b"k:3", ChangeKind::Retained) };
        backlog.take_over(Db(0), &with, false, 1);
        assert_eq!(backlog.dirty.kind_of(Db(0), b"k:3"), Some(ChangeKind::Retained));
    }

    #[test]
    fn a_key_that_is_in_flight_on_its_new_node_is_written_once_more() {
        let mut backlog = backlog();
        backlog.in_flight.credits = 1;
        changed(&mut backlog, b"k:1");
        let mut batch = backlog.begin_batch(u64::MAX).unwrap();
        backlog.take_key(&mut batch, u64::MAX).unwrap();
        let handed = Handed { key: b"k:1".to_vec(), kind: ChangeKind::Deleted as u8, value: None };
        assert!(backlog.take_over(Db(0), &handed, true, 2).is_some());
        assert!(backlog.dirty.standing(Db(0), b"k:1").unwrap().again);
    }
}
