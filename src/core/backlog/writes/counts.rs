//! The figures of MODE THROUGH.

use crate::core::delivery::lag::{Percentiles, RecentTimes};

/// Commands on keys of MODE THROUGH, since the module was loaded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WriteCounts {
    /// Commands that waited for MongoDB.
    pub writes: u64,
    /// Those with an error because MongoDB refused the document.
    pub refused: u64,
    /// Those with an error because MongoDB did not acknowledge it in time, or is not reached.
    pub timeouts: u64,
    /// Changes of keys for which no client waited: in MULTI, in scripts that do not declare the key, by commands that
    /// block.
    pub unheld: u64,
}

/// The figures of one registration.
#[derive(Debug, Default)]
pub struct WriteFigures {
    /// Numbers of commands.
    pub counts: WriteCounts,
    /// Since when clients wait for keys that are in no batch, microseconds.
    pub gathers_since_us: Option<u64>,
    /// For how long clients waited.
    times: RecentTimes,
}

impl WriteFigures {
    /// A client has waited so long for MongoDB, microseconds.
    pub(super) fn waited(&mut self, took_us: u64, now_us: u64) {
        self.times.record(took_us, now_us);
    }

    /// For how long clients waited in the last one to two minutes; 0 without any.
    pub fn times(&self, now_us: u64) -> Percentiles {
        self.times.of(now_us)
    }
}
