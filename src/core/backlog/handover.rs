//! Keys whose documents this node may have left wrong when their hash slot moved to another node: that one
//! writes them again.
//!
//! - A removal that was not written when the slot was gone: the new node has no key to tell it of.
//! - A value that was in flight when its key left: it may overwrite a newer one of the new node.
//!
//! The key is sent to all nodes until the one that has its slot confirms it. A removal stays dirty until then.

use std::collections::{HashMap, HashSet};

use super::{Backlog, Missing};
use crate::core::backlog::change_log::{Change, ChangeKind};
use crate::core::backlog::table::{DirtyKey, RetainedValue, Taken};
use crate::core::cluster::message::{Handed, LastValue, STATEMENTS_BYTES};
use crate::core::delivery::batch::Batch;
use crate::core::ids::{Db, EntryId, RegistrationId, Version};
use crate::core::mapping::value::NO_EXPIRY;
use crate::core::registration::Registration;

/// Keys in one message.
const AT_A_TIME: usize = 256;
/// Keys in one message take at most about this many bytes; a larger one is alone.
const MESSAGE_BYTES: usize = STATEMENTS_BYTES;
/// Keys that are sent at once.
const AT_ONCE: usize = 4096;
/// When an operator must know that no node takes a key over, microseconds.
const LATE_US: u64 = 20_000_000;
/// Places of the dirty table that are looked at in one go.
const LOOKED_AT: usize = 512;
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
#[derive(Debug)]
pub struct Handovers {
    keys: HashMap<(Db, Vec<u8>), Handover>,
    /// Keys that have left while they were in flight.
    departed: HashSet<(Db, Vec<u8>)>,
    /// Where the walk through the dirty table goes on, and how many places of it are left.
    walk: (EntryId, usize),
    /// When they are sent, microseconds; 0 for at once.
    pub again_us: u64,
}

impl Default for Handovers {
    fn default() -> Self {
        let (keys, departed) = (HashMap::new(), HashSet::new());
        Handovers { keys, departed, walk: (EntryId(0), 0), again_us: 0 }
    }
}

impl Handovers {
    /// Number of keys that no node has taken over yet.
    pub fn unconfirmed(&self) -> usize {
        self.keys.values().filter(|known| !known.is_confirmed).count()
    }

    /// True while removals of slots that have left are looked for.
    pub fn is_looking(&self) -> bool {
        self.walk.1 > 0
    }

    /// A key that has left turns out not to have been in flight.
    pub(super) fn stays(&mut self, db: Db, key: &[u8]) {
        if !self.departed.is_empty() {
            self.departed.remove(&(db, key.to_vec()));
        }
    }

    /// The dirty keys are others from now on. What no dirty key stands for concerns documents of other nodes
    /// still.
    pub(super) fn begin_epoch(&mut self) {
        self.keys.retain(|_, known| known.dirty.is_none());
        self.departed.clear();
        self.walk.1 = 0;
    }

    /// True if a key waits for another node.
    pub fn has(&self, db: Db, key: &[u8]) -> bool {
        !self.keys.is_empty() && self.keys.contains_key(&(db, key.to_vec()))
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

    /// A slot has left: its removals are looked for, which do not wait until they are due. The new node may be
    /// the only one that is left soon.
    pub fn look_for_removals(&mut self) {
        self.handovers.walk.1 = self.dirty.places() as usize;
    }

    /// Hands over the removals among the next [`LOOKED_AT`] places of the dirty table, of keys for which
    /// `has_left` is true.
    pub fn find_removals(&mut self, has_left: impl Fn(&[u8]) -> bool, now_us: u64) {
        self.fold(now_us);
        let Backlog { dirty, handovers, registry, .. } = self;
        let (from, left) = handovers.walk;
        let mut is_new = false;
        let next = dirty.waiting_from(from, LOOKED_AT, |key, version| {
            let active = registry.at(key.registration_id);
            if !active.is_some_and(|active| has_removal(&active.registration, &key))
                || !has_left(key.key)
            {
                return;
            }
            let of = (key.db, key.key.to_vec());
            if handovers.keys.get(&of).is_none_or(|known| known.dirty != Some(version)) {
                let handover = Handover::new(key.kind, key.retained.cloned(), Some(version));
                handovers.keys.insert(of, handover);
                is_new = true;
            }
        });
        handovers.walk = (next, left.saturating_sub(LOOKED_AT));
        if is_new {
            handovers.again_us = 0;
        }
    }

    /// This node becomes a replica, and loses its dirty keys. Those whose slots it has given to other nodes,
    /// which is what `given` says of a key, are handed over, also while it is a replica.
    pub fn leave_given_to_others(&mut self, given: impl Fn(&[u8]) -> bool, now_us: u64) {
        self.fold(now_us);
        let mut left: Vec<((Db, Vec<u8>), Handover)> = Vec::new();
        for key in self.dirty.keys().filter(|key| given(key.key)) {
            let Some(active) = self.registry.at(key.registration_id) else { continue };
            let deletes = Backlog::on_missing(&active.registration, key.kind) == Missing::Delete;
            if deletes || key.retained.is_some() {
                let handover = Handover::new(key.kind, key.retained.cloned(), None);
                left.push(((key.db, key.key.to_vec()), handover));
            }
        }
        // Whether these have a time to live is not known any more.
        for key in self.handovers.departed.drain() {
            left.push((key, Handover::new(ChangeKind::Expired, None, None)));
        }
        for (key, handover) in self.handovers.keys.drain().filter(|(_, known)| !known.is_confirmed)
        {
            left.push((key, Handover { dirty: None, ..handover }));
        }
        self.handovers.keys.extend(left);
        self.handovers.again_us = 0;
    }

    /// True if a key waits for another node to take it over.
    pub(super) fn is_handed_over(&self, db: Db, key: &[u8]) -> bool {
        self.handovers.has(db, key)
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

/// True if the document of a dirty key that is missing has to be written.
fn has_removal(registration: &Registration, key: &DirtyKey<'_>) -> bool {
    key.retained.is_some() || Backlog::on_missing(registration, key.kind) == Missing::Delete
}

#[cfg(test)]
mod tests;
