//! Finds: which keys are asked for together, and what becomes of their documents.

use std::sync::Arc;

use super::counts::ReadCounts;
use super::lane::{State, Wanted};
use super::state::{Fate, Find, LoadEnd, Standing};
use crate::core::backlog::{Backlog, registry};
use crate::core::delivery::page::{FindRequest, ReadFailure};
use crate::core::ids::{Db, FindId, RegistrationId};
use crate::core::registration::ReadThrough;
use crate::core::settings::Settings;

/// Maximum number of keys of one find.
const FIND_KEYS: usize = 256;

impl Backlog {
    /// The next documents to read; nothing while MongoDB is not reached.
    pub fn next_find(&mut self) -> Option<FindRequest> {
        let most = usize::try_from(self.settings.read_max_loads).unwrap_or(1);
        let room = most.saturating_sub(self.reads.asked).min(FIND_KEYS);
        if room == 0 || self.reads.ready.is_empty() || self.link.name() != "up" {
            return None;
        }
        loop {
            let next = registry::next_after(&self.reads.ready, self.reads.last_lane, |_| true)?;
            self.reads.last_lane = next;
            self.reads.ready.remove(&next);
            let find = FindId(self.reads.last_find.0 + 1);
            let Some(lane) = self.reads.lanes.get_mut(&next) else { continue };
            let waits = &self.reads.waits;
            let is_awaited = |wanted: &Wanted| wanted.is_awaited(|wait| waits.contains_key(wait));
            let (keys, dropped) = lane.take_queued(room, find, is_awaited);
            self.reads.wanted -= dropped;
            if keys.is_empty() {
                continue;
            }
            let registration = self.registry.at(next)?.registration.clone();
            self.reads.last_find = find;
            self.reads.asked += keys.len();
            let of = Find { registration_id: next, keys: keys.clone(), is_received: false };
            self.reads.finds.insert(find, of);
            // Longer than clients wait, so that the next one finds the key.
            let Settings { through_timeout_ms, write_timeout_ms, .. } = self.settings;
            let within_ms = through_timeout_ms.max(write_timeout_ms).unsigned_abs();
            return Some(FindRequest { find, registration, keys, within_ms });
        }
    }

    /// The registration of a find, with its database and options; `None` if it has ended.
    pub fn find_registration(&self, find: FindId) -> Option<(RegistrationId, Db, ReadThrough)> {
        let id = self.reads.finds.get(&find)?.registration_id;
        let registration = &self.active(id)?.registration;
        Some((id, registration.db, registration.read_through?))
    }

    /// MongoDB has replied: the next find of the registration may begin.
    pub fn find_received(&mut self, find: FindId) {
        self.reads.free_lane(find);
    }

    /// What is to be done with the document of a key of `find`.
    pub fn read_fate(&mut self, id: RegistrationId, find: FindId, key: &[u8], now_us: u64) -> Fate {
        self.fold_logged(|| now_us);
        let state = self.reads.lanes.get(&id).and_then(|lane| lane.state(key));
        let Some(State::Asked { is_stale, .. }) = state.filter(|state| state.is_of(find)) else {
            return Fate::Drop;
        };
        let db = self.active(id).map(|active| active.registration.db);
        let is_usable = db.is_some_and(|db| {
            !is_stale
                && self.reads_through(db, key) == Some(id)
                && self.read_standing(db, key) == Standing::Clean
        });
        if is_usable {
            return Fate::Store;
        }
        self.read_again(id, key, now_us);
        Fate::Drop
    }

