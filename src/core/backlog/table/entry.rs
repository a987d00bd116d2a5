//! The entries of the dirty table: 32 bytes per key without its name, in blocks that never move,
//! linked into one list per registration, oldest first. No entry crosses a cache line.
//!
//! A parallel array holds the fingerprint of each key while a further change of it would be a no-op:
//! eight fit into a cache line, and such a change loads neither the entry nor the key.

use super::arena::Place;
use super::hash::NO_FINGERPRINT;
use crate::core::backlog::change_log::ChangeKind;
use crate::core::ids::{Db, EntryId, RegistrationId, Version};

/// No entry: the end of a list.
pub const NONE: EntryId = EntryId(u32::MAX);

/// Entries in a block.
const BLOCK: usize = 4096;

/// The entry of a dirty key.
#[derive(Clone, Copy, Debug)]
#[repr(align(32))]
pub struct Entry {
    /// When the key became dirty after it was last read, in microseconds.
    pub since_us: u64,
    /// Older neighbour in the list.
    pub prev: EntryId,
    /// Newer neighbour in the list; the next free entry in a free one.
    pub next: EntryId,
    /// Grows with every change of the key.
    pub version: Version,
    /// A [`Place`] in two parts, because as a whole it is padded to eight bytes.
    chunk: u32,
    offset: u16,
    pub db: Db,
    pub registration_id: RegistrationId,
    pub state: State,
    pub kind: ChangeKind,
}

/// The state of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Not in use.
    Free,
    /// Waiting in the list of its registration.
    Dirty,
    /// In no list: its group is due, and is to be sent as a whole. Counts as in flight.
    Parked,
    /// Read and sent, unchanged since.
    InFlight,
    /// Read and sent, and changed again.
    InFlightAgain,
}

impl Entry {
    /// An entry outside every list.
    pub fn new(db: Db, registration_id: RegistrationId, place: Place) -> Self {
        Entry {
            prev: NONE,
            next: NONE,
            version: Version(0),
            chunk: place.chunk,
            offset: place.offset,
            since_us: 0,
            db,
            registration_id,
            state: State::Dirty,
            kind: ChangeKind::Changed,
        }
    }

    /// The location of the key's name.
    pub fn place(&self) -> Place {
        Place { chunk: self.chunk, offset: self.offset }
    }

    /// Sets [`place`](Self::place).
    pub fn set_place(&mut self, place: Place) {
        (self.chunk, self.offset) = (place.chunk, place.offset);
    }
}

#[derive(Debug)]
struct Block {
    entries: Box<[Entry]>,
    noop_fingerprints: Box<[u64; BLOCK]>,
}

/// Entries by number.
#[derive(Debug)]
pub struct Entries {
    blocks: Vec<Block>,
    free: EntryId,
    len: usize,
}

impl Default for Entries {
    fn default() -> Self {
        Entries { blocks: Vec::new(), free: NONE, len: 0 }
    }
}

impl Entries {
    /// Entries in use.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Entry `id`, which must have come from [`insert`](Self::insert).
    #[inline]
    pub fn at(&self, id: EntryId) -> &Entry {
        &self.blocks[usize::from(id) / BLOCK].entries[usize::from(id) % BLOCK]
    }

    /// The same, mutable. Clears its [`noop_fingerprint`](Self::noop_fingerprint).
    #[inline]
    pub fn at_mut(&mut self, id: EntryId) -> &mut Entry {
        let block = &mut self.blocks[usize::from(id) / BLOCK];
        block.noop_fingerprints[usize::from(id) % BLOCK] = NO_FINGERPRINT;
        &mut block.entries[usize::from(id) % BLOCK]
    }

    /// The [fingerprint of the key of entry `id` and its
    /// registration](super::hash::KeyHash::fingerprint) while a further change of the key would be
    /// a no-op; otherwise [`NO_FINGERPRINT`].
    #[inline]
    pub fn noop_fingerprint(&self, id: EntryId) -> u64 {
        self.blocks[usize::from(id) / BLOCK].noop_fingerprints[usize::from(id) % BLOCK]
    }

    /// Sets [`noop_fingerprint`](Self::noop_fingerprint).
    #[inline]
    pub fn set_noop_fingerprint(&mut self, id: EntryId, fingerprint: u64) {
        self.blocks[usize::from(id) / BLOCK].noop_fingerprints[usize::from(id) % BLOCK] =
            fingerprint;
    }

    /// Entry `id`, to link it: that does not affect its no-op fingerprint.
    #[inline]
    fn link(&mut self, id: EntryId) -> &mut Entry {
        &mut self.blocks[usize::from(id) / BLOCK].entries[usize::from(id) % BLOCK]
    }

    /// Entry `id` if it is in use.
    pub fn get(&self, id: EntryId) -> Option<&Entry> {
        let entry =
            self.blocks.get(usize::from(id) / BLOCK)?.entries.get(usize::from(id) % BLOCK)?;
        (entry.state != State::Free).then_some(entry)
    }

    /// Stores `entry` at a free number and returns the number.
    pub fn insert(&mut self, entry: Entry) -> EntryId {
        if self.free == NONE {
            self.add_block();
        }
        let id = self.free;
        self.free = self.at(id).next;
        *self.at_mut(id) = entry;
        self.len += 1;
        id
    }

