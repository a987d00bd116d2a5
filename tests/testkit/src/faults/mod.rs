//! MongoDB at its worst, in rounds of any length: the tests play short ones, `make outage` long
//! ones.
//!
//! - `load`: writers that go on whatever happens, and what Redis makes a client wait
//! - `watch`: a reader of MongoDB that sees whether a document ever goes backwards
//! - `stepdowns`: a primary that steps down again and again
//! - `ghosts`: batches that were given up on, in a MongoDB that wakes up
//! - `network`: a network that swallows everything for a while
//! - `freeze`: a frozen MongoDB under many writes: latency and memory
//! - `poison`: what refused documents cost all others
//! - `reconnects`: connections that break again and again

pub mod freeze;
pub mod ghosts;
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

/// Redis against MongoDB, when a round is over.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Comparison {
    /// Keys without a document.
    pub lost: usize,
    /// Documents that are not what their keys' values make, or of no key.
    pub different: usize,
}

impl Comparison {
    /// WB.FLUSH, then the comparison; what a flush leaves undone counts as lost.
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
