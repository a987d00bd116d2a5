//! The faults of a proxy, and its connection counters.

use std::sync::atomic::AtomicU64;
use std::time::Duration;

/// A fault of the network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// No fault.
    None,
    /// Each direction has that latency.
    Delay(Duration),
    /// Each connection breaks after that many more bytes from the server.
    CutReply(u64),
    /// Bytes are dropped, and neither end gets an error. A connection that was used meanwhile stays
    /// dead indefinitely.
    BlackHole,
    /// The same, but the bytes are delivered when the fault ends, as TCP retransmits them, also if
    /// the sender has closed the connection by then.
    Hold,
    /// `Hold` for existing connections; new connections work.
    HoldExisting,
    /// New connections are refused, and open ones break.
    Refuse,
}

/// The state of the proxy that its connections follow.
#[derive(Clone, Copy, Debug)]
pub(super) struct Orders {
    pub(super) fault: Fault,
    /// How many times a fault was set.
    pub(super) sets: u64,
    /// How many times all connections were cut.
    pub(super) cuts: u64,
}

#[derive(Default)]
pub(super) struct Counts {
    pub(super) made: AtomicU64,
    pub(super) open: AtomicU64,
}
