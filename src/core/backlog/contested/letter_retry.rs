//! When dead letters of a namespace are tried again by themselves.

use crate::core::backlog::dead_letters::ContestedLetter;

/// The letters of a namespace are tried once in this time at most.
const EVERY_US: u64 = 1_000_000;
/// When letters of a namespace are tried again, and which.
#[derive(Debug, Default)]
pub struct LetterRetry {
    pub last_us: Option<u64>,
    /// Letters still to be tried because of what was written.
    pub left: usize,
    /// The last one that was tried.
    pub cursor: Option<ContestedLetter>,
    /// Parked keys wait to go out with letters.
    pub asked: bool,
}

impl LetterRetry {
    /// True if parked keys wait for letters.
    pub fn is_asked(&self) -> bool {
        self.asked
    }

    /// When letters are tried next, microseconds.
    pub fn due_us(&self) -> Option<u64> {
        (self.left > 0).then(|| self.last_us.map_or(0, |last_us| last_us + EVERY_US))
    }
}
