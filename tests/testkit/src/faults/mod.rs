//! Faults of MongoDB, in rounds of any length: the tests run short ones, `make outage` long ones.
//!
//! - `load`: writers that continue during any fault, and the latency of Redis's clients
//! - `watch`: a reader of MongoDB that detects a document with an older value than before
//! - `stepdowns`: a primary that steps down repeatedly
//! - `late_writes`: batches that timed out and are executed later
//! - `network`: a network that drops everything for a while
//! - `freeze`: a frozen MongoDB under load: latency and memory
//! - `poison`: the effect of rejected documents on all others
//! - `reconnects`: connections that break repeatedly

pub mod freeze;
pub mod late_writes;
pub mod load;
pub mod network;
pub mod poison;
pub mod reconnects;
pub mod stepdowns;
pub mod watch;

use std::fmt;

use crate::comparison::Mapping;
use crate::mongod::collection::Collection;
use crate::redis_server::Redis;

/// The differences between Redis and MongoDB at the end of a round.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Comparison {
    /// Keys without a document.
    pub lost: usize,
    /// Documents that differ from their key's value, or have no key.
    pub different: usize,
}

impl Comparison {
    /// WB.FLUSH, then the comparison; pending and failed keys count as lost.
    pub fn after_flush(redis: &Redis, prefix: &str, collection: &Collection) -> Self {
        let flushed = redis.flush_with(&["TIMEOUT", "30000"]);
        let undone = usize::try_from(flushed.pending + flushed.failed).expect("a count");
        let found = Mapping::by_id(prefix).differences(&mut redis.connection(), collection);
        let missing = found.iter().filter(|line| line.contains(": missing")).count();
        for line in found.iter().take(5) {
            eprintln!("{line}");
        }
        Self { lost: missing + undone, different: found.len() - missing }
    }

    pub fn is_equal(self) -> bool {
        self == Self::default()
    }
}

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} lost, {} different", self.lost, self.different)
    }
}
