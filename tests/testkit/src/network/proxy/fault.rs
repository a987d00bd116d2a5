//! What a proxy does to its connections, and what it counts of them.

use std::sync::atomic::AtomicU64;
use std::time::Duration;

/// What the network does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Nothing.
    None,
    /// Each direction takes that long.
    Delay(Duration),
    /// Each connection breaks when the server has answered so many bytes more.
    CutReply(u64),
    /// Nothing gets through, and neither end is told. A connection that was used meanwhile stays
    /// dead indefinitely.
    Swallow,
    /// The same, but what was sent arrives when it is over: TCP sends it again and again, also
    /// when the sender has closed its end by then.
    Hold,
    /// As `Hold` for the connections that are there; new ones get through.
    Strand,
    /// Connections are refused, and those that are open break.
    Refuse,
}

/// What connections obey.
#[derive(Clone, Copy, Debug)]
pub(super) struct Orders {
    pub(super) fault: Fault,
    /// How often a fault was set.
    pub(super) sets: u64,
    /// How often all connections were cut.
    pub(super) cuts: u64,
}

#[derive(Default)]
pub(super) struct Counts {
    pub(super) made: AtomicU64,
    pub(super) open: AtomicU64,
}
