//! Which dirty keys belong together: one ring of entries a group, and what each group waits for.
//!
//! Two groups that come to share a key become one. The links are outside of the entries, in blocks
//! that are allocated only for keys in groups: 16 bytes a key.

use super::entry::NONE;
use crate::core::ids::{EntryId, GroupId};

/// Maximum number of keys in a group. A larger one is split.
pub const MAX_GROUP_KEYS: u32 = 1_000;

/// Links in a block.
const BLOCK: usize = 4096;

/// No group.
const ALONE: GroupId = GroupId(u32::MAX);

/// The place of an entry in its group.
#[derive(Clone, Copy, Debug)]
struct Link {
    group: GroupId,
    prev: EntryId,
    next: EntryId,
}

const UNLINKED: Link = Link { group: ALONE, prev: NONE, next: NONE };

/// What a group waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// Until a key of it is due: its keys are in the queues of their registrations, or in flight.
    Queued,
    /// To be sent.
    Ready,
    /// Until none of its keys is in flight.
    InFlight,
    /// Until a time, or until a registration is resumed.
    Held,
}

/// A group.
#[derive(Clone, Copy, Debug)]
pub struct Group {
    head: EntryId,
    /// Number of keys.
    pub len: u32,
    /// Number of its keys in flight.
    pub flying: u32,
    /// Number of attempts to write it that failed.
    pub attempts: u32,
    /// When the first of them failed, microseconds; 0 without one.
    pub failed_us: u64,
    pub stage: Stage,
    /// Distinguishes the group from earlier ones of the same number.
    pub stamp: u64,
}

/// All groups.
#[derive(Debug, Default)]
pub struct Rings {
    blocks: Vec<Option<Box<[Link; BLOCK]>>>,
    groups: Vec<Group>,
    free: Vec<GroupId>,
    stamp: u64,
}

impl Rings {
    /// Number of groups.
    pub fn len(&self) -> usize {
        self.groups.len() - self.free.len()
    }

    /// The group of an entry.
    #[inline]
    pub fn group_of(&self, id: EntryId) -> Option<GroupId> {
        let block = self.blocks.get(usize::from(id) / BLOCK)?.as_ref()?;
        Some(block[usize::from(id) % BLOCK].group).filter(|group| *group != ALONE)
    }

    /// True if both entries are in the same group.
    #[inline]
    pub fn are_together(&self, a: EntryId, b: EntryId) -> bool {
        let of = self.group_of(a);
        of.is_some() && of == self.group_of(b)
    }

    /// A group that exists.
    pub fn at(&self, group: GroupId) -> &Group {
        &self.groups[usize::from(group)]
    }

    /// The same, mutable.
    pub fn at_mut(&mut self, group: GroupId) -> &mut Group {
        &mut self.groups[usize::from(group)]
    }

    /// True if the group with this number is the one with this stamp, and at this stage.
    pub fn is_at(&self, group: GroupId, stamp: u64, stage: Stage) -> bool {
        let group = self.groups.get(usize::from(group)).filter(|group| group.len > 0);
        group.is_some_and(|group| (group.stamp, group.stage) == (stamp, stage))
    }

    /// The stamp of the group with this number, if there is one.
    pub fn stamp_of(&self, group: GroupId) -> Option<u64> {
        let group = self.groups.get(usize::from(group)).filter(|group| group.len > 0)?;
        Some(group.stamp)
    }

