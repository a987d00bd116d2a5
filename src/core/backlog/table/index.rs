//! An extendible hash table from hashes to entries. It grows by one segment of 1,024 places at a
//! time, so no change ever waits for a rehash of millions of keys.

/// Places in a segment.
const SEGMENT: usize = 1024;
/// Places in use at which a segment is split.
const FULL: u32 = (SEGMENT * 3 / 4) as u32;
/// Maximum number of bits of the hash that select the segment; the lowest ten bits select the place
/// in it.
const MAX_DEPTH: u32 = 22;

/// The hash in the upper half, the entry + 1 in the lower half; 0 is an empty place.
type Slot = u64;

/// The contents of a place.
#[derive(Clone, Copy, Debug, Default)]
pub struct Home(Slot);

impl Home {
    /// All bits, to force the load.
    pub fn bits(self) -> u64 {
        self.0
    }
}

#[derive(Debug)]
struct Segment {
    depth: u32,
    used: u32,
    slots: Box<[Slot]>,
}

/// Maps 32-bit hashes to entries; several entries may have one hash.
#[derive(Debug)]
pub struct Index {
    /// 2^depth segments by the highest bits of the hash.
    directory: Vec<u32>,
    depth: u32,
    segments: Vec<Segment>,
}

impl Default for Index {
    fn default() -> Self {
        Index { directory: vec![0], depth: 0, segments: vec![Segment::new(0)] }
    }
}

impl Index {
    /// The first entry of `hash` that `is_it` accepts.
    #[inline]
    pub fn find(&self, hash: u32, mut is_it: impl FnMut(u32) -> bool) -> Option<u32> {
        let segment = self.segment(hash);
        let mask = segment.slots.len() - 1;
        let mut at = hash as usize & mask;
        loop {
            let slot = segment.slots[at & mask];
            if slot == 0 {
                return None;
            }
            if (slot >> 32) as u32 == hash {
                let entry = slot as u32 - 1;
                if is_it(entry) {
                    return Some(entry);
                }
            }
            at += 1;
        }
    }

    /// The contents of the first place of the probe sequence of `hash`, for [`first`](Self::first).
    #[inline]
    pub fn home(&self, hash: u32) -> Home {
        let segment = self.segment(hash);
        Home(segment.slots[hash as usize & (segment.slots.len() - 1)])
    }

    /// The first entry of `hash`, whose [`home`](Self::home) was loaded before.
    #[inline]
    pub fn first(&self, hash: u32, home: Home) -> Option<u32> {
        if (home.0 >> 32) as u32 == hash && home.0 as u32 != 0 {
            return Some(home.0 as u32 - 1);
        }
        self.find(hash, |_| true)
    }

    /// Adds `entry` under `hash`.
    pub fn insert(&mut self, hash: u32, entry: u32) {
        while self.segment(hash).is_full() {
            self.split(hash);
        }
        let at = self.segment_index(hash);
        self.segments[at].put(u64::from(hash) << 32 | (u64::from(entry) + 1));
    }

    /// Removes `entry` from under `hash`.
    pub fn remove(&mut self, hash: u32, entry: u32) {
        let at = self.segment_index(hash);
        self.segments[at].remove(u64::from(hash) << 32 | (u64::from(entry) + 1));
    }

    /// Frees the memory; all entries must have been removed before.
    pub fn shrink(&mut self) {
        if self.segments.len() > 1 {
            *self = Index::default();
        }
    }

    /// Bytes of memory held.
    pub fn memory_bytes(&self) -> usize {
        self.directory.capacity() * size_of::<u32>()
            + self.segments.iter().map(|s| s.slots.len() * size_of::<Slot>()).sum::<usize>()
            + self.segments.capacity() * size_of::<Segment>()
    }

    fn segment_index(&self, hash: u32) -> usize {
        // In 64 bits, because a shift of 32 bits by 32 overflows.
        let at = (u64::from(hash) >> (32 - self.depth)) as usize;
        self.directory[at] as usize
    }

    fn segment(&self, hash: u32) -> &Segment {
        &self.segments[self.segment_index(hash)]
    }

