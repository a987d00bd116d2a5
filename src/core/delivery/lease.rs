//! The lease: which server writes the data of a shard.
//!
//! A *shard* is one master with its replicas. It has a random id, which is kept with the data, so a
//! promoted replica, a restarted server and a former master that comes back have the same one. In
//! MongoDB a document for each shard has its *epoch*, and who holds it. A server that takes the lease
//! increases the epoch, and fences off what the holders of earlier epochs have sent.

use std::fmt::Write;
use std::time::Duration;

use crate::core::registration::Namespace;

/// The id of a shard.
pub type ShardId = [u8; 16];

/// How long the holder must not have renewed the lease before another server takes it that has no other
/// right to it.
pub const SILENCE: Duration = Duration::from_secs(15);
/// How often the holder renews the lease.
pub const RENEW_EVERY: Duration = Duration::from_secs(5);
/// A holder that has not renewed the lease for this long writes nothing before it has: another one may have
/// taken it. Less than [`SILENCE`].
pub const TRUST: Duration = Duration::from_secs(10);

/// Bits of a txnNumber below the epoch.
const COUNTER_BITS: u32 = 40;
/// The highest epoch whose txnNumbers are positive.
const MAX_EPOCH: u64 = (1 << (63 - COUNTER_BITS)) - 1;

/// Who a server is that takes the lease.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Holder {
    /// A random id of the process.
    pub id: [u8; 16],
    /// Where it runs: another process that is at the same place is its successor.
    pub place: String,
    /// Host and port, for people.
    pub address: String,
}

/// A claim to the lease of a shard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// The shard.
    pub shard: ShardId,
    /// The last epoch that is known here; 0 for none.
    pub epoch: u64,
    /// Who held that epoch.
    pub last_holder: [u8; 16],
    /// True if this server was promoted: it takes the lease from the master that it has followed.
    pub promoted: bool,
    /// Where the lease is.
    pub namespace: Namespace,
    /// This server.
    pub holder: Holder,
}

/// The lease as it is in MongoDB.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    /// The epoch.
    pub epoch: u64,
    /// Number of sessions that its holders have used.
    pub lanes: u32,
    /// Who took it last.
    pub holder: Holder,
    /// True if the holder has given it back.
    pub released: bool,
    /// When it was renewed last, by MongoDB's clock, milliseconds since 1970.
    pub renewed_ms: i64,
}

/// What this server may do with the lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Take it with this epoch.
    Take(u64),
    /// Wait for the holder's silence.
    Wait,
}

impl Claim {
    /// What to do with the lease in MongoDB, of which nothing has changed for `silent`.
    pub fn step(&self, lease: Option<&Lease>, silent: Duration) -> Step {
        let Some(lease) = lease else { return Step::Take(next_epoch(self.epoch)) };
        let next = next_epoch(self.epoch.max(lease.epoch));
        let is_own = lease.holder.id == self.holder.id || lease.holder.place == self.holder.place;
        // A later holder was promoted after this server was.
        let is_known = lease.epoch <= self.epoch || lease.holder.id == self.last_holder;
        if (self.promoted && is_known) || is_own || lease.released || silent >= SILENCE {
            Step::Take(next)
        } else {
            Step::Wait
        }
    }
}

fn next_epoch(epoch: u64) -> u64 {
    (epoch + 1).min(MAX_EPOCH)
}

/// The lowest txnNumber of an epoch.
pub fn first_number(epoch: u64) -> i64 {
    i64::try_from(epoch.min(MAX_EPOCH) << COUNTER_BITS).unwrap_or(i64::MAX)
}

/// The epoch of a txnNumber.
pub fn epoch_of(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0) >> COUNTER_BITS
}

/// The id of a session in which the holder of the lease writes. All holders use the same ones.
pub fn session_id(shard: ShardId, lane: u32) -> [u8; 16] {
    let mut id = shard;
    for (byte, of_lane) in id.iter_mut().rev().zip(lane.to_le_bytes()) {
        *byte ^= of_lane;
    }
    id
}

