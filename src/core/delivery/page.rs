//! Documents on their way from MongoDB to Redis.

use std::sync::Arc;

use crate::core::ids::{FindId, LoadId};
use crate::core::mapping::value::{Content, Span};
use crate::core::registration::Registration;

/// Pages of a load that may be on their way, or wait to be stored, at a time.
pub const PAGES: u32 = 2;

/// A request to read the documents of a registration.
#[derive(Clone, Debug)]
pub struct LoadRequest {
    /// The load.
    pub load: LoadId,
    /// The registration whose documents are read.
    pub registration: Arc<Registration>,
    /// Which documents, as JSON; empty for all.
    pub filter: Vec<u8>,
    /// In which order, as JSON; empty for that of `_id`.
    pub sort: Vec<u8>,
    /// Maximum number of documents; 0 for no limit.
    pub limit: u64,
    /// The last document that was read before, as a BSON document with its `_id` only; empty for none.
    pub after: Vec<u8>,
    /// True if only the keys are of interest.
    pub keys_only: bool,
}

/// A request for the documents of keys that Redis does not have.
#[derive(Clone, Debug)]
pub struct FindRequest {
    /// The request.
    pub find: FindId,
    /// The registration of all the keys.
    pub registration: Arc<Registration>,
    /// The whole keys.
    pub keys: Vec<Arc<[u8]>>,
    /// Longest time that it may take, milliseconds.
    pub within_ms: u64,
}

/// The documents of keys that were asked for.
#[derive(Debug, Default)]
pub struct Found {
    /// Their values. The keys that are not in it have no document, if `is_last`; else they were not read.
    pub page: Page,
    /// The keys whose documents no value can hold, with the reason.
    pub refused: Vec<(Vec<u8>, String)>,
}

/// What the server thread says of a load.
#[derive(Debug)]
pub enum LoadMessage {
    /// Read its first [`PAGES`] pages.
    Begin(LoadRequest),
    /// A page was stored: read one more.
    More(LoadId),
    /// Read no more.
    End(LoadId),
}

/// A value that is to be stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PageItem {
    /// The whole key.
    pub key: Span,
    /// The value, encoded as described at [`Content`].
    pub value: Span,
    /// What kind of value it is.
    pub content: Content,
    /// When it expires, milliseconds since 1970, or
    /// [`NO_EXPIRY`](crate::core::mapping::value::NO_EXPIRY).
    pub expire_ms: i64,
}

/// Documents that were read, as values.
#[derive(Debug, Default)]
pub struct Page {
    /// Keys and values.
    pub bytes: Vec<u8>,
    /// The values.
    pub items: Vec<PageItem>,
    /// Number of documents that were read.
    pub documents: u64,
    /// Number of documents that no value can hold.
    pub unloadable: u64,
    /// Why the first of them cannot be held.
    pub error: Option<String>,
    /// The last document, as in `LoadRequest::after`.
    pub last: Vec<u8>,
    /// True if there are no more documents.
    pub is_last: bool,
}

/// Why documents could not be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReadFailure {
    /// One sentence without values and credentials.
    pub error: String,
    /// True if trying again is of no use.
    pub is_permanent: bool,
}

impl ReadFailure {
    /// A failure that may end by itself.
    pub fn transient(error: impl Into<String>) -> Self {
        ReadFailure { error: error.into(), is_permanent: false }
    }

    /// A failure that an operator must end.
    pub fn permanent(error: impl Into<String>) -> Self {
        ReadFailure { error: error.into(), is_permanent: true }
    }
}
