//! What each command says besides its operations: how durable, and how long it may take.

use std::num::NonZeroU8;

use crate::core::bson::Document;

/// How many members must have a write before it counts as acknowledged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Acknowledged {
    /// Most of the voting members.
    Majority,
    /// So many members. Never 0: a write that is not acknowledged is never known to be written.
    Members(NonZeroU8),
    /// As the replica set's settings define this tag.
    Tag(String),
}

/// The write concern. It stands in each command, because the driver adds none to raw commands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WriteConcern {
    /// Which members.
    pub w: Acknowledged,
    /// Whether the write must be in their journals. `false` says nothing and so leaves it to the
    /// server: `j: false` with `majority` would wait 100 ms for the journal in each batch.
    pub journal: bool,
    /// How long the server waits for the members, in milliseconds; 0 is for ever.
    pub timeout_ms: u32,
}

/// What stands in each command besides the operations.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommandOptions {
    /// The write concern.
    pub write_concern: WriteConcern,
    /// How long the server works on a command, in milliseconds; 0 is for ever.
    pub max_time_ms: u32,
}

impl CommandOptions {
    /// Appends `maxTimeMS` and `writeConcern` to a command.
    pub fn append_to(&self, command: &mut Document<'_>) {
        if self.max_time_ms > 0 {
            command.element(c"maxTimeMS").int64(i64::from(self.max_time_ms));
        }
        let mut concern = command.element(c"writeConcern").document();
        match &self.write_concern.w {
            Acknowledged::Majority => concern.element(c"w").string("majority"),
            Acknowledged::Members(count) => concern.element(c"w").int32(i32::from(count.get())),
            Acknowledged::Tag(tag) => concern.element(c"w").string(tag),
        }
        if self.write_concern.journal {
            concern.element(c"j").bool(true);
        }
        if self.write_concern.timeout_ms > 0 {
            concern.element(c"wtimeout").int64(i64::from(self.write_concern.timeout_ms));
        }
        concern.end();
    }
}
