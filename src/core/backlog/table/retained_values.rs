//! Storage of retained values.

use std::collections::HashMap;

use crate::core::ids::EntryId;
use crate::core::mapping::value::Content;

/// The last value of a key that was removed from Redis and is not yet in MongoDB.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RetainedValue {
    /// How `bytes` are encoded.
    pub content: Content,
    /// The key's expiration time, milliseconds since 1970; -1 for never.
    pub expire_ms: i64,
    /// The value.
    pub bytes: Box<[u8]>,
}

/// Capacity that is kept when there are no retained values.
const KEEP: usize = 1_024;

/// Retained values by entry.
#[derive(Debug, Default)]
pub struct RetainedValues {
    values: HashMap<EntryId, RetainedValue>,
    bytes: usize,
}

impl RetainedValues {
    pub fn insert(&mut self, id: EntryId, value: RetainedValue) {
        self.bytes += value.bytes.len();
        if let Some(earlier) = self.values.insert(id, value) {
            self.bytes -= earlier.bytes.len();
        }
    }

    pub fn get(&self, id: EntryId) -> Option<&RetainedValue> {
        self.values.get(&id)
    }

    pub fn remove(&mut self, id: EntryId) -> Option<RetainedValue> {
        let value = self.values.remove(&id)?;
        self.bytes -= value.bytes.len();
        if self.values.is_empty() {
            self.values.shrink_to(KEEP);
        }
        Some(value)
    }

    /// Bytes in use; at most [`memory_bytes`](Self::memory_bytes).
    pub fn used_bytes(&self) -> usize {
        self.bytes + self.values.len() * size_of::<(EntryId, RetainedValue)>()
    }

    pub fn memory_bytes(&self) -> usize {
        self.bytes + self.values.capacity() * size_of::<(EntryId, RetainedValue)>()
    }
}
