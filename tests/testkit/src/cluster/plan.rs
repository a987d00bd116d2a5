//! The parameters of a round, and its result.

use std::fmt;
use std::time::Duration;

/// Half of the slots of one of three nodes.
pub const HALF: usize = 2_730;

/// The parameters of a round.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    pub seed: u64,
    /// `INTERVAL` of the registration: how long a change waits, in milliseconds.
    pub interval_ms: u64,
    /// Number of slots that move away and back.
    pub slots: usize,
    /// Whether the node that loses slots has a replica.
    pub has_replica: bool,
    /// How long slots have been moving when MongoDB stops (SIGSTOP), and how long it stands still.
    pub freeze: Option<(Duration, Duration)>,
    /// How long after the newest values the batch of the old node arrives.
    pub late: Duration,
    /// Whether the replica of a killed node waits for the vote of the masters.
    pub votes: bool,
    /// Whether a node that was removed is killed at once.
    pub ends: bool,
    /// Whether each node is registered by hand. Otherwise one is, and the cluster shares it.
    pub register_each: bool,
}

impl Plan {
    /// The parameters that follow from the seed.
    pub fn of(seed: u64, register_each: bool) -> Self {
        let mut rng = fastrand::Rng::with_seed(seed);
        let after = Duration::from_millis(rng.u64(500..8_000));
        let frozen = [0, 1, 4, 12][rng.usize(..4)];
        Self {
            seed,
            interval_ms: [50, 500, 2_000][rng.usize(..3)],
            slots: HALF,
            has_replica: rng.bool(),
            freeze: (frozen > 0).then_some((after, Duration::from_secs(frozen))),
            late: Duration::from_secs([2, 16][rng.usize(..2)]),
            votes: rng.bool(),
            ends: rng.bool(),
            register_each,
        }
    }
}

/// What the clients of a round have met.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Commands that were executed.
    pub writes: u64,
    /// Replies MOVED.
    pub moved: u64,
    /// Replies ASK.
    pub asked: u64,
    /// Replies TRYAGAIN and CLUSTERDOWN, and connections that broke.
    pub again: u64,
}

impl std::ops::AddAssign for Traffic {
    fn add_assign(&mut self, other: Self) {
        self.writes += other.writes;
        self.moved += other.moved;
        self.asked += other.asked;
        self.again += other.again;
    }
}

/// The documents after a round.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    /// Keys without a document.
    pub missing: u64,
    /// Documents without a key.
    pub extra: u64,
    /// Documents that differ from their key.
    pub stale: u64,
    /// Keys that a WB.FLUSH reports as failed, or as pending at its timeout.
    pub unwritten: u64,
    /// Keys of all masters.
    pub keys: u64,
    pub traffic: Traffic,
}

impl Verdict {
    /// True if the documents equal the keys.
    pub fn is_good(&self) -> bool {
        self.keys > 0 && self.missing + self.extra + self.stale + self.unwritten == 0
    }
}

impl std::ops::AddAssign for Verdict {
    fn add_assign(&mut self, other: Self) {
        self.missing += other.missing;
        self.extra += other.extra;
        self.stale += other.stale;
        self.unwritten += other.unwritten;
        self.keys += other.keys;
        self.traffic += other.traffic;
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { missing, extra, stale, unwritten, keys, traffic } = self;
        write!(f, "{missing} missing, {extra} extra, {stale} stale, {unwritten} unwritten, ")?;
        let Traffic { writes, moved, asked, again } = traffic;
        write!(f, "{keys} keys; {writes} writes, {moved} MOVED, {asked} ASK, {again} again")
    }
}