/// The id as text, 32 hexadecimal digits.
pub fn hex(id: &[u8; 16]) -> String {
    id.iter().fold(String::with_capacity(32), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// What the worker knows of the lease.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum LeaseState {
    /// None is needed, or the deployment has no sessions.
    #[default]
    None,
    /// This server writes.
    Held {
        /// The epoch.
        epoch: u64,
        /// The id of this process.
        holder: [u8; 16],
    },
    /// Another server holds it; this one writes nothing.
    Waiting,
    /// MongoDB refuses to keep it. This server writes without.
    Refused {
        /// One sentence for operators.
        error: String,
    },
}

impl LeaseState {
    /// The name in WB.STATUS.
    pub fn name(&self) -> &'static str {
        match self {
            LeaseState::None => "none",
            LeaseState::Held { .. } => "held",
            LeaseState::Waiting => "waiting",
            LeaseState::Refused { .. } => "refused",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holder(id: u8, place: &str) -> Holder {
        Holder { id: [id; 16], place: place.to_owned(), address: String::new() }
    }

    fn claim(epoch: u64, promoted: bool) -> Claim {
        let (database, collection) = ("d".to_owned(), "leases".to_owned());
        let namespace = Namespace { database, collection };
        let holder = holder(1, "here");
        Claim { shard: [7; 16], epoch, last_holder: [2; 16], promoted, namespace, holder }
    }

    fn lease(epoch: u64, by: Holder) -> Lease {
        Lease { epoch, lanes: 8, holder: by, released: false, renewed_ms: 1 }
    }

    const NOW: Duration = Duration::ZERO;

    #[test]
    fn a_new_lease_follows_the_epoch_that_is_known() {
        assert_eq!(claim(0, false).step(None, NOW), Step::Take(1));
        assert_eq!(claim(6, false).step(None, NOW), Step::Take(7));
        let lower = lease(3, holder(1, "here"));
        assert_eq!(claim(6, false).step(Some(&lower), NOW), Step::Take(7));
    }

    #[test]
    fn the_same_process_or_one_at_its_place_takes_it_at_once() {
        for by in [holder(1, "elsewhere"), holder(9, "here")] {
            assert_eq!(claim(0, false).step(Some(&lease(4, by)), NOW), Step::Take(5));
        }
    }

    #[test]
    fn a_promoted_server_takes_it_at_once() {
        let other = lease(4, holder(2, "there"));
        assert_eq!(claim(4, true).step(Some(&other), NOW), Step::Take(5));
    }

    #[test]
    fn a_promotion_counts_against_the_former_master_only() {
        let again = lease(5, holder(2, "there"));
        assert_eq!(claim(4, true).step(Some(&again), NOW), Step::Take(6));
        let later = lease(5, holder(3, "elsewhere"));
        assert_eq!(claim(4, true).step(Some(&later), NOW), Step::Wait);
    }

    #[test]
    fn any_other_server_waits_until_the_holder_is_silent_or_has_given_it_back() {
        let other = lease(4, holder(2, "there"));
        for epoch in [0, 3, 4] {
            let claim = claim(epoch, false);
            assert_eq!(claim.step(Some(&other), SILENCE - Duration::from_millis(1)), Step::Wait);
            assert_eq!(claim.step(Some(&other), SILENCE), Step::Take(5));
            let released = Lease { released: true, ..other.clone() };
            assert_eq!(claim.step(Some(&released), NOW), Step::Take(5));
        }
    }

    #[test]
    fn every_number_of_an_epoch_is_above_those_of_the_one_before() {
        assert_eq!((first_number(1), epoch_of(first_number(7) + 5)), (1 << 40, 7));
        assert!(first_number(2) > first_number(1) + (1 << 39));
        assert!(first_number(u64::MAX) > first_number(MAX_EPOCH - 1));
    }

    #[test]
    fn each_lane_has_a_session_of_its_own() {
        let ids: std::collections::HashSet<_> =
            (0..1000).map(|lane| session_id([7; 16], lane)).collect();
        assert_eq!(ids.len(), 1000);
        assert_eq!(session_id([7; 16], 3), session_id([7; 16], 3));
        assert_eq!(hex(&session_id([0; 16], 258)), "00000000000000000000000000000102");
    }
}
