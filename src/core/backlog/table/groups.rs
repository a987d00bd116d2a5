//! Groups of dirty keys: what one MULTI, script or command changed is written as a whole, with the
//! latest values.
//!
//! The keys of a group wait in the queues of their registrations. When the first of them is due, all
//! are [parked](State::Parked), and the group is *ready*, or waits until none of its keys is in flight
//! any more. A key that is clean leaves its group; one that has changed again stays in it.

use super::entry::State;
use super::group_lists::{Groups, StampedGroup};
use super::rings::{MAX_GROUP_KEYS, Stage};
use super::{Dirty, Settled, Taken};
use crate::core::ids::{EntryId, GroupId, RegistrationId};

/// From this number of keys on, a group is due, so that it does not reach the maximum.
const DUE_KEYS: u32 = MAX_GROUP_KEYS / 2;

/// Number of groups that [`oldest_parked_us`](Dirty::oldest_parked_us) looks at, of each stage.
const LOOK_AT: usize = 16;

impl Dirty {
    /// Since when the oldest key is dirty that waits with its group, microseconds; of `id` or of all
    /// registrations. Only the groups that are sent next are looked at.
    pub fn oldest_parked_us(&self, id: Option<RegistrationId>) -> Option<u64> {
        let held = self.groups.held.iter().map(|((_, group), stamp)| StampedGroup(*group, *stamp));
        let next = self.groups.ready.iter().copied().take(LOOK_AT).chain(held.take(LOOK_AT));
        let exists = |of: &StampedGroup| self.groups.rings.stamp_of(of.0) == Some(of.1);
        let members = next.filter(exists).flat_map(|of| self.groups.rings.members(of.0));
        let entries = members.map(|id| self.entries.at(id));
        let entries = entries.filter(|entry| {
            entry.state == State::Parked && id.is_none_or(|id| id == entry.registration_id)
        });
        entries.map(|entry| entry.since_us).min()
    }

