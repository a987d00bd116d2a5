//! Waits of parked keys: for which keys, when a wait has ended, and the release after it.

use super::{Contest, ContestedKeys, Pending};
use crate::core::backlog::Backlog;
use crate::core::ids::RegistrationId;
use crate::core::registration::Namespace;

impl ContestedKeys {
    /// The contest of a namespace.
    pub(super) fn contest(&mut self, namespace: &Namespace) -> &mut Contest {
        self.contests.entry(namespace.clone()).or_default()
    }

    /// True if a wait is in progress.
    pub fn is_waiting(&self) -> bool {
        self.waiting > 0
    }
}

impl Backlog {
    /// The registrations of a namespace, without those that are paused.
    pub(super) fn ids_of(&mut self, namespace: &Namespace) -> Vec<RegistrationId> {
        let version = self.registry.version();
        let known = self.contested.contests.get(namespace).map(|contest| &contest.registrations);
        let ids = match known.filter(|known| known.0 == version) {
            Some((_, ids)) => ids.clone(),
            None => {
                let is_of = |id: &RegistrationId| {
                    let active = self.registry.at(*id);
                    active.is_some_and(|active| active.registration.namespace == *namespace)
                };
                let ids: Vec<RegistrationId> = self.registry.ids().filter(is_of).collect();
                self.contested.contest(namespace).registrations = (version, ids.clone());
                ids
            }
        };
        ids.into_iter().filter(|id| !self.is_paused(*id)).collect()
    }

    /// Begins a wait for the keys of these registrations that are dirty now, unless one is in
    /// progress.
    pub(super) fn begin_wait(
        &mut self,
        namespace: &Namespace,
        ids: Vec<RegistrationId>,
        now_us: u64,
    ) {
        let contest = self.contested.contest(namespace);
        if contest.waiting {
            return;
        }
        contest.waiting = true;
        contest.wait += 1;
        contest.ids.clone_from(&ids);
        self.contested.waiting += 1;
        let watermark_us = self.dirty.watermark_us(now_us);
        for id in ids {
            let keys = self.unparked(id);
            self.contested.pending.insert(id, Pending { watermark_us, keys });
            self.dirty.flush(id, watermark_us);
        }
        self.changed = true;
    }

    /// Dirty keys of `id` that are not parked.
    fn unparked(&self, id: RegistrationId) -> usize {
        self.dirty.queue(id).dirty().saturating_sub(self.contested.parked_len(id))
    }

    /// True if parked keys can be sent.
    pub(in crate::core::backlog) fn has_ended_wait(&self) -> bool {
        self.contested.is_waiting()
            && self.contested.contests.values().any(|contest| self.has_ended(contest))
    }

    fn has_ended(&self, contest: &Contest) -> bool {
        // Dead letters of the namespace are sent together with the parked keys.
        contest.waiting
            && !contest.letters.is_asked()
            && contest.ids.iter().all(|id| self.is_written(*id))
    }

    /// True if all keys of `id` for which a wait was begun are written.
    fn is_written(&self, id: RegistrationId) -> bool {
        if self.is_paused(id) || self.active(id).is_none() {
            return true;
        }
        let pending = self.contested.pending.get(&id).map_or(0, |pending| pending.keys);
        (pending == 0 || self.unparked(id) == 0) && !self.dirty.has_missed(id)
    }

    /// Releases the parked keys whose wait has ended.
    pub(in crate::core::backlog) fn release_parked(&mut self) {
        if !self.has_ended_wait() {
            return;
        }
        let ended = self.contested.contests.iter().filter(|(_, contest)| self.has_ended(contest));
        let ended: Vec<Namespace> = ended.map(|(namespace, _)| namespace.clone()).collect();
        for namespace in ended {
            self.release(&namespace);
        }
    }

    /// Releases all parked keys of a namespace, to be sent together.
    pub(super) fn release(&mut self, namespace: &Namespace) {
        let contest = self.contested.contest(namespace);
        let (ids, parked) = (std::mem::take(&mut contest.ids), std::mem::take(&mut contest.parked));
        if std::mem::take(&mut contest.waiting) {
            self.contested.waiting -= 1;
        }
        for id in ids {
            self.contested.pending.remove(&id);
        }
        for id in parked {
            let keys = self.contested.parked.remove(&id).unwrap_or_default();
            let discards = self.active(id).is_none_or(|active| !active.live && active.discards);
            if !discards && !self.is_paused(id) {
                self.contested.together.entry(id).or_default().extend(keys);
                self.dirty.reschedule(id);
                continue;
            }
            for parked in keys.iter().rev() {
                self.dirty.requeue_front(parked.entry, parked.since_us);
            }
            self.retire_if_done(id);
        }
    }

    /// Returns parked keys of paused registrations to their queues.
    pub(in crate::core::backlog) fn unpark_paused(&mut self) {
        let ids = self.contested.parked.keys().chain(self.contested.together.keys());
        let paused: Vec<RegistrationId> = ids.copied().filter(|id| self.is_paused(*id)).collect();
        for id in paused {
            let parked = self.contested.parked.remove(&id).unwrap_or_default();
            let released = self.contested.together.remove(&id).unwrap_or_default();
            for parked in released.iter().chain(&parked).rev() {
                self.dirty.requeue_front(parked.entry, parked.since_us);
            }
            self.dirty.reschedule(id);
        }
    }
}
