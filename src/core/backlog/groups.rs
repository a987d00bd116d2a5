//! Groups of keys that one MULTI, script or command changed: when each is sent, and what becomes of a
//! group of which a part cannot be written now.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::Backlog;
use crate::core::backlog::table::{MAX_GROUP_KEYS, StampedGroup, Taken};
use crate::core::delivery::batch::{Batch, Item};
use crate::core::delivery::group_batch::{GroupBatch, SentGroup};
use crate::core::delivery::group_counts::{GroupCounts, Split};
use crate::core::ids::{EntryId, GroupId, RegistrationId};
use crate::core::mapping::value::Span;
use crate::core::registration::Atomic;

/// Why a group is held that must stay whole.
const STOPPED: &str =
    "a prefix of which the same MULTI changed a key is paused or waits after an error";

/// A group that is to be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DueGroup {
    /// Its keys with their registrations, sorted.
    pub members: Vec<(RegistrationId, EntryId)>,
    /// How it is sent.
    pub sent: SentGroup,
    id: StampedGroup,
}

/// What the groups of all registrations have in common.
#[derive(Debug, Default)]
pub(super) struct GroupState {
    /// Groups that have ended.
    counts: GroupCounts,
    /// Why a group was held last.
    held_because: String,
}

impl Backlog {
    /// Numbers of groups since the module was loaded.
    pub fn group_counts(&self) -> GroupCounts {
        let mut counts = self.groups.counts;
        let groups = self.dirty.groups();
        counts.count_split(Split::TooLarge, groups.too_large_total);
        counts.count_split(Split::Missed, groups.missed_total);
        counts
    }

    /// True if a group may have to stay whole: it should have no key of another transaction.
    pub fn keeps_groups_whole(&self) -> bool {
        self.keeps_groups_whole
    }

    /// Number of groups with dirty keys.
    pub fn groups_len(&self) -> usize {
        self.dirty.groups().len()
    }

    /// Why the group was held that could not be written last.
    pub(super) fn held_because(&self) -> &str {
        &self.groups.held_because
    }

    pub(super) fn count_groups(&mut self, counts: &GroupCounts) {
        self.groups.counts.add(counts);
    }

    /// Counts a group that could not be kept whole.
    pub fn count_split(&mut self, why: Split) {
        self.groups.counts.count_split(why, 1);
    }

    /// True if a group batch can be sent: MongoDB accepts writes, there is a credit, and no batch of an
    /// earlier epoch is in flight.
    pub fn may_send_groups(&self) -> bool {
        self.link.name() == "up" && self.in_flight.may_send_groups()
    }

    /// When the next group can be sent, microseconds; `None` if none can.
    pub(super) fn groups_due_us(&self) -> Option<u64> {
        if !self.may_send_groups() || self.paused {
            return None;
        }
        let groups = self.dirty.groups();
        let held_us = || Some(groups.held_until_us()).filter(|until_us| *until_us != u64::MAX);
        if groups.has_ready() { Some(0) } else { held_us() }
    }

    /// A key of the group is due: all are, and wait to be sent together.
    pub(super) fn group_is_due(&mut self, group: GroupId) {
        // Keys that wait by themselves for the end of a trouble are tried with their group instead.
        if !self.blocked.is_empty() || !self.contested.is_empty() {
            let members = self.dirty.members(group);
            for (id, entry) in members {
                let blocked = self.blocked.find(entry).is_some_and(|key| key.waits());
                if blocked || self.contested.release_one(id, entry) {
                    let blocked = self.blocked.remove(entry);
                    let since_us = blocked.map_or(self.dirty.since_us(entry), |key| key.since_us);
                    self.dirty.requeue_front(entry, since_us);
                }
            }
        }
    }

    /// The next group for `batch`, unless that is full. Its keys must then be taken, or
    /// [given back](Self::give_back).
    pub fn next_group(&mut self, batch: &GroupBatch, now_us: u64) -> Option<DueGroup> {
        self.fold_logged(|| now_us);
        if !batch.is_empty() && batch.bytes() >= self.batch_max_bytes() {
            return None;
        }
        loop {
            let Some(group) = self.dirty.next_group(now_us) else {
                let waiting = self.dirty.next_waiting()?;
                self.group_is_due(waiting);
                continue;
            };
            let mut members = self.dirty.members(group);
            if !batch.is_empty() && batch.keys() + members.len() > MAX_GROUP_KEYS as usize {
                self.dirty.put_back(group);
                return None;
            }
            let ids: BTreeSet<RegistrationId> = members.iter().map(|(id, _)| *id).collect();
            let strictness = |id: &RegistrationId| Some(self.active(*id)?.registration.atomic);
            let whole = ids.iter().filter_map(strictness).max() == Some(Atomic::Whole);
            let stopped = |id: &RegistrationId| self.stopped_until_us(*id, now_us);
            let stopped: Vec<(RegistrationId, u64)> =
                ids.iter().filter_map(|id| Some((*id, stopped(id)?))).collect();
            if !stopped.is_empty() && (whole || stopped.len() == ids.len()) {
                let until_us = stopped.iter().map(|(_, until_us)| *until_us).max();
                self.dirty.hold_group(group, until_us.unwrap_or(u64::MAX));
                STOPPED.clone_into(&mut self.groups.held_because);
                if until_us == Some(u64::MAX) {
                    // Contested keys do not wait for them.
                    for (id, entry) in members {
                        self.contested.ended(id, self.dirty.since_us(entry), None);
                    }
                }
                continue;
            }
            let is_split = !stopped.is_empty();
            if is_split {
                let paused = stopped.iter().any(|(_, until_us)| *until_us == u64::MAX);
                self.count_split(if paused { Split::Paused } else { Split::BacksOff });
            }
            for (id, _) in &stopped {
                for (_, entry) in members.extract_if(.., |(of, _)| of == id) {
                    self.dirty.leave_group(entry);
                }
            }
            if is_split && members.len() < 2 {
                continue;
            }
            members.sort_unstable();
            let (attempts, failed_us) = self.dirty.attempts(group);
            let failing_ms = failed_us.map_or(0, |us| now_us.saturating_sub(us) / 1000);
            let id = self.dirty.stamped(group);
            return Some(DueGroup {
                members,
                sent: SentGroup { whole, is_split, attempts, failing_ms },
                id,
            });
        }
    }

