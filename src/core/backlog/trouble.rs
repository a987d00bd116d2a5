//! What is wrong with a registration, and what the log has of it.

use std::sync::Arc;

use crate::core::registration::Registration;

/// The errors of one registration.
#[derive(Debug, Default)]
pub struct Trouble {
    /// Why the registration backs off; empty if it does not.
    pub backoff: String,
    /// The key of the last dead letter.
    pub refused: Vec<u8>,
    /// Number of dead letters that were not logged yet.
    pub unlogged_letters: u64,
    /// True if the begin or the end of the back-off was not logged yet.
    pub unlogged_backoff: bool,
    /// True if the begin of the back-off was logged, and its end was not.
    pub logged_backoff: bool,
    /// When its last line was logged.
    pub logged_us: Option<u64>,
    /// True while a line of it waits to be logged.
    pub waits: bool,
}

/// A line to log for one registration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TroubleLine {
    /// The registration.
    pub registration: Arc<Registration>,
    /// Dead letters since its last line.
    pub letters: u64,
    /// Why the last of them was refused.
    pub reason: String,
    /// `Err` with the reason when it began to back off, `Ok` when that ended; `None` if neither is new.
    pub backoff: Option<Result<(), String>>,
}
