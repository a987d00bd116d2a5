//! Storage of values copied from keys that went away, or are about to.

use std::collections::HashMap;

use crate::core::ids::EntryId;
use crate::core::mapping::value::Content;

/// The last value of a key that is gone from Redis and not yet in MongoDB.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RetainedValue {
    /// How `bytes` are laid out.
    pub content: Content,
    /// When the key expired or would have, milliseconds since 1970; -1 for never.
    pub expire_ms: i64,
    /// The value.
    pub bytes: Box<[u8]>,
}

/// Places for retained values that are kept when there are none.
const KEEP: usize = 1_024;

/// Captured values by entry.
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

    /// Bytes in use; fewer than what is held.
    pub fn used_bytes(&self) -> usize {
        self.bytes + self.values.len() * size_of::<(EntryId, RetainedValue)>()
    }

    pub fn memory_bytes(&self) -> usize {
        self.bytes + self.values.capacity() * size_of::<(EntryId, RetainedValue)>()
    }
}
