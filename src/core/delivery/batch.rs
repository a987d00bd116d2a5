//! What goes to the worker and what comes back: batches of read keys, and the
//! report of how each of them ended.

use std::sync::Arc;

use super::deployment::Checkup;
use super::lag::Percentiles;
use crate::core::ids::{EntryId, RegistrationId, Version};
use crate::core::mapping::value::{Content, Span};
use crate::core::registration::Registration;

/// One key of a batch: read at one moment, to be written once.
#[derive(Clone, Copy, Debug)]
pub struct Item {
    /// The key's place in the dirty table.
    pub entry: EntryId,
    /// The key's version when it was read: unchanged at the acknowledgement, it is clean.
    pub version: Version,
    /// When the key became dirty, in microseconds of the module's clock.
    pub since_us: u64,
    /// The whole key in [`Batch::bytes`].
    pub key: Span,
    /// What was found.
    pub content: Content,
    /// The value in [`Batch::bytes`], laid out as [`Content`] says.
    pub value: Span,
    /// When the key expires, milliseconds since 1970; [`NO_EXPIRY`](crate::core::mapping::value::NO_EXPIRY)
    /// for never, and where the registration has no field for it.
    pub expire_ms: i64,
}

/// Keys of one registration, read together, written together. Each key stands in it once,
/// and in no other batch that is in flight.
#[derive(Debug)]
pub struct Batch {
    /// The registration as it was when the keys were read.
    pub registration: Arc<Registration>,
    /// ActiveRegistration of the registration in the dirty table, for the acknowledgement.
    pub registration_id: RegistrationId,
    /// The epoch it was read in: what is reported of an earlier one does not count.
    pub epoch: u32,
    /// True if it was sent with a credit for slow batches.
    pub slow: bool,
    /// The batch of a single key that was blocked so many times before; 0 for any other batch.
    pub retry: u32,
    /// The keys.
    pub items: Vec<Item>,
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

/// MongoDB refuses one change for good, or it cannot be made into a document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Index into [`Batch::items`].
    pub index: usize,
    /// MongoDB's error code; 0 when the change was refused before it was sent.
    pub code: i32,
    /// One sentence for people; never a value.
    pub reason: String,
}

/// MongoDB does not let one document be written at the moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlockedItem {
    /// Index into [`Batch::items`].
    pub index: usize,
    /// One sentence for people; never a value.
    pub reason: String,
}

/// A batch that MongoDB answered.
#[derive(Debug, Default)]
pub struct Written {
    /// The items that became dead letters, in ascending order of index.
    pub refused: Vec<Refusal>,
    /// The items that a unique index refused, in ascending order of index, none of them in
    /// `refused`: another document has the value, and may change it.
    pub contested: Vec<Refusal>,
    /// The items that wait by themselves, in ascending order of index.
    pub blocked: Vec<BlockedItem>,
    /// The items that were not written and are dirty again, in ascending order. Those that are in
    /// none of the lists are written.
    pub returned: Vec<usize>,
    /// Why items came back; empty if none did.
    pub error: String,
    /// How long the registration rests before what came back is tried again.
    pub hold_ms: u64,
    /// How long blocked keys wait.
    pub blocked_ms: u64,
    /// Bytes of the commands that were sent.
    pub sent_bytes: u64,
    /// So many items are taken in already; 0 in a report of the worker. The contested ones are
    /// taken in after all others, and then leave their list.
    pub settled: usize,
}

impl Written {
    /// Items that were not written, but for the contested ones.
    pub fn unwritten(&self) -> usize {
        self.refused.len() + self.blocked.len() + self.returned.len()
    }

    /// Adds what became of other items of the same batch, but for the contested ones.
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

    /// True if the item of this index is neither written nor refused.
    pub fn is_open(&self, index: usize) -> bool {
        self.blocked.binary_search_by_key(&index, |blocked| blocked.index).is_ok()
            || self.returned.binary_search(&index).is_ok()
    }
}

/// How a batch ended.
#[derive(Debug)]
pub enum Verdict {
    /// MongoDB acknowledged it.
    Written(Written),
    /// Nothing of it may be taken as written: its keys are dirty again.
    Returned {
        /// Why, in one sentence.
        error: String,
        /// The registration rests this long before it is tried again; 0 when the link as a
        /// whole is down, because then no batch is sent until it is up.
        hold_ms: u64,
        /// Any part of it may still be applied later, after newer writes: its keys must be
        /// written once more when that is over.
        in_doubt: bool,
    },
}

/// State of the link to MongoDB.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Link {
    /// There is nothing to write for: no registration, or a replica. MongoDB is not contacted.
    Idle,
    /// A server takes writes.
    Up,
    /// No contact; the worker tries again by itself.
    Down {
        /// Why, in one sentence without credentials.
        error: String,
    },
}

/// The name of a session in which batches are sent.
pub type SessionId = [u8; 16];

/// What the worker tells the server thread.
#[derive(Debug)]
pub enum Report {
    /// All sessions that are used from now on. The server that goes on after a crash must end what they
    /// hold: a transaction that was begun keeps its documents locked, for a minute.
    Sessions(Vec<SessionId>),
    /// A batch has ended, its buffers come back for reuse.
    Done {
        /// The batch as it was sent.
        batch: Batch,
        /// How it ended.
        verdict: Verdict,
    },
    /// So many more batches may be sent.
    Credit(u32),
    /// So many more slow batches may be sent.
    SlowCredit(u32),
    /// Whether batches of a registration need credits for slow ones from now on, because they take
    /// much longer than those of others.
    Slow {
        /// ActiveRegistration of the registration.
        registration_id: RegistrationId,
        /// The registration.
        registration: Arc<Registration>,
        /// Whether they do.
        slow: bool,
    },
    /// The link changed.
    Link(Link),
    /// A check has ended.
    Checked {
        /// Which one.
        id: u64,
        /// What it found.
        found: Box<Checkup>,
    },
    /// Lag of what was written in the last minute or two, from change to acknowledgement.
    Lag {
        /// The registration that it is of, with its registration; nothing for all together.
        of: Option<(RegistrationId, Arc<Registration>)>,
        /// The figures.
        lag: Percentiles,
    },
}
