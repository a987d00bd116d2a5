//! Which parts of a key a registration needs, and how much of its value.

use crate::core::mapping::error::MAX_DOCUMENT_BYTES;
use crate::core::registration::{KeyType, Registration};

/// Maximum number of bytes copied of a value: as strings, they are certainly more than a document
/// can hold.
const MAX_BYTES: usize = MAX_DOCUMENT_BYTES / 2 * 3;
/// The same where SCHEMA or UNWRAP may make the document smaller than the value.
const MAX_BYTES_WITH_SCHEMA: usize = 4 * MAX_DOCUMENT_BYTES;

/// What to read of a key.
#[derive(Clone, Copy, Debug)]
pub struct ReadRequest {
    /// The registration's key type; a key of another type is
    /// [`WrongType`](super::value::ReadOutcome).
    pub key_type: KeyType,
    /// True to read the expiry as well.
    pub expiry: bool,
    /// Maximum number of bytes copied of one value.
    pub max_bytes: usize,
    /// When to interrupt reading a large value, microseconds; nothing to not read large values.
    pub end_us: Option<u64>,
    /// True to put off short strings, many of which are then read by one command.
    pub defers_short: bool,
}

impl ReadRequest {
    /// The request for a document of `registration`, read without a time budget.
    pub fn of(registration: &Registration) -> Self {
        let may_shrink = registration.schema.is_some() || registration.unwraps;
        let max_bytes = if may_shrink { MAX_BYTES_WITH_SCHEMA } else { MAX_BYTES };
        let expiry = registration.ttl_field.is_some();
        ReadRequest {
            key_type: registration.key_type,
            expiry,
            max_bytes,
            end_us: Some(u64::MAX),
            defers_short: false,
        }
    }

    /// True if keys of that type are written.
    pub fn accepts(&self, key_type: KeyType) -> bool {
        self.key_type == KeyType::Any || self.key_type == key_type
    }
}
