//! Batches that are written in one transaction, because one MULTI or script changed their keys.

use super::batch::Batch;

/// A group of a [`GroupBatch`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SentGroup {
    /// True if it must not be split: `ATOMIC WHOLE`.
    pub whole: bool,
    /// True if a part of it was split off before.
    pub is_split: bool,
    /// Number of earlier attempts.
    pub attempts: u32,
    /// Since when the attempts have failed, milliseconds; 0 without one.
    pub failing_ms: u64,
}

/// Groups that are written in one transaction: one batch for each registration.
#[derive(Debug, Default)]
pub struct GroupBatch {
    /// The batches. [`Batch::groups`] has the group of each item, an index into `groups`.
    pub batches: Vec<Batch>,
    /// The groups.
    pub groups: Vec<SentGroup>,
}

impl GroupBatch {
    /// Number of keys.
    pub fn keys(&self) -> usize {
        self.batches.iter().map(|batch| batch.items.len()).sum()
    }

    /// Number of bytes of keys and values.
    pub fn bytes(&self) -> usize {
        self.batches.iter().map(|batch| batch.bytes.len()).sum()
    }

    /// True if it has no keys.
    pub fn is_empty(&self) -> bool {
        self.batches.iter().all(|batch| batch.items.is_empty())
    }
}