    /// Ends the load of a key.
    pub fn end_read(&mut self, id: RegistrationId, key: &[u8], end: LoadEnd, now_us: u64) {
        let Some(since_us) = self.reads.end(id, key, &end) else { return };
        let took_us = now_us.saturating_sub(since_us);
        match end {
            LoadEnd::Stored => {
                self.reads.counts.loads += 1;
                if let Some(active) = self.active_mut(id) {
                    active.reads.loaded(took_us, now_us);
                }
            }
            LoadEnd::Absent => {
                self.count_reads(id, |counts| counts.absent += 1);
                let of = self.active(id).and_then(|active| active.registration.read_through);
                if let Some(absent_ms @ 1..) = of.map(|of| of.absent_ms) {
                    let until_us = now_us.saturating_add(absent_ms * 1000);
                    self.reads.lanes.entry(id).or_default().absent.insert(key, now_us, until_us);
                }
            }
            LoadEnd::Failed(_) => self.count_reads(id, |counts| counts.failed += 1),
            LoadEnd::Unknown => {}
        }
    }

    /// A find has ended: all its keys that are not loaded have no document, if `is_complete`, or else are asked for
    /// again.
    pub fn find_ended(&mut self, find: FindId, is_complete: bool, now_us: u64) {
        let Some((id, keys)) = self.reads.take_find(find) else { return };
        for key in keys {
            let state = self.reads.lanes.get(&id).and_then(|lane| lane.state(&key));
            if !state.is_some_and(|state| state.is_of(find)) {
                continue;
            }
            if !is_complete {
                self.read_again(id, &key, now_us);
            } else if self.read_fate(id, find, &key, now_us) == Fate::Store {
                self.end_read(id, &key, LoadEnd::Absent, now_us);
            }
        }
        self.reads.tidy();
    }

    /// A find has failed: so do the loads of its keys.
    pub fn find_failed(&mut self, find: FindId, failure: &ReadFailure, now_us: u64) {
        let Some((id, keys)) = self.reads.take_find(find) else { return };
        let error = &failure.error;
        for key in keys {
            let state = self.reads.lanes.get(&id).and_then(|lane| lane.state(&key));
            if state.is_some_and(|state| state.is_of(find)) {
                let error = format!(
                    "WBDOWN MongoDB did not return the document of a key that Redis does not have: {error}"
                );
                self.end_read(id, &key, LoadEnd::Failed(error), now_us);
            }
        }
        self.reads.tidy();
    }

    /// MongoDB is not reached any more: all loads fail.
    pub fn reads_lose_link(&mut self, now_us: u64) {
        if self.link.name() != "down" {
            return;
        }
        let error = format!(
            "WBDOWN MongoDB is not reached, and Redis does not have the key: {}",
            self.link.error()
        );
        self.end_reads(None, &LoadEnd::Failed(error), now_us);
    }

    /// Ends all loads, or those of one registration.
    pub fn end_reads(&mut self, of: Option<RegistrationId>, end: &LoadEnd, now_us: u64) {
        let lanes = self.reads.lanes.iter().filter(|(id, _)| of.is_none_or(|of| of == **id));
        let all: Vec<(RegistrationId, Arc<[u8]>)> =
            lanes.flat_map(|(id, lane)| lane.all().map(|key| (*id, key.into()))).collect();
        for (id, key) in all {
            self.end_read(id, &key, end.clone(), now_us);
        }
        let is_other = |id: RegistrationId| of.is_some_and(|of| of != id);
        self.reads.held.iter_mut().for_each(|held| held.retain(|(_, id, _)| is_other(*id)));
        self.reads.tidy();
    }

    pub(super) fn count_reads(&mut self, id: RegistrationId, count: impl Fn(&mut ReadCounts)) {
        count(&mut self.reads.counts);
        if let Some(active) = self.active_mut(id) {
            count(&mut active.reads.counts);
        }
    }

    /// Counts a key that a command looked for.
    #[inline]
    pub fn count_read(&mut self, id: RegistrationId, is_hit: bool) {
        self.count_reads(id, |counts| {
            let counter = if is_hit { &mut counts.hits } else { &mut counts.misses };
            *counter += 1;
        });
    }

    /// Counts a missing key that a command could not wait for.
    pub fn count_unloaded(&mut self, id: RegistrationId) {
        self.count_reads(id, |counts| counts.unloaded += 1);
    }

    /// Counts a key that was evicted.
    pub fn count_evicted(&mut self, id: RegistrationId) {
        self.count_reads(id, |counts| counts.evicted += 1);
    }
}