    /// Frees entry `id`, and all memory if it was the last.
    pub fn remove(&mut self, id: EntryId) {
        let free = self.free;
        let entry = self.at_mut(id);
        entry.state = State::Free;
        entry.next = free;
        self.free = id;
        self.len -= 1;
        if self.len == 0 && self.blocks.len() > 1 {
            *self = Entries::default();
        }
    }

    /// Entries in use and free ones: their numbers are below this.
    pub fn places(&self) -> u32 {
        (self.blocks.len() * BLOCK) as u32
    }

    /// The number of the first entry in use that is not before `id`.
    pub fn next_from(&self, id: EntryId) -> Option<EntryId> {
        (id.0..self.places()).map(EntryId).find(|id| self.at(*id).state != State::Free)
    }

    /// The numbers of all entries in use.
    pub fn ids(&self) -> impl Iterator<Item = EntryId> + '_ {
        (0..self.places()).map(EntryId).filter(|id| self.at(*id).state != State::Free)
    }

    /// Bytes of memory held.
    pub fn memory_bytes(&self) -> usize {
        self.blocks.len() * BLOCK * (size_of::<Entry>() + size_of::<u64>())
    }

    fn add_block(&mut self) {
        let first = (self.blocks.len() * BLOCK) as u32;
        let mut entry = Entry::new(Db(0), RegistrationId(0), Place::default());
        entry.state = State::Free;
        let mut entries = vec![entry; BLOCK].into_boxed_slice();
        for (at, entry) in entries.iter_mut().enumerate() {
            entry.next = if at + 1 == BLOCK { NONE } else { EntryId(first + at as u32 + 1) };
        }
        let noop_fingerprints = Box::new([NO_FINGERPRINT; BLOCK]);
        self.blocks.push(Block { entries, noop_fingerprints });
        self.free = EntryId(first);
    }
}

/// A doubly linked list through [`Entry::prev`] and [`Entry::next`].
#[derive(Clone, Copy, Debug)]
pub struct List {
    head: EntryId,
    tail: EntryId,
    len: usize,
}

impl Default for List {
    fn default() -> Self {
        List { head: NONE, tail: NONE, len: 0 }
    }
}

impl List {
    /// Entries in the list.
    pub fn len(&self) -> usize {
        self.len
    }

    /// The first entry.
    pub fn head(&self) -> Option<EntryId> {
        (self.head != NONE).then_some(self.head)
    }

    /// Appends entry `id`.
    pub fn push_back(&mut self, entries: &mut Entries, id: EntryId) {
        let tail = std::mem::replace(&mut self.tail, id);
        let entry = entries.link(id);
        (entry.prev, entry.next) = (tail, NONE);
        match tail {
            NONE => self.head = id,
            tail => entries.link(tail).next = id,
        }
        self.len += 1;
    }

    /// Prepends entry `id`.
    pub fn push_front(&mut self, entries: &mut Entries, id: EntryId) {
        let head = std::mem::replace(&mut self.head, id);
        let entry = entries.link(id);
        (entry.prev, entry.next) = (NONE, head);
        match head {
            NONE => self.tail = id,
            head => entries.link(head).prev = id,
        }
        self.len += 1;
    }

    /// Removes entry `id`, which must be in this list.
    pub fn unlink(&mut self, entries: &mut Entries, id: EntryId) {
        let Entry { prev, next, .. } = *entries.at(id);
        match prev {
            NONE => self.head = next,
            prev => entries.link(prev).next = next,
        }
        match next {
            NONE => self.tail = prev,
            next => entries.link(next).prev = prev,
        }
        self.len -= 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_takes_32_bytes_and_no_two_cache_lines() {
        assert_eq!((size_of::<Entry>(), align_of::<Entry>()), (32, 32));
    }

    #[test]
    fn lists_keep_their_order() {
        let mut entries = Entries::default();
        let mut list = List::default();
        let ids: Vec<EntryId> = (0..4)
            .map(|_| entries.insert(Entry::new(Db(0), RegistrationId(0), Place::default())))
            .collect();
        list.push_back(&mut entries, ids[1]);
        list.push_back(&mut entries, ids[2]);
        list.push_front(&mut entries, ids[0]);
        list.push_back(&mut entries, ids[3]);
        list.unlink(&mut entries, ids[1]);
        let mut order = Vec::new();
        while let Some(head) = list.head() {
            list.unlink(&mut entries, head);
            order.push(head);
        }
        assert_eq!(order, [ids[0], ids[2], ids[3]]);
        assert_eq!(list.len(), 0);
    }

    #[test]
    fn memory_is_given_back_when_the_last_key_is_clean() {
        let mut entries = Entries::default();
        let ids: Vec<EntryId> = (0..10_000)
            .map(|_| entries.insert(Entry::new(Db(0), RegistrationId(0), Place::default())))
            .collect();
        assert_eq!(entries.len(), 10_000);
        for id in ids {
            entries.remove(id);
        }
        assert_eq!((entries.len(), entries.memory_bytes()), (0, 0));
    }
}