    /// The entries of a group.
    pub fn members(&self, group: GroupId) -> impl Iterator<Item = EntryId> + '_ {
        let Group { head, len, .. } = *self.at(group);
        std::iter::successors(Some(head), |id| Some(self.link(*id).next)).take(len as usize)
    }

    /// The number of keys that [`join`](Self::join) would bring together; nothing if they already are.
    pub fn joint_len(&self, a: EntryId, b: EntryId) -> Option<u32> {
        let (of_a, of_b) = (self.group_of(a), self.group_of(b));
        if a == b || (of_a.is_some() && of_a == of_b) {
            return None;
        }
        let len = |group: Option<GroupId>| group.map_or(1, |group| self.at(group).len);
        Some(len(of_a) + len(of_b))
    }

    /// Makes one group of the groups of both entries, which differ; `flies` are those of them that are
    /// in flight. Its stage is the later one.
    pub fn join(&mut self, a: EntryId, b: EntryId, flies: impl Fn(EntryId) -> bool) -> GroupId {
        let mut of = |id| self.group_of(id).unwrap_or_else(|| self.begin(id, flies(id)));
        let (of_a, of_b) = (of(a), of(b));
        let by_len = self.at(of_a).len >= self.at(of_b).len;
        let (large, small) = if by_len { (of_a, of_b) } else { (of_b, of_a) };
        let (to, from) = (*self.at(large), *self.at(small));
        let mut id = from.head;
        for _ in 0..from.len {
            let link = self.link_mut(id);
            link.group = large;
            id = link.next;
        }
        let (to_last, from_last) = (self.link(to.head).prev, self.link(from.head).prev);
        self.link_mut(to_last).next = from.head;
        self.link_mut(from.head).prev = to_last;
        self.link_mut(from_last).next = to.head;
        self.link_mut(to.head).prev = from_last;
        let group = self.at_mut(large);
        group.len += from.len;
        group.flying += from.flying;
        if from.attempts > group.attempts {
            (group.attempts, group.failed_us) = (from.attempts, from.failed_us);
        }
        group.stage = group.stage.max(from.stage);
        self.end(small);
        large
    }

    /// Takes an entry out of its group, if it has one. Returns the last entry of the group, which is in
    /// none any more, if only one is left.
    pub fn leave(&mut self, id: EntryId) -> Option<EntryId> {
        let group = self.group_of(id)?;
        let Link { prev, next, .. } = *self.link(id);
        *self.link_mut(id) = UNLINKED;
        self.link_mut(prev).next = next;
        self.link_mut(next).prev = prev;
        let of = self.at_mut(group);
        of.len -= 1;
        of.head = next;
        if of.len > 1 {
            return None;
        }
        *self.link_mut(next) = UNLINKED;
        self.end(group);
        Some(next)
    }

    /// Bytes of memory held.
    pub fn memory_bytes(&self) -> usize {
        self.blocks.iter().flatten().count() * size_of::<[Link; BLOCK]>()
            + self.groups.capacity() * size_of::<Group>()
            + self.free.capacity() * size_of::<GroupId>()
    }

    fn begin(&mut self, id: EntryId, flies: bool) -> GroupId {
        self.stamp += 1;
        let group = Group {
            head: id,
            len: 1,
            flying: u32::from(flies),
            attempts: 0,
            failed_us: 0,
            stage: Stage::Queued,
            stamp: self.stamp,
        };
        let number = match self.free.pop() {
            Some(free) => {
                self.groups[usize::from(free)] = group;
                free
            }
            None => {
                self.groups.push(group);
                GroupId(self.groups.len() as u32 - 1)
            }
        };
        *self.link_mut(id) = Link { group: number, prev: id, next: id };
        number
    }

    fn end(&mut self, group: GroupId) {
        self.groups[usize::from(group)].len = 0;
        self.free.push(group);
        if self.len() == 0 {
            self.groups.clear();
            self.free.clear();
            self.blocks.truncate(1);
        }
    }

    fn link(&self, id: EntryId) -> &Link {
        let block = self.blocks[usize::from(id) / BLOCK].as_ref();
        block.map_or(&UNLINKED, |block| &block[usize::from(id) % BLOCK])
    }

    fn link_mut(&mut self, id: EntryId) -> &mut Link {
        let at = usize::from(id) / BLOCK;
        if self.blocks.len() <= at {
            self.blocks.resize_with(at + 1, || None);
        }
        let block = self.blocks[at].get_or_insert_with(|| Box::new([UNLINKED; BLOCK]));
        &mut block[usize::from(id) % BLOCK]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(ids: &[u32]) -> Vec<EntryId> {
        ids.iter().copied().map(EntryId).collect()
    }

    fn members(rings: &Rings, id: u32) -> Vec<u32> {
        let group = rings.group_of(EntryId(id)).unwrap();
        let mut members: Vec<u32> = rings.members(group).map(|id| id.0).collect();
        members.sort_unstable();
        members
    }

    #[test]
    fn groups_that_share_a_key_become_one() {
        let mut rings = Rings::default();
        rings.join(EntryId(1), EntryId(2), |_| false);
        rings.join(EntryId(9000), EntryId(4), |_| false);
        assert_eq!((rings.len(), rings.joint_len(EntryId(1), EntryId(4))), (2, Some(4)));
        rings.join(EntryId(2), EntryId(9000), |_| false);
        assert_eq!(rings.len(), 1);
        assert_eq!(members(&rings, 1), [1, 2, 4, 9000]);
        assert_eq!(rings.joint_len(EntryId(1), EntryId(4)), None);
    }

    #[test]
    fn the_last_key_of_a_group_is_in_none() {
        let mut rings = Rings::default();
        rings.join(EntryId(1), EntryId(2), |_| false);
        rings.join(EntryId(2), EntryId(3), |_| false);
        assert_eq!(rings.leave(EntryId(2)), None);
        assert_eq!(members(&rings, 3), [1, 3]);
        assert_eq!(rings.leave(EntryId(1)), Some(EntryId(3)));
        assert_eq!((rings.group_of(EntryId(3)), rings.len()), (None, 0));
        assert_eq!(rings.leave(EntryId(3)), None);
    }

    #[test]
    fn a_joint_group_counts_what_flies_and_has_the_later_stage() {
        let mut rings = Rings::default();
        let first = rings.join(EntryId(1), EntryId(2), |id| id == EntryId(2));
        let second = rings.join(EntryId(3), EntryId(4), |_| true);
        rings.at_mut(second).stage = Stage::InFlight;
        rings.at_mut(first).stage = Stage::Ready;
        let both = rings.join(EntryId(1), EntryId(3), |_| true);
        assert_eq!((rings.at(both).flying, rings.at(both).stage), (3, Stage::InFlight));
    }

    #[test]
    fn a_number_that_is_used_again_has_another_stamp() {
        let mut rings = Rings::default();
        rings.join(EntryId(7), EntryId(8), |_| false);
        let group = rings.join(EntryId(1), EntryId(2), |_| false);
        let stamp = rings.at(group).stamp;
        assert!(rings.is_at(group, stamp, Stage::Queued));
        rings.leave(EntryId(1));
        assert!(!rings.is_at(group, stamp, Stage::Queued));
        assert_eq!(rings.join(EntryId(1), EntryId(2), |_| false), group);
        assert!(!rings.is_at(group, stamp, Stage::Queued));
    }

    #[test]
    fn memory_is_freed_when_there_is_no_group() {
        let mut rings = Rings::default();
        let all = ids(&(0..40_000).collect::<Vec<_>>());
        for pair in all.windows(2) {
            rings.join(pair[0], pair[1], |_| false);
        }
        assert!(rings.memory_bytes() < 40_000 * 32);
        for id in all {
            rings.leave(id);
        }
        assert!(rings.memory_bytes() < 70_000);
    }
}