    /// Number of keys that wait with their group until a registration is resumed, with their
    /// registrations.
    pub fn held_for_good(&self) -> impl Iterator<Item = RegistrationId> + '_ {
        let held = self.groups.held.range((u64::MAX, GroupId(0))..);
        let held = held
            .filter(|((_, group), stamp)| self.groups.rings.is_at(*group, **stamp, Stage::Held));
        let members = held.flat_map(|((_, group), _)| self.groups.rings.members(*group));
        members.map(|id| self.entries.at(id).registration_id)
    }

    /// True if a key of `id` waits with a group that could not be written. Only the groups that are tried
    /// next are looked at.
    pub fn has_held(&self, id: RegistrationId) -> bool {
        let held = self.groups.held.iter().take(LOOK_AT);
        let held = held
            .filter(|((_, group), stamp)| self.groups.rings.is_at(*group, **stamp, Stage::Held));
        let mut members = held.flat_map(|((_, group), _)| self.groups.rings.members(*group));
        members.any(|member| self.entries.at(member).registration_id == id)
    }

    /// All groups.
    pub fn groups(&self) -> &Groups {
        &self.groups
    }

    /// The change of entry `id` was marked; if it `joins` the one before, both keys belong together,
    /// unless their registration wants its keys apart.
    #[inline]
    pub(super) fn follow(&mut self, joins: bool, registration_id: RegistrationId, id: EntryId) {
        let last = self.groups.last;
        if self.queues[usize::from(registration_id)].apart {
            if !joins {
                self.groups.last = None;
            }
            return;
        }
        self.groups.last = Some(id);
        if joins
            && let Some(last) = last
            && !self.groups.rings.are_together(last, id)
        {
            self.join(last, id);
        }
    }

    /// A change that makes no key dirty is passed over.
    pub(super) fn pass(&mut self, joins: bool) {
        if !joins {
            self.groups.last = None;
        }
    }

    /// A change was missed.
    pub(super) fn lose(&mut self, joins: bool, registration_id: RegistrationId) {
        if !self.queues[usize::from(registration_id)].apart && joins && self.groups.last.is_some() {
            self.groups.missed_total += 1;
        }
        if !joins {
            self.groups.last = None;
        }
    }

    /// Whether keys of `registration_id` are never written together with others.
    pub fn set_apart(&mut self, registration_id: RegistrationId, apart: bool) {
        self.queues[usize::from(registration_id)].apart = apart;
    }

    /// Both keys belong together.
    pub fn join(&mut self, a: EntryId, b: EntryId) {
        if self.entries.get(a).is_none() || self.entries.get(b).is_none() {
            return;
        }
        let Some(len) = self.groups.rings.joint_len(a, b) else { return };
        if len > MAX_GROUP_KEYS {
            self.groups.too_large_total += 1;
            return;
        }
        let before = [a, b].map(|id| self.groups.rings.group_of(id));
        let before = before.map(|group| group.map(|group| self.groups.rings.at(group).stage));
        let entries = &self.entries;
        let flies = |id| matches!(entries.at(id).state, State::InFlight | State::InFlightAgain);
        let group = self.groups.rings.join(a, b, flies);
        let joint = *self.groups.rings.at(group);
        match joint.stage {
            // It may have the number of the other one, which is not listed.
            Stage::Ready => self.groups.ready.push_back(StampedGroup(group, joint.stamp)),
            Stage::Held => drop(self.groups.held.insert((0, group), joint.stamp)),
            Stage::InFlight if joint.flying == 0 => self.make_ready(group),
            Stage::InFlight => self.groups.waiting.push(StampedGroup(group, joint.stamp)),
            Stage::Queued => {}
        }
        let is_queued = |stage: Option<Stage>| stage.is_none_or(|stage| stage == Stage::Queued);
        if len >= DUE_KEYS && before.into_iter().all(is_queued) {
            self.hasten_entry(b);
        }
    }

    /// The group of a key that is due is due as well: parks all its waiting keys. Returns their number.
    pub(super) fn park_group(&mut self, group: GroupId) -> usize {
        let members: Vec<EntryId> = self.groups.rings.members(group).collect();
        let mut parked = 0;
        for id in members {
            let (state, registration_id) =
                (self.entries.at(id).state, self.entries.at(id).registration_id);
            if state == State::Dirty {
                self.unlink(registration_id, id);
                self.queues[usize::from(registration_id)].in_flight += 1;
                self.in_flight += 1;
                self.entries.at_mut(id).state = State::Parked;
                parked += 1;
            }
        }
        let of = self.groups.rings.at_mut(group);
        match (of.stage, of.flying) {
            (Stage::Ready | Stage::Held, _) => {}
            (Stage::Queued | Stage::InFlight, 0) => self.make_ready(group),
            (Stage::Queued | Stage::InFlight, _) => of.stage = Stage::InFlight,
        }
        parked
    }

    fn make_ready(&mut self, group: GroupId) {
        let of = self.groups.rings.at_mut(group);
        of.stage = Stage::Ready;
        self.groups.ready.push_back(StampedGroup(group, of.stamp));
    }

    /// The next group that can be sent. It is queued again until [`take_member`](Self::take_member) is
    /// called for its members. Nothing if it waits for keys in flight.
    pub fn next_group(&mut self, now_us: u64) -> Option<GroupId> {
        while self.groups.held_until_us() <= now_us
            && let Some(((_, group), stamp)) = self.groups.held.pop_first()
        {
            if self.groups.rings.is_at(group, stamp, Stage::Held) {
                self.make_ready(group);
            }
        }
        while let Some(StampedGroup(group, stamp)) = self.groups.ready.pop_front() {
            if self.groups.rings.is_at(group, stamp, Stage::Ready) {
                self.groups.rings.at_mut(group).stage = Stage::Queued;
                if self.groups.rings.at(group).flying == 0 {
                    return Some(group);
                }
                self.park_group(group);
                self.groups.waiting.push(StampedGroup(group, stamp));
            }
        }
        None
    }

    /// The next group that has come to wait for keys in flight since the last call.
    pub fn next_waiting(&mut self) -> Option<GroupId> {
        while let Some(StampedGroup(group, stamp)) = self.groups.waiting.pop() {
            if self.groups.rings.is_at(group, stamp, Stage::InFlight) {
                return Some(group);
            }
        }
        None
    }

    /// A group of [`next_group`](Self::next_group) is not sent now: it is the next one again.
    pub fn put_back(&mut self, group: GroupId) {
        let of = self.groups.rings.at_mut(group);
        of.stage = Stage::Ready;
        self.groups.ready.push_front(StampedGroup(group, of.stamp));
    }

    /// Since when the key of an entry is dirty, microseconds.
    pub fn since_us(&self, id: EntryId) -> u64 {
        self.entries.at(id).since_us
    }

    /// The entries of a group with their registrations.
    pub fn members(&self, group: GroupId) -> Vec<(RegistrationId, EntryId)> {
        let members = self.groups.rings.members(group);
        members.map(|id| (self.entries.at(id).registration_id, id)).collect()
    }

    /// The number of failed attempts to write a group, and when the first of them failed, microseconds.
    pub fn attempts(&self, group: GroupId) -> (u32, Option<u64>) {
        let of = self.groups.rings.at(group);
        (of.attempts, (of.failed_us > 0).then_some(of.failed_us))
    }

    /// Takes one member of a group, and passes its name to `copy`.
    pub fn take_member(&mut self, id: EntryId, copy: impl FnOnce(&[u8])) -> Option<Taken> {
        let entry = *self.entries.get(id)?;
        match entry.state {
            State::Dirty => {
                self.unlink(entry.registration_id, id);
                self.queues[usize::from(entry.registration_id)].in_flight += 1;
                self.in_flight += 1;
            }
            State::Parked => {}
            State::Free | State::InFlight | State::InFlightAgain => return None,
        }
        self.entries.at_mut(id).state = State::InFlight;
        if let Some(group) = self.groups.of(id) {
            self.took_off(group);
        }
        copy(self.key_of(&entry));
        let (version, since_us, db, kind) = (entry.version, entry.since_us, entry.db, entry.kind);
        Some(Taken { entry: id, version, since_us, db, kind })
    }

    /// Takes a key out of its group: it is written by itself.
    pub fn leave_group(&mut self, id: EntryId) {
        let Some(group) = self.groups.rings.group_of(id) else { return };
        let state = self.entries.at(id).state;
        if matches!(state, State::InFlight | State::InFlightAgain) {
            self.landed(group);
        }
        let last = self.groups.rings.leave(id);
        for id in last.into_iter().chain([id]) {
            self.unpark(id);
        }
    }

    /// True if the key of the entry is in a group.
    pub fn is_grouped(&self, id: EntryId) -> bool {
        self.groups.rings.group_of(id).is_some()
    }

    /// A key in flight was not written, nor was its group: holds the whole group until `until_us`.
    pub fn hold(&mut self, id: EntryId, since_us: u64, until_us: u64) -> Settled {
        let Some(group) = self.groups.rings.group_of(id) else {
            return self.requeue_front(id, since_us);
        };
        let Some(entry) = self.end_flight(id) else { return Settled::Unknown };
        self.move_key(id);
        let again = self.entries.at_mut(id);
        (again.state, again.since_us) = (State::Parked, since_us);
        self.queues[usize::from(entry.registration_id)].in_flight += 1;
        self.in_flight += 1;
        self.hold_group(group, until_us);
        Settled::ChangedAgain(since_us)
    }

    /// The group with its stamp.
    pub fn stamped(&self, group: GroupId) -> StampedGroup {
        StampedGroup(group, self.groups.rings.at(group).stamp)
    }

    /// True if the group still exists and has so many keys.
    pub fn has_members(&self, StampedGroup(group, stamp): StampedGroup, members: usize) -> bool {
        self.groups.rings.stamp_of(group) == Some(stamp)
            && self.groups.rings.at(group).len as usize == members
    }

    /// Holds the group of an entry until `until_us`, if it is in one.
    pub fn hold_group_of(&mut self, id: EntryId, until_us: u64) {
        if let Some(group) = self.groups.of(id) {
            self.hold_group(group, until_us);
        }
    }

    /// Holds a group until `until_us`, whatever it waits for.
    pub fn hold_group(&mut self, group: GroupId, until_us: u64) {
        let of = self.groups.rings.at_mut(group);
        if of.stage != Stage::Held {
            of.stage = Stage::Held;
            self.groups.held.insert((until_us, group), of.stamp);
        }
    }

    /// True if the group of an entry is held already.
    pub fn is_held(&self, id: EntryId) -> bool {
        let group = self.groups.of(id);
        group.is_some_and(|group| self.groups.rings.at(group).stage == Stage::Held)
    }

    /// Counts an attempt to write the group of an entry that has failed.
    pub fn count_attempt(&mut self, id: EntryId, now_us: u64) {
        if let Some(group) = self.groups.rings.group_of(id) {
            let of = self.groups.rings.at_mut(group);
            of.attempts += 1;
            if of.failed_us == 0 {
                of.failed_us = now_us;
            }
        }
    }

    fn hasten_entry(&mut self, id: EntryId) {
        let entry = *self.entries.at(id);
        if entry.state == State::Dirty {
            self.unlink(entry.registration_id, id);
            self.push_due(entry.registration_id, id);
        }
    }

    /// Sends every held group again as soon as possible.
    pub fn release_held(&mut self) {
        for ((_, group), stamp) in std::mem::take(&mut self.groups.held) {
            if self.groups.rings.is_at(group, stamp, Stage::Held) {
                self.make_ready(group);
            }
        }
    }

    /// Requeues every parked key.
    pub fn unpark_all(&mut self) {
        let parked = |id: &EntryId| self.entries.at(*id).state == State::Parked;
        let parked: Vec<EntryId> = self.entries.ids().filter(parked).collect();
        for id in parked {
            if let Some(group) = self.groups.rings.group_of(id) {
                self.groups.rings.at_mut(group).stage = Stage::Queued;
            }
            self.unpark(id);
        }
        self.groups.ready.clear();
        self.groups.held.clear();
    }

    fn unpark(&mut self, id: EntryId) {
        if self.entries.at(id).state == State::Parked {
            let since_us = self.entries.at(id).since_us;
            self.requeue_front(id, since_us);
        }
    }

    /// A key of the group is in flight.
    pub(super) fn took_off(&mut self, group: GroupId) {
        self.groups.rings.at_mut(group).flying += 1;
    }

    /// A key of the group is no longer in flight.
    pub(super) fn landed(&mut self, group: GroupId) {
        let of = self.groups.rings.at_mut(group);
        of.flying -= 1;
        if of.flying == 0 && of.stage == Stage::InFlight {
            self.make_ready(group);
        }
    }

    /// The entry is about to be removed; it is no longer in flight.
    pub(super) fn quit_group(&mut self, id: EntryId) {
        if let Some(last) = self.groups.rings.leave(id) {
            self.unpark(last);
        }
    }
}
