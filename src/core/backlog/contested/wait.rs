//! The wait of parked keys: for what, when it is over, and what follows.

use super::{Contest, Contested, Pending};
use crate::core::backlog::Backlog;
use crate::core::registration::Namespace;

impl Contested {
    /// The contest of a namespace.
    pub(super) fn contest(&mut self, namespace: &Namespace) -> &mut Contest {
        self.contests.entry(namespace.clone()).or_default()
    }

    /// True if a wait is under way.
    pub fn is_waiting(&self) -> bool {
        self.waiting > 0
    }
}

impl Backlog {
    /// The registrations of a namespace, without those that are paused.
    pub(super) fn slots_of(&mut self, namespace: &Namespace) -> Vec<u16> {
        let version = self.registry.version();
        let known = self.contested.contests.get(namespace).map(|contest| &contest.registrations);
        let slots = match known.filter(|known| known.0 == version) {
            Some((_, slots)) => slots.clone(),
            None => {
                let is_of = |slot: &u16| {
                    let bound = self.registry.at(*slot);
                    bound.is_some_and(|bound| bound.registration.namespace == *namespace)
                };
                let slots: Vec<u16> = self.registry.numbers().filter(is_of).collect();
                self.contested.contest(namespace).registrations = (version, slots.clone());
                slots
            }
        };
        slots.into_iter().filter(|slot| !self.is_paused(*slot)).collect()
    }

    /// Begins a wait for what is dirty now in these registrations, unless one is under way.
    pub(super) fn begin_wait(&mut self, namespace: &Namespace, slots: Vec<u16>, now_us: u64) {
        let contest = self.contested.contest(namespace);
        if contest.waiting {
            return;
        }
        contest.waiting = true;
        contest.wait += 1;
        contest.slots.clone_from(&slots);
        self.contested.waiting += 1;
        let watermark_us = self.dirty.watermark_us(now_us);
        for slot in slots {
            let keys = self.unparked(slot);
            self.contested.pending.insert(slot, Pending { watermark_us, keys });
            self.dirty.flush(slot, watermark_us);
        }
        self.changed = true;
    }

    /// Dirty keys of `slot` that are not parked.
    fn unparked(&self, slot: u16) -> usize {
        self.dirty.queue(slot).dirty().saturating_sub(self.contested.parked_len(slot))
    }

    /// True if parked keys can go out.
    pub(in crate::core::backlog) fn has_ended_wait(&self) -> bool {
        self.contested.is_waiting()
            && self.contested.contests.values().any(|contest| self.has_ended(contest))
    }

    fn has_ended(&self, contest: &Contest) -> bool {
        // The letters of the namespace go out with the parked keys.
        contest.waiting
            && !contest.letters.is_asked()
            && contest.slots.iter().all(|slot| self.is_written(*slot))
    }

    /// True if everything is written of `slot` that a wait is for.
    fn is_written(&self, slot: u16) -> bool {
        if self.is_paused(slot) || self.slot(slot).is_none() {
            return true;
        }
        let pending = self.contested.pending.get(&slot).map_or(0, |pending| pending.keys);
        (pending == 0 || self.unparked(slot) == 0) && !self.dirty.has_missed(slot)
    }

    /// Releases the parked keys whose wait is over.
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

    /// Lets all parked keys of a namespace go out together.
    pub(super) fn release(&mut self, namespace: &Namespace) {
        let contest = self.contested.contest(namespace);
        let (slots, parked) =
            (std::mem::take(&mut contest.slots), std::mem::take(&mut contest.parked));
        if std::mem::take(&mut contest.waiting) {
            self.contested.waiting -= 1;
        }
        for slot in slots {
            self.contested.pending.remove(&slot);
        }
        for slot in parked {
            let keys = self.contested.parked.remove(&slot).unwrap_or_default();
            let discards = self.slot(slot).is_none_or(|bound| !bound.live && bound.discards);
            if !discards && !self.is_paused(slot) {
                self.contested.together.entry(slot).or_default().extend(keys);
                self.dirty.stir(slot);
                continue;
            }
            for parked in keys.iter().rev() {
                self.dirty.give_back(parked.entry, parked.since_us);
            }
            self.retire_if_done(slot);
        }
    }

    /// Parked keys of registrations that are paused now wait in their queues, like all others.
    pub(in crate::core::backlog) fn unpark_paused(&mut self) {
        let slots = self.contested.parked.keys().chain(self.contested.together.keys());
        let paused: Vec<u16> = slots.copied().filter(|slot| self.is_paused(*slot)).collect();
        for slot in paused {
            let parked = self.contested.parked.remove(&slot).unwrap_or_default();
            let released = self.contested.together.remove(&slot).unwrap_or_default();
            for parked in released.iter().chain(&parked).rev() {
                self.dirty.give_back(parked.entry, parked.since_us);
            }
            self.dirty.stir(slot);
        }
    }
}
