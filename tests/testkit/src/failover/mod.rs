//! Failovers: servers with the same data that come back when another one has been promoted. In MongoDB the
//! values of the last master must stay.

mod scenario;
mod servers;

pub use scenario::{Scenario, play};

use std::fmt;
use std::time::Duration;

/// The parameters of a round.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Keys that the old master has not written.
    pub keys: usize,
    /// How long the old master stands still, or is gone.
    pub away: Duration,
    /// How long after the newest value a batch of the old master arrives.
    pub late: Duration,
    /// False if the servers may not keep a lease: old values then win.
    pub fenced: bool,
}

/// The documents after a round.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// Documents that should be there.
    pub keys: u64,
    /// Documents that do not have the value of the last master.
    pub stale: u64,
}

impl Verdict {
    /// The one with more stale documents.
    pub fn worse(self, other: Verdict) -> Verdict {
        if other.stale > self.stale { other } else { self }
    }

    /// True if no document is stale.
    pub fn is_good(&self) -> bool {
        self.stale == 0
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {} documents stale or missing", self.stale, self.keys)
    }
}
