//! The write concern that every command carries.

use std::num::NonZeroU8;

/// How many members must have a write before it counts as acknowledged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AcknowledgedBy {
    /// Most of the voting members.
    Majority,
    /// So many members. Never 0: a write that is not acknowledged is never known to be written.
    Members(NonZeroU8),
    /// As the replica set's settings define this tag.
    Tag(String),
}

/// The write concern. Each command holds it, because the driver adds none to raw commands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WriteConcern {
    /// Which members.
    pub w: AcknowledgedBy,
    /// Whether the write must be in their journals. `false` says nothing and so leaves it to the
    /// server: `j: false` with `majority` would wait 100 ms for the journal in each batch.
    pub journal: bool,
    /// How long the server waits for the members, in milliseconds; `None` is as long as it may
    /// take for the command.
    pub timeout_ms: Option<u32>,
}
