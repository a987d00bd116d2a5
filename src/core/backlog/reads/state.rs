//! The keys that are asked for, the clients that wait for them, and how their waiting ends.

use std::collections::{BTreeSet, HashMap, VecDeque};
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
    /// It is of no use; the key is asked for again, or no client waits for it.
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

/// Held keys, and when they are looked at, microseconds.
pub type HeldKeys = VecDeque<(u64, RegistrationId, Arc<[u8]>)>;

/// A client that waits.
#[derive(Debug, Default)]
pub struct Wait {
    /// Number of keys that it waits for.
    pub left: usize,
    /// Those that have no document.
    pub absent: Vec<Arc<[u8]>>,
}

/// A client whose waiting has ended.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Ended {
    /// The client.
    pub wait: WaitId,
    /// The error for it, with its code.
    pub error: Option<String>,
    /// The keys that have no document.
    pub absent: Vec<Arc<[u8]>>,
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
    /// Number of keys in lanes.
    pub(super) wanted: usize,
    /// Keys that are held until MongoDB has their last state, by the time at which they are looked at again. Those in
    /// the first list cannot be asked for although they are not dirty; the others are asked for as soon as they are
    /// acknowledged, and looked at only to be safe.
    pub(super) held: [HeldKeys; 2],
    /// Held keys whose last state MongoDB has, or has refused.
    pub(super) released: Vec<(RegistrationId, Arc<[u8]>)>,
    /// Keys that could not be loaded behind commands that did not wait.
    pub(super) unloaded: Vec<(RegistrationId, Arc<[u8]>)>,
    pub(super) waits: HashMap<WaitId, Wait, RandomState>,
    ended: Vec<Ended>,
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
        self.waits.insert(self.last_wait, Wait::default());
        self.last_wait
    }

    /// A client no longer waits; what it has asked for is loaded if it is asked for already.
    pub fn end_wait(&mut self, wait: WaitId) {
        self.waits.remove(&wait);
    }

    /// The clients whose waiting has ended since the last call.
    pub fn take_ended(&mut self) -> Vec<Ended> {
        std::mem::take(&mut self.ended)
    }

    /// A key has another value than its document had: what is read of it at present may be older.
    pub fn see_written(&mut self, id: RegistrationId, key: &[u8]) {
        let held = self.lanes.get_mut(&id).and_then(|lane| lane.see_written(key));
        self.released.extend(held.map(|key| (id, key)));
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

    pub(super) fn hold(&mut self, id: RegistrationId, key: &[u8], (list, at_us): (usize, u64)) {
        if self.lanes.get_mut(&id).is_some_and(|lane| lane.set(key, State::Held))
            && let Some(held) = self.held.get_mut(list)
        {
            held.push_back((at_us, id, key.into()));
        }
    }

    /// True if a client waits for a key, or it is loaded behind one.
    pub(super) fn is_awaited(&self, id: RegistrationId, key: &[u8]) -> bool {
        let wanted = self.lanes.get(&id).and_then(|lane| lane.get(key));
        wanted.is_some_and(|of| of.is_awaited(|wait| self.waits.contains_key(wait)))
    }

    /// Ends the load of a key. Returns since when it was asked for, microseconds.
    pub(super) fn end(&mut self, id: RegistrationId, key: &[u8], end: &LoadEnd) -> Option<u64> {
        let (key, wanted) = self.lanes.get_mut(&id)?.remove(key)?;
        self.wanted -= 1;
        let error = match end {
            LoadEnd::Failed(error) => Some(error),
            _ => None,
        };
        for of in wanted.waits() {
            let Some(wait) = self.waits.get_mut(&of) else { continue };
            wait.left = wait.left.saturating_sub(1);
            if *end == LoadEnd::Absent {
                wait.absent.push(Arc::clone(&key));
            }
            if (wait.left == 0 || error.is_some())
                && let Some(Wait { absent, .. }) = self.waits.remove(&of)
            {
                self.ended.push(Ended { wait: of, error: error.cloned(), absent });
            }
        }
        if wanted.is_behind && matches!(end, LoadEnd::Failed(_) | LoadEnd::Unknown) {
            self.unloaded.push((id, key));
        }
        Some(wanted.since_us)
    }

    /// A find is no longer under way: the next one may begin.
    pub(super) fn free_lane(&mut self, find: FindId) {
        let Some(of) = self.finds.get_mut(&find).filter(|of| !of.is_received) else { return };
        of.is_received = true;
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
        self.asked -= of.keys.len();
        Some((of.registration_id, of.keys))
    }

    /// Drops what holds nothing.
    pub(super) fn tidy(&mut self) {
        self.lanes.retain(|_, lane| !lane.is_idle());
    }
}
