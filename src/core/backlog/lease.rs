//! The lease as the server thread knows it: the shard's id and epoch, which are saved and replicated.

use crate::core::delivery::lease::{Claim, Holder, LeaseState, ShardId};
use crate::core::registration::Namespace;

/// The collection of the lease, in the database of the first registration.
const COLLECTION: &str = "writebehind.leases";

/// The shard whose data this is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shard {
    /// Its id.
    pub id: ShardId,
    /// The last epoch that is known; 0 for none.
    pub epoch: u64,
    /// The process that holds or held it.
    pub holder: [u8; 16],
    /// Where its lease is, unless a setting names another place.
    pub namespace: Namespace,
}

/// The shard, and what the worker knows of its lease.
#[derive(Debug, Default)]
pub struct LeaseView {
    shard: Option<Shard>,
    /// True if the shard must still be propagated to replicas and the AOF.
    is_pending: bool,
    /// True from a promotion until the lease is taken.
    is_promoted: bool,
    /// What the worker knows.
    pub state: LeaseState,
}

impl LeaseView {
    /// The shard, if there is one.
    pub fn shard(&self) -> Option<&Shard> {
        self.shard.as_ref()
    }

    /// Sets the shard that was loaded, or that the master has propagated.
    pub fn load(&mut self, shard: Shard) {
        self.shard = Some(shard);
        self.is_pending = false;
    }

    /// The dataset is about to be replaced.
    pub fn clear(&mut self) {
        self.shard = None;
        self.is_pending = false;
    }

    /// Gives this data an id of its own; the lease is in the database of the first registration.
    pub fn begin(&mut self, id: ShardId, first: &Namespace) {
        // Above any number that was used in a session of an earlier shard.
        let epoch = self.shard.as_ref().map_or(0, |shard| shard.epoch);
        let namespace =
            Namespace { database: first.database.clone(), collection: COLLECTION.to_owned() };
        self.shard = Some(Shard { id, epoch, holder: [0; 16], namespace });
        self.is_pending = true;
    }

    /// This server has become a master, or a replica.
    pub fn role_changed(&mut self, is_master: bool) {
        self.is_promoted = is_master;
        if !is_master {
            self.state = LeaseState::None;
        }
    }

    /// The worker has reported what it knows.
    pub(super) fn report(&mut self, state: LeaseState) {
        if let LeaseState::Held { epoch, holder } = state
            && let Some(shard) = &mut self.shard
        {
            (shard.epoch, shard.holder) = (shard.epoch.max(epoch), holder);
            self.is_pending = true;
            self.is_promoted = false;
        }
        self.state = state;
    }

    /// True if the shard must be propagated, and the worker be told of it.
    pub fn is_pending(&self) -> bool {
        self.is_pending
    }

    /// The shard if it must be propagated; `None` until the next change.
    pub fn take_pending(&mut self) -> Option<Shard> {
        if std::mem::take(&mut self.is_pending) { self.shard.clone() } else { None }
    }

    /// The claim to the lease, which is in `place` if that is given.
    pub fn claim(&self, holder: &Holder, place: Option<Namespace>) -> Option<Claim> {
        let Shard { id, epoch, holder: last_holder, namespace } = self.shard.clone()?;
        Some(Claim {
            shard: id,
            epoch,
            last_holder,
            promoted: self.is_promoted,
            namespace: place.unwrap_or(namespace),
            holder: holder.clone(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_promotion_counts_until_the_lease_is_taken() {
        let mut view = LeaseView::default();
        let holder = Holder::default();
        assert_eq!(view.claim(&holder, None), None);
        let first = Namespace { database: "shop".to_owned(), collection: "movies".to_owned() };
        view.begin([7; 16], &first);
        assert_eq!(view.take_pending().map(|shard| shard.epoch), Some(0));
        assert_eq!(view.take_pending(), None);
        view.role_changed(true);
        view.report(LeaseState::Waiting);
        let claim = view.claim(&holder, None).unwrap();
        assert!(claim.promoted);
        assert_eq!(claim.namespace.to_string(), "shop.writebehind.leases");
        view.report(LeaseState::Held { epoch: 4, holder: [9; 16] });
        let claim = view.claim(&holder, Some(first.clone())).unwrap();
        assert_eq!((claim.promoted, claim.epoch, &claim.namespace), (false, 4, &first));
        assert_eq!(claim.last_holder, [9; 16]);
        assert_eq!(view.take_pending().map(|shard| shard.epoch), Some(4));
        view.begin([8; 16], &first);
        assert_eq!(view.shard().map(|shard| shard.epoch), Some(4), "numbers only grow");
    }
}
