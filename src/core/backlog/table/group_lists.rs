//! The groups, by what they wait for.

use std::collections::{BTreeMap, VecDeque};

use super::rings::Rings;
use crate::core::ids::{EntryId, GroupId};

/// A group with the stamp that distinguishes it from earlier ones of the same number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StampedGroup(pub(super) GroupId, pub(super) u64);

/// The groups, by what they wait for.
#[derive(Debug, Default)]
pub struct Groups {
    pub(super) rings: Rings,
    /// The entry of the last change: the next one may be of the same group.
    pub(super) last: Option<EntryId>,
    pub(super) ready: VecDeque<StampedGroup>,
    /// By the time in microseconds until which they are held; `u64::MAX` until
    /// [`release_held`](Dirty::release_held).
    pub(super) held: BTreeMap<(u64, GroupId), u64>,
    /// Groups that have just come to wait for keys in flight. Such a key may itself wait for a key of the
    /// group, in no batch.
    pub(super) waiting: Vec<StampedGroup>,
    /// Number of changes whose group was too large for them.
    pub too_large_total: u64,
    /// Number of changes that were missed, so that they are in no group.
    pub missed_total: u64,
}

impl Groups {
    /// Number of groups.
    pub fn len(&self) -> usize {
        self.rings.len()
    }

    /// The group of an entry.
    #[inline]
    pub fn of(&self, id: EntryId) -> Option<GroupId> {
        self.rings.group_of(id)
    }

    /// True if a group can be sent, or must be looked at.
    pub fn has_ready(&self) -> bool {
        !self.ready.is_empty() || !self.waiting.is_empty()
    }

    /// Until when the first held group is held, microseconds; `u64::MAX` for never.
    pub fn held_until_us(&self) -> u64 {
        self.held.first_key_value().map_or(u64::MAX, |((until_us, _), _)| *until_us)
    }

    /// Bytes of memory held.
    pub fn memory_bytes(&self) -> usize {
        self.rings.memory_bytes() + self.ready.capacity() * size_of::<StampedGroup>()
    }
}
