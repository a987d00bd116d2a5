//! Messages between the server thread and the worker: batches of keys that were read, and reports of
//! their outcome.

use std::sync::Arc;

use crate::core::ids::{EntryId, RegistrationId, Version};
use crate::core::mapping::value::{Content, Span};
use crate::core::registration::Registration;

/// One key of a batch: a consistent snapshot of its value, to be written once.
#[derive(Clone, Copy, Debug)]
pub struct Item {
    /// The key's entry in the dirty table.
    pub entry: EntryId,
    /// The key's version when it was read: the key is clean if the version is the same at the
    /// acknowledgement.
    pub version: Version,
    /// When the key became dirty, in microseconds of the module's clock.
    pub since_us: u64,
    /// The whole key in [`Batch::bytes`].
    pub key: Span,
    /// The kind of value that was read.
    pub content: Content,
    /// The value in [`Batch::bytes`], encoded as described at [`Content`].
    pub value: Span,
    /// When the key expires, milliseconds since 1970;
    /// [`NO_EXPIRY`](crate::core::mapping::value::NO_EXPIRY) for never, and if the registration has
    /// no TTL field.
    pub expire_ms: i64,
}

/// Keys of one registration that are read and written together. A key is in the batch at most once,
/// and in no other batch in flight.
#[derive(Debug)]
pub struct Batch {
    /// The registration as it was when the keys were read.
    pub registration: Arc<Registration>,
    /// Id of the registration, for the acknowledgement.
    pub registration_id: RegistrationId,
    /// The epoch in which it was read: a report of a batch of an earlier epoch is ignored.
    pub epoch: u32,
    /// True if it was sent with a credit for slow batches.
    pub slow: bool,
    /// For a batch of a single blocked key, the number of earlier attempts; 0 for any other batch.
    pub retry: u32,
    /// The keys.
    pub items: Vec<Item>,
    /// For each item, the number of its group among those that are sent together; empty if it is in none.
    pub groups: Vec<u32>,
    /// Keys and values of all items.
    pub bytes: Vec<u8>,
}

impl Batch {
    /// The whole key of `item`.
    pub fn key(&self, item: &Item) -> &[u8] {
        self.bytes.get(item.key.range()).unwrap_or_default()
    }

    /// The value of `item` as it was read.
    pub fn value(&self, item: &Item) -> &[u8] {
        self.bytes.get(item.value.range()).unwrap_or_default()
    }
}

/// A change that MongoDB refuses permanently, or that cannot be converted to a document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Index into [`Batch::items`].
    pub index: usize,
    /// MongoDB's error code; 0 when the change was refused before it was sent.
    pub code: i32,
    /// One sentence for the operator; never a value.
    pub reason: String,
}

/// An item whose document cannot be written at the moment, for example because another operation
/// holds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlockedItem {
    /// Index into [`Batch::items`].
    pub index: usize,
    /// One sentence for the operator; never a value.
    pub reason: String,
}

/// The outcome of a batch for which MongoDB replied.
#[derive(Debug, Default)]
pub struct Written {
    /// The items that became dead letters, in ascending order of index.
    pub refused: Vec<Refusal>,
    /// The items that a unique index refused, in ascending order of index, none of them in
    /// `refused`: another document has the value, and may give it up.
    pub contested: Vec<Refusal>,
    /// The blocked items, which are retried in batches of their own, in ascending order of index.
    pub blocked: Vec<BlockedItem>,
    /// The items that were not written and are dirty again, in ascending order. Items in none of the
    /// lists were written.
    pub returned: Vec<usize>,
    /// The items that were not written because their group was not, if there are any: the group is held
    /// for `blocked_ms`.
    pub held: Option<Box<Held>>,
    /// Why items were returned; empty if none were.
    pub error: String,
    /// How long the registration backs off before the returned items are retried, milliseconds.
    pub hold_ms: u64,
    /// How long blocked keys wait for the next attempt, milliseconds.
    pub blocked_ms: u64,
    /// Bytes of the commands that were sent.
    pub sent_bytes: u64,
    /// Number of items that are settled; 0 in a report of the worker. Contested items are settled
    /// after all others, and are then removed from their list.
    pub settled: usize,
}

/// Items that wait with their whole group.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Held {
    /// The items, in ascending order.
    pub items: Vec<usize>,
    /// Why, in one sentence without values.
    pub because: String,
}

impl Written {
    /// The items that wait with their group, in ascending order.
    pub fn held(&self) -> &[usize] {
        self.held.as_ref().map_or(&[], |held| &held.items)
    }

    /// Number of items that were not written, without the contested ones.
    pub fn unwritten(&self) -> usize {
        self.refused.len() + self.blocked.len() + self.returned.len() + self.held().len()
    }

    /// Adds the outcome of other items of the same batch, without the contested ones.
    pub fn add(&mut self, other: Written) {
        self.sent_bytes += other.sent_bytes;
        self.refused.extend(other.refused);
        self.refused.sort_by_key(|refusal| refusal.index);
        self.blocked.extend(other.blocked);
        self.blocked.sort_by_key(|blocked| blocked.index);
        self.returned.extend(other.returned);
        self.returned.sort_unstable();
        if self.error.is_empty() {
            self.error = other.error;
        }
    }

    /// Adds the outcome of a batch of some of the items, whose indexes are `items`. They count as written
    /// so far.
    pub fn add_apart(&mut self, mut other: Written, items: &[u32]) {
        let index_of = |index: usize| items.get(index).map_or(0, |index| *index as usize);
        other.refused.iter_mut().for_each(|refusal| refusal.index = index_of(refusal.index));
        other.contested.iter_mut().for_each(|refusal| refusal.index = index_of(refusal.index));
        other.blocked.iter_mut().for_each(|blocked| blocked.index = index_of(blocked.index));
        other.returned.iter_mut().for_each(|index| *index = index_of(*index));
        self.contested.append(&mut other.contested);
        self.add(other);
    }

    /// True if the item at this index was neither written nor refused.
    pub fn is_open(&self, index: usize) -> bool {
        self.blocked.binary_search_by_key(&index, |blocked| blocked.index).is_ok()
            || self.returned.binary_search(&index).is_ok()
            || self.held().binary_search(&index).is_ok()
    }
}

/// The outcome of a batch.
#[derive(Debug)]
pub enum Verdict {
    /// MongoDB acknowledged it.
    Written(Written),
    /// No item may be considered written: its keys are dirty again.
    Returned {
        /// Why, in one sentence.
        error: String,
        /// How long the registration backs off, milliseconds; 0 if the link is down, because then no
        /// batch is sent until it is up.
        hold_ms: u64,
        /// True if MongoDB may still apply any part of it later, after newer writes: its keys must be
        /// written once more when that is no longer possible.
        indeterminate: bool,
    },
}

/// State of the link to MongoDB.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Link {
    /// Nothing is to be written: there is no registration, or the server is a replica. The worker
    /// does not connect to MongoDB.
    Idle,
    /// MongoDB accepts writes.
    Up,
    /// MongoDB is unreachable; the worker reconnects by itself.
    Down {
        /// Why, in one sentence without credentials.
        error: String,
    },
}

/// The id of a server session in which batches are sent.
pub type SessionId = [u8; 16];
