//! The write concern, which every write command contains.

use std::num::NonZeroU8;

/// `w`: the members that must have a write before it is acknowledged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AcknowledgedBy {
    /// A majority of the voting members, `w: "majority"`.
    Majority,
    /// This many members. Never 0: an unacknowledged write is never known to be written.
    Members(NonZeroU8),
    /// A custom write concern of the replica set's settings, by its name.
    Tag(String),
}

/// The write concern. Each command contains it, because the driver adds none to raw commands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WriteConcern {
    /// The members that must have the write.
    pub w: AcknowledgedBy,
    /// `j`: whether the write must be in their on-disk journals. With `false` the field is left
    /// out, so that the server's default applies: `j: false` with `majority` would wait 100 ms for
    /// the journal in each batch.
    pub journal: bool,
    /// `wtimeout`: how long the server waits for the members, milliseconds; `None` for the time
    /// limit of the command.
    pub timeout_ms: Option<u32>,
}
