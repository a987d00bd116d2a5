//! The clients that wait, and for which entries of the dirty table.

use std::collections::HashMap;

use foldhash::fast::RandomState;

use super::counts::WriteCounts;
use crate::core::backlog::KeyList;
use crate::core::ids::{EntryId, RegistrationId, Version, WaitId};

const DISCARDED: &str = "WBREFUSED the prefix was unregistered with DISCARD: Redis has the write, MongoDB does not get \
                         it";

/// Memory of a wait, and of an entry that is waited for, with their places in the tables, bytes.
const WAIT_BYTES: usize = 192;
const ENTRY_BYTES: usize = 128;

/// A client whose waiting has ended, and the error for it, with its code.
pub type EndedWrite = (WaitId, Option<String>);

/// A client that waits.
#[derive(Debug)]
pub struct Wait {
    /// Number of entries that are not acknowledged.
    pub left: usize,
    /// The entries.
    pub entries: Entries,
    /// The registration for which it counts.
    pub registration_id: RegistrationId,
    /// Since when it waits, microseconds.
    pub since_us: u64,
    /// Length of the reply that the server keeps for the client.
    pub reply_bytes: usize,
}

/// The entries of a wait, mostly one.
#[derive(Debug, Default)]
pub struct Entries {
    first: Option<EntryId>,
    more: Vec<EntryId>,
}

impl Entries {
    /// Adds one.
    pub fn add(&mut self, entry: EntryId) {
        match self.first {
            None => self.first = Some(entry),
            Some(_) => self.more.push(entry),
        }
    }

    fn iter(&self) -> impl Iterator<Item = EntryId> {
        self.first.into_iter().chain(self.more.iter().copied())
    }
}

/// All clients that wait for what they wrote.
#[derive(Debug, Default)]
pub struct Writes {
    /// True while clients can be held: changes for which none waits are counted.
    pub is_on: bool,
    /// True while a command runs whose client may have to wait.
    pub(super) collects: bool,
    pub(super) touched: KeyList,
    pub(super) waits: HashMap<WaitId, Wait, RandomState>,
    pub(super) by_entry: HashMap<EntryId, Vec<(Version, WaitId)>, RandomState>,
    pub(super) ended: Vec<EndedWrite>,
    /// Number of entries that are waited for.
    pub(super) entries: usize,
    /// Replies that the server keeps, bytes.
    reply_bytes: usize,
    /// The figures of all registrations, including removed ones.
    pub counts: WriteCounts,
    pub(super) last_wait: WaitId,
}

impl Writes {
    /// Number of clients that wait.
    pub fn waiting(&self) -> usize {
        self.waits.len()
    }

    /// Memory of the waits, and of the replies that the server keeps for them, bytes.
    pub fn memory_bytes(&self) -> usize {
        self.waits.len() * WAIT_BYTES + self.entries * ENTRY_BYTES + self.reply_bytes
    }

    /// The server keeps a reply of so many bytes for a client that waits.
    pub fn keeps_reply(&mut self, wait: WaitId, bytes: usize) {
        if let Some(of) = self.waits.get_mut(&wait) {
            of.reply_bytes = bytes;
            self.reply_bytes += bytes;
        }
    }

    pub(super) fn remove(&mut self, wait: WaitId) -> Option<Wait> {
        let of = self.waits.remove(&wait)?;
        self.reply_bytes -= of.reply_bytes;
        self.entries -= of.entries.iter().count();
        Some(of)
    }

    /// The clients whose waiting has ended since the last call.
    pub fn take_ended(&mut self) -> Vec<EndedWrite> {
        std::mem::take(&mut self.ended)
    }

    /// True if no client waits, and nothing is remembered of any.
    #[cfg(test)]
    pub fn is_idle(&self) -> bool {
        self.waits.is_empty() && self.by_entry.is_empty()
    }

    /// A client no longer waits.
    pub fn forget(&mut self, wait: WaitId) -> bool {
        let Some(of) = self.remove(wait) else { return false };
        for entry in of.entries.iter() {
            let Some(waits) = self.by_entry.get_mut(&entry) else { continue };
            waits.retain(|(_, other)| *other != wait);
            if waits.is_empty() {
                self.by_entry.remove(&entry);
            }
        }
        true
    }

    /// The key of an entry is dropped unwritten.
    pub fn discarded(&mut self, entry: EntryId) {
        self.end_entry(entry, DISCARDED);
    }

    pub(super) fn end_entry(&mut self, entry: EntryId, error: &str) {
        for (_, wait) in self.by_entry.remove(&entry).unwrap_or_default() {
            if self.forget(wait) {
                self.ended.push((wait, Some(error.to_owned())));
            }
        }
    }

    pub(super) fn end_all(&mut self, error: &str) {
        self.by_entry.clear();
        (self.reply_bytes, self.entries) = (0, 0);
        let all = self.waits.drain().map(|(wait, _)| (wait, Some(error.to_owned())));
        self.ended.extend(all);
    }
}