    /// Until when no batch of `id` may be sent, microseconds; `u64::MAX` while it is paused, `None` if
    /// one may be sent now.
    fn stopped_until_us(&self, id: RegistrationId, now_us: u64) -> Option<u64> {
        let hold_us = self.active(id).map_or(0, |active| active.hold_us);
        if self.is_paused(id) { Some(u64::MAX) } else { (hold_us > now_us).then_some(hold_us) }
    }

    /// The maximum size of a batch, bytes.
    pub fn batch_max_bytes(&self) -> usize {
        usize::try_from(self.settings.batch_max_bytes).unwrap_or(0)
    }

    /// The batch of `groups` for keys of `id`: the last one, or a new one.
    pub fn batch_for<'b>(
        &mut self,
        groups: &'b mut GroupBatch,
        id: RegistrationId,
    ) -> Option<&'b mut Batch> {
        let registration = Arc::clone(&self.active(id)?.registration);
        let fits = |batch: &Batch| Arc::ptr_eq(&batch.registration, &registration);
        let at = match groups.batches.iter().position(fits) {
            Some(at) => at,
            None => {
                let (items, bytes) = self.in_flight.buffers();
                let epoch = self.in_flight.epoch;
                groups.batches.push(Batch {
                    registration,
                    registration_id: id,
                    epoch,
                    slow: false,
                    retry: 0,
                    items,
                    groups: Vec::new(),
                    bytes,
                });
                groups.batches.len() - 1
            }
        };
        groups.batches.get_mut(at)
    }

    /// Takes one key of a due group. Its name is appended to the batch; the caller reads the value and
    /// pushes the item.
    pub fn take_member(&mut self, batch: &mut Batch, entry: EntryId) -> Option<(Taken, Span)> {
        let start = batch.bytes.len();
        let taken = self.dirty.take_member(entry, |key| batch.bytes.extend_from_slice(key))?;
        Some((taken, Span { start, end: batch.bytes.len() }))
    }

    /// True if a group has the same keys as when its reading began, and none of those that were read has
    /// changed since: the items of each batch from the given index on.
    pub fn is_as_read(
        &mut self,
        groups: &GroupBatch,
        (due, lens): (&DueGroup, &[usize]),
        now_us: u64,
    ) -> bool {
        self.fold_logged(|| now_us);
        let mut batches = groups.batches.iter().enumerate();
        let unchanged = batches.all(|(at, batch)| {
            let len = lens.get(at).copied().unwrap_or(0);
            let read = batch.items.get(len..).unwrap_or_default();
            read.iter().all(|item| self.dirty.has_version(item.entry, item.version))
        });
        unchanged && self.dirty.has_members(due.id, due.members.len())
    }

    /// The values of a group are too large for one batch: the members from this one on are written by
    /// themselves.
    pub fn split_rest(&mut self, due: &DueGroup, from: usize) {
        self.count_split(Split::TooLarge);
        for (_, entry) in due.members.get(from..).unwrap_or_default() {
            self.dirty.leave_group(*entry);
        }
    }

    /// Gives back the items that were read of a group which cannot be read as a whole now: those of
    /// each batch from the given index on. The group is tried again after `until_us`.
    pub fn give_back(
        &mut self,
        groups: &mut GroupBatch,
        (due, lens): (&DueGroup, &[usize]),
        until_us: u64,
    ) {
        // Members may have come into another group meanwhile.
        for (_, entry) in &due.members {
            self.dirty.hold_group_of(*entry, until_us);
        }
        for (at, batch) in groups.batches.iter_mut().enumerate() {
            let len = lens.get(at).copied().unwrap_or(0);
            for item in batch.items.drain(len..).rev() {
                self.dirty.hold(item.entry, item.since_us, until_us);
            }
            batch.groups.truncate(len);
        }
        groups.groups.pop();
    }

    /// Requeues the keys of a group batch that could not be sent or is not needed.
    pub fn unsent_groups(&mut self, groups: GroupBatch) {
        groups.batches.into_iter().for_each(|batch| self.unsent(batch));
        self.in_flight.release_held_groups();
    }

    /// A key must wait by itself, because its document cannot be written now. False if it is tried with
    /// its group first, which it came into while it was in flight: then it is dirty again.
    pub(super) fn waits_apart(&mut self, batch: &Batch, item: &Item) -> bool {
        if !self.dirty.is_grouped(item.entry) {
            return true;
        }
        if batch.groups.is_empty() {
            self.dirty.requeue_front(item.entry, item.since_us);
            return false;
        }
        self.dirty.leave_group(item.entry);
        true
    }

    /// Holds the group of an item that was not written, until `until_us`.
    pub(super) fn hold_item(
        &mut self,
        batch: &Batch,
        index: usize,
        because: &str,
        (now_us, until_us): (u64, u64),
    ) {
        let Some(item) = batch.items.get(index) else { return };
        if !self.dirty.is_held(item.entry) {
            self.dirty.count_attempt(item.entry, now_us);
        }
        self.dirty.hold(item.entry, item.since_us, until_us);
        because.clone_into(&mut self.groups.held_because);
    }
}
