//! Keys that are compared with their documents.

use super::batch::Batch;
use crate::core::ids::RunId;

/// Keys with their values, to be compared. A key that Redis does not have is a
/// [`Tombstone`](crate::core::mapping::value::Content::Tombstone).
#[derive(Debug)]
pub struct CompareRequest {
    /// The run of WB.VERIFY.
    pub run: RunId,
    /// True if these keys have differed before.
    pub is_again: bool,
    /// The keys.
    pub batch: Batch,
}

/// How a key and its document differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Difference {
    /// There is no document.
    Missing,
    /// The document does not hold the value.
    Different,
    /// There is a document, and no key.
    Extra,
}

/// Keys that were compared.
#[derive(Debug)]
pub struct Compared {
    /// The request.
    pub request: CompareRequest,
    /// The items that differ, with their indexes into `Batch::items`.
    pub differences: Vec<(usize, Difference)>,
    /// Number of items that cannot be compared, because no document can hold them.
    pub uncomparable: u64,
}
