//! The keys that are asked for, the clients that wait for them, and how their waiting ends.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use foldhash::fast::RandomState;

use super::counts::ReadCounts;
use super::lane::{Lane, State};
use crate::core::ids::{FindId, RegistrationId, WaitId};

/// What is known of a key that Redis does not have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Known {
    /// There is no document, or it is about to be deleted.
    Absent,
    /// The error for the client, with its code.
    Refused(String),
    /// The key is being loaded.
    Awaited,
}

/// What is to be done with a document that was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It is stored.
    Store,
    /// It is of no use; the key is asked for again, or nobody waits for it.
    Drop,
}

/// How a load ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LoadEnd {
    /// Redis has the key now.
    Stored,
    /// The commands of the clients are run on what Redis has, and nothing is remembered.
    Unknown,
    /// There is no document.
    Absent,
    /// The error for the clients, with its code.
    Failed(String),
}

/// How far MongoDB is behind Redis with a key that Redis does not have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It has the last state.
    Clean,
    /// A deletion is pending.
    Removed,
    /// It has refused the last state.
    Refused(String),
    /// A write is pending.
    Dirty,
}

/// A find whose documents are not stored yet.
#[derive(Debug)]
pub struct Find {
    /// The registration of the keys.
    pub registration_id: RegistrationId,
    /// The keys.
    pub keys: Vec<Arc<[u8]>>,
    /// True if MongoDB has replied.
    pub is_received: bool,
}

/// The keys that are asked for, and the clients.
#[derive(Debug, Default)]
pub struct Reads {
    pub(super) lanes: HashMap<RegistrationId, Lane, RandomState>,
    /// Lanes with keys to ask for, of which no find is under way.
    pub(super) ready: BTreeSet<RegistrationId>,
    pub(super) finds: HashMap<FindId, Find, RandomState>,
    /// Number of keys in them.
    pub(super) asked: usize,
    /// Keys that are asked for once MongoDB has their last state.
    pub(super) held: Vec<(RegistrationId, Arc<[u8]>)>,
    /// How many keys a client waits for.
    pub(super) waits: HashMap<WaitId, usize, RandomState>,
    /// The clients whose waiting has ended; with the error.
    ended: Vec<(WaitId, Option<String>)>,
    /// The figures of all registrations, including removed ones.
    pub counts: ReadCounts,
    last_wait: WaitId,
    pub(super) last_find: FindId,
    pub(super) last_lane: RegistrationId,
}

impl Reads {
    /// True if nothing is asked for or remembered.
    pub(super) fn is_idle(&self) -> bool {
        self.lanes.is_empty()
    }

    /// Number of clients that wait.
    pub fn waiting(&self) -> usize {
        self.waits.len()
    }

    /// Memory of what is remembered, bytes.
    pub fn memory_bytes(&self) -> usize {
        self.lanes.values().map(Lane::memory_bytes).sum()
    }

    /// A client begins to wait.
    pub fn begin_wait(&mut self) -> WaitId {
        self.last_wait = WaitId(self.last_wait.0 + 1);
        self.waits.insert(self.last_wait, 0);
        self.last_wait
    }

    /// A client no longer waits; what it has asked for is loaded nevertheless.
    pub fn end_wait(&mut self, wait: WaitId) {
        self.waits.remove(&wait);
    }

    /// The clients whose waiting has ended since the last call, with the error if there is one.
    pub fn take_ended(&mut self) -> Vec<(WaitId, Option<String>)> {
        std::mem::take(&mut self.ended)
    }

    /// True if there are any.
    pub fn has_ended(&self) -> bool {
        !self.ended.is_empty()
    }

    /// A key has another value than its document had: what is read of it at present may be older.
    pub fn see_written(&mut self, id: RegistrationId, key: &[u8]) {
        if let Some(lane) = self.lanes.get_mut(&id) {
            lane.see_written(key);
        }
    }

    /// What is read at present is of no use, and nothing is known of absent keys.
    pub fn begin_epoch(&mut self) {
        self.lanes.values_mut().for_each(Lane::begin_epoch);
    }

    /// The registration has other options, or none any more.
    pub fn changed(&mut self, id: RegistrationId) {
        if let Some(lane) = self.lanes.get_mut(&id) {
            lane.begin_epoch();
        }
    }

    pub(super) fn queue(&mut self, id: RegistrationId, key: &[u8]) {
        let Some(lane) = self.lanes.get_mut(&id) else { return };
        if lane.queue(key) && !lane.is_asking {
            self.ready.insert(id);
        }
    }

    pub(super) fn hold(&mut self, id: RegistrationId, key: &[u8], state: State) {
        if self.lanes.get_mut(&id).is_some_and(|lane| lane.set(key, state)) {
            self.held.push((id, key.into()));
        }
    }

    /// Ends the load of a key. Returns since when it was asked for, microseconds.
    pub(super) fn end(
        &mut self,
        id: RegistrationId,
        key: &[u8],
        error: Option<&str>,
    ) -> Option<u64> {
        let wanted = self.lanes.get_mut(&id)?.remove(key)?;
        for wait in wanted.waits() {
            let Some(left) = self.waits.get_mut(&wait) else { continue };
            *left = left.saturating_sub(1);
            if *left == 0 || error.is_some() {
                self.waits.remove(&wait);
                self.ended.push((wait, error.map(str::to_owned)));
            }
        }
        Some(wanted.since_us)
    }

    /// A find is no longer under way: the next one may begin.
    pub(super) fn free_lane(&mut self, find: FindId) {
        let Some(of) = self.finds.get_mut(&find).filter(|of| !of.is_received) else { return };
        of.is_received = true;
        self.asked -= of.keys.len();
        if let Some(lane) = self.lanes.get_mut(&of.registration_id) {
            lane.is_asking = false;
            if lane.has_queued() {
                self.ready.insert(of.registration_id);
            }
        }
    }

    pub(super) fn take_find(&mut self, find: FindId) -> Option<(RegistrationId, Vec<Arc<[u8]>>)> {
        self.free_lane(find);
        let of = self.finds.remove(&find)?;
        Some((of.registration_id, of.keys))
    }

    /// Drops what holds nothing.
    pub(super) fn tidy(&mut self) {
        self.lanes.retain(|_, lane| !lane.is_idle());
    }
}