    fn split(&mut self, hash: u32) {
        let old = self.segment_index(hash);
        let depth = self.segments[old].depth;
        if depth == MAX_DEPTH {
            self.segments[old].grow();
            return;
        }
        if depth == self.depth {
            self.directory = self.directory.iter().flat_map(|&at| [at, at]).collect();
            self.depth += 1;
        }
        let new = self.segments.len() as u32;
        let mut low = Segment::new(depth + 1);
        let mut high = Segment::new(depth + 1);
        for &slot in self.segments[old].slots.iter().filter(|slot| **slot != 0) {
            let bit = slot >> (63 - depth) & 1;
            if bit == 0 { low.put(slot) } else { high.put(slot) }
        }
        self.segments[old] = low;
        self.segments.push(high);
        // Of the directory entries of the old segment, the upper half refers to the new segment.
        let span = 1usize << (self.depth - depth);
        let first = (u64::from(hash) >> (32 - self.depth)) as usize & !(span - 1);
        for at in first + span / 2..first + span {
            self.directory[at] = new;
        }
    }
}

impl Segment {
    fn new(depth: u32) -> Self {
        Segment { depth, used: 0, slots: vec![0; SEGMENT].into_boxed_slice() }
    }

    fn is_full(&self) -> bool {
        self.used as usize * SEGMENT >= FULL as usize * self.slots.len()
    }

    fn put(&mut self, slot: Slot) {
        let mask = self.slots.len() - 1;
        let mut at = (slot >> 32) as usize & mask;
        while self.slots[at] != 0 {
            at = (at + 1) & mask;
        }
        self.slots[at] = slot;
        self.used += 1;
    }

    fn remove(&mut self, slot: Slot) {
        let mask = self.slots.len() - 1;
        let mut at = (slot >> 32) as usize & mask;
        while self.slots[at] != slot {
            if self.slots[at] == 0 {
                return;
            }
            at = (at + 1) & mask;
        }
        // Closes the gap: moves back every later slot of the run that may be in this place.
        let mut hole = at;
        loop {
            at = (at + 1) & mask;
            let next = self.slots[at];
            if next == 0 {
                break;
            }
            let home = (next >> 32) as usize & mask;
            if (at.wrapping_sub(home) & mask) >= (at.wrapping_sub(hole) & mask) {
                self.slots[hole] = next;
                hole = at;
            }
        }
        self.slots[hole] = 0;
        self.used -= 1;
    }

    /// Doubles the segment: only when more than 896 keys share 22 bits of their hash.
    fn grow(&mut self) {
        let slots = vec![0; self.slots.len() * 2].into_boxed_slice();
        let old = std::mem::replace(&mut self.slots, slots);
        self.used = 0;
        for slot in old.into_iter().filter(|slot| *slot != 0) {
            self.put(slot);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::{BTreeSet, HashSet};

    #[test]
    fn a_million_entries_are_found_and_removed() {
        let mut index = Index::default();
        let hash = |i: u32| i.wrapping_mul(0x9e37_79b9) ^ (i >> 7);
        for i in 0..1_000_000 {
            index.insert(hash(i), i);
        }
        for i in 0..1_000_000 {
            assert_eq!(index.find(hash(i), |entry| entry == i), Some(i));
        }
        assert!(index.memory_bytes() < 1_000_000 * 20, "{}", index.memory_bytes());
        for i in 0..1_000_000 {
            index.remove(hash(i), i);
        }
        assert!((0..1_000_000).all(|i| index.find(hash(i), |_| true).is_none()));
    }

    #[test]
    fn thousands_of_entries_with_one_hash_are_kept() {
        let mut index = Index::default();
        for i in 0..5_000 {
            index.insert(42, i);
        }
        let mut seen = BTreeSet::new();
        index.find(42, |entry| {
            seen.insert(entry);
            false
        });
        assert_eq!(seen.len(), 5_000);
    }

    proptest! {
        #[test]
        fn behaves_like_a_set_of_pairs(
            steps in prop::collection::vec((any::<bool>(), 0u32..64, 0u32..40), 0..3_000),
        ) {
            let mut index = Index::default();
            let mut model = HashSet::new();
            for (add, hash, entry) in steps {
                let hash = hash << 26 | hash;
                if add && model.insert((hash, entry)) {
                    index.insert(hash, entry);
                } else if !add {
                    model.remove(&(hash, entry));
                    index.remove(hash, entry);
                }
            }
            for hash in 0u32..64 {
                let hash = hash << 26 | hash;
                for entry in 0..40 {
                    let found = index.find(hash, |at| at == entry).is_some();
                    prop_assert_eq!(found, model.contains(&(hash, entry)));
                }
            }
        }
    }
}
