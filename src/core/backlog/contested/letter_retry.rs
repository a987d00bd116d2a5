//! When contested dead letters of a namespace are retried automatically.

use crate::core::backlog::dead_letters::ContestedLetter;

/// Minimum interval between two retries in a namespace, microseconds.
const EVERY_US: u64 = 1_000_000;
/// Which dead letters of a namespace are retried, and when.
#[derive(Debug, Default)]
pub struct LetterRetry {
    pub last_us: Option<u64>,
    /// Number of dead letters still to be retried because a write may have freed their values.
    pub left: usize,
    /// The dead letter that was retried last.
    pub cursor: Option<ContestedLetter>,
    /// True if parked keys wait to be sent together with dead letters.
    pub asked: bool,
}

impl LetterRetry {
    /// True if parked keys wait for dead letters.
    pub fn is_asked(&self) -> bool {
        self.asked
    }

    /// Time of the next retry, microseconds.
    pub fn due_us(&self) -> Option<u64> {
        (self.left > 0).then(|| self.last_us.map_or(0, |last_us| last_us + EVERY_US))
    }
}
