//! Changes as the server reports them, logged until they are folded into the dirty table.
//!
//! Appending is sequential, so a write command causes no cache miss in the table; [`super::table`]
//! folds many entries at once.

use crate::core::ids::{Db, RegistrationId};

/// The kind of a change. Only the reasons for the removal of a key are distinguished; what is written
/// is determined when the key is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum ChangeKind {
    /// Written, or removed for a reason not listed below.
    Changed = 0,
    /// Removed by a command.
    Deleted = 1,
    /// Expired.
    Expired = 2,
    /// Evicted.
    Evicted = 3,
    /// The last value of a dirty key was retained before its removal.
    Retained = 4,
    /// Written, and its time to live may have changed.
    ExpiryMayHaveChanged = 5,
    /// Unchanged, but discovered by a scan of existing keys.
    Found = 6,
    /// Value unchanged, but its time to live may have changed.
    ExpiryOnly = 7,
    /// Possibly removed by a command: the event does not tell if only a part of the value was
    /// removed.
    MaybeDeleted = 8,
}

impl ChangeKind {
    /// The inverse of `as u8`.
    pub fn from_u8(number: u8) -> Option<ChangeKind> {
        [
            ChangeKind::Changed,
            ChangeKind::Deleted,
            ChangeKind::Expired,
            ChangeKind::Evicted,
            ChangeKind::Retained,
            ChangeKind::MaybeDeleted,
        ]
        .into_iter()
        .find(|kind| *kind as u8 == number)
    }

    /// True if the value of the key may exist only in Redis.
    pub fn may_hold_value(self) -> bool {
        matches!(self, ChangeKind::Changed | ChangeKind::MaybeDeleted)
    }
}

/// One entry of the log.
#[derive(Clone, Copy, Debug)]
pub struct Change<'a> {
    /// Logical database.
    pub db: Db,
    /// Id of the registration.
    pub registration_id: RegistrationId,
    /// The kind of change.
    pub kind: ChangeKind,
    /// True if the same MULTI, script or command made this change and the one before it in the log.
    pub joins: bool,
    /// The key.
    pub key: &'a [u8],
}

#[derive(Clone, Copy, Debug)]
struct LogEntry {
    end: usize,
    db: Db,
    registration_id: RegistrationId,
    kind: ChangeKind,
    joins: bool,
}

/// Number of entries at which the log must be folded.
pub const FOLD_AT: usize = 64;

/// Capacity in bytes that a cleared log keeps; more, after a burst of huge keys, is freed.
const KEEP_BYTES: usize = 64 * 1024;

/// An append-only log of changes.
#[derive(Debug)]
pub struct Log {
    bytes: Vec<u8>,
    entries: Vec<LogEntry>,
}

impl Default for Log {
    fn default() -> Self {
        Log { bytes: Vec::with_capacity(KEEP_BYTES), entries: Vec::with_capacity(2 * FOLD_AT) }
    }
}

impl Log {
    /// Appends one change; true if the log must be folded now.
    #[inline]
    pub fn push(&mut self, change: Change<'_>) -> bool {
        self.bytes.extend_from_slice(change.key);
        self.entries.push(LogEntry {
            end: self.bytes.len(),
            db: change.db,
            registration_id: change.registration_id,
            kind: change.kind,
            joins: change.joins,
        });
        self.entries.len() >= FOLD_AT
    }

    /// Number of entries.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// True if nothing was appended since the last [`clear`](Self::clear).
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// All entries from `index` on, in order of appending.
    pub fn changes(&self, index: usize) -> impl Iterator<Item = Change<'_>> {
        let before = index.checked_sub(1).and_then(|before| self.entries.get(before));
        let mut start = before.map_or(0, |before| before.end);
        self.entries.iter().skip(index).map(move |entry| {
            let key = self.bytes.get(start..entry.end).unwrap_or_default();
            start = entry.end;
            let LogEntry { db, registration_id, kind, joins, .. } = *entry;
            Change { db, registration_id, kind, joins, key }
        })
    }

    /// Clears the log and keeps its memory.
    pub fn clear(&mut self) {
        self.entries.clear();
        self.bytes.clear();
        if self.bytes.capacity() > KEEP_BYTES {
            self.bytes.shrink_to(KEEP_BYTES);
        }
    }

    /// Bytes of memory held.
    pub fn memory_bytes(&self) -> usize {
        self.bytes.capacity() + self.entries.capacity() * size_of::<LogEntry>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_are_returned_in_order() {
        let mut log = Log::default();
        for (id, key) in [&b"a"[..], b"", b"bc"].into_iter().enumerate() {
            log.push(Change {
                db: Db(1),
                registration_id: RegistrationId(id as u16),
                kind: ChangeKind::Expired,
                joins: false,
                key,
            });
        }
        let keys: Vec<&[u8]> = log.changes(0).map(|change| change.key).collect();
        assert_eq!(keys, [&b"a"[..], b"", b"bc"]);
        assert_eq!(log.changes(2).map(|change| change.key).collect::<Vec<_>>(), [b"bc"]);
        assert!(log.changes(3).next().is_none());
    }

    #[test]
    fn it_must_be_folded_when_full_and_is_empty_after_clear() {
        let mut log = Log::default();
        let change = Change {
            db: Db(0),
            registration_id: RegistrationId(0),
            kind: ChangeKind::Changed,
            joins: false,
            key: b"k",
        };
        let full = (0..FOLD_AT).filter(|_| log.push(change)).count();
        assert_eq!(full, 1);
        log.clear();
        assert!(log.is_empty() && log.changes(0).next().is_none());
    }
}
