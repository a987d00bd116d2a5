//! What a registration wants to know of a key, and how much of it.

use crate::core::mapping::error::MAX_DOCUMENT_BYTES;
use crate::core::registration::{KeyType, Registration};

/// No more of a value is copied: as strings, this is certainly more than a document can hold.
const MOST_BYTES: usize = MAX_DOCUMENT_BYTES / 2 * 3;
/// The same where SCHEMA, or UNWRAP, may make less of it.
const MOST_BYTES_WITH_SCHEMA: usize = 4 * MAX_DOCUMENT_BYTES;

/// What is wanted of a key.
#[derive(Clone, Copy, Debug)]
pub struct ReadRequest {
    /// A key of another type is foreign.
    pub key_type: KeyType,
    /// Without it the server is not asked for the expiry.
    pub expiry: bool,
    /// No more bytes than this are copied of one value.
    pub most_bytes: usize,
    /// When to pause within a large value, microseconds; nothing to leave large values alone.
    pub end_us: Option<u64>,
    /// Short strings are left: many of them are read by one command.
    pub leaves_short: bool,
}

impl ReadRequest {
    /// What the documents of `registration` are made of, read in one go.
    pub fn of(registration: &Registration) -> Self {
        let may_shrink = registration.schema.is_some() || registration.unwraps;
        let most_bytes = if may_shrink { MOST_BYTES_WITH_SCHEMA } else { MOST_BYTES };
        let expiry = registration.ttl_field.is_some();
        ReadRequest {
            key_type: registration.key_type,
            expiry,
            most_bytes,
            end_us: Some(u64::MAX),
            leaves_short: false,
        }
    }

    /// True if keys of that type are wanted.
    pub fn takes(&self, key_type: KeyType) -> bool {
        self.key_type == KeyType::Any || self.key_type == key_type
    }
}
