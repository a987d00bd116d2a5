//! Automatic retries of contested dead letters (refused by a unique index) after a write to their
//! namespace: it may have freed the value.

use std::collections::VecDeque;

use super::{Attempts, Parked};
use crate::core::backlog::Backlog;
use crate::core::backlog::dead_letters::{ContestedLetter, DeadLetter};
use crate::core::backlog::table::DirtyKey;
use crate::core::ids::{Db, RegistrationId};
use crate::core::registration::Namespace;

/// Maximum number of dead letters in one retry.
const AT_A_TIME: usize = 128;

impl Backlog {
    /// Schedules a retry of the contested dead letters of `namespace`, to which a document was
    /// written.
    pub(in crate::core::backlog) fn schedule_letter_retry(&mut self, namespace: &Namespace) {
        if self.dead.has_contested() {
            let left = self.contested_letters(namespace);
            if left > 0 {
                self.contested.contest(namespace).letters.left = left;
            }
        }
    }

    /// True if `namespace` has contested dead letters: one of them and a key that was refused just
    /// now may need each other's value.
    pub(super) fn has_letters(&self, namespace: &Namespace) -> bool {
        self.dead.has_contested()
            && !self.contested.leaves_letters
            && self.contested_letters(namespace) > 0
    }

    /// Schedules a retry of the dead letters of `namespace` together with the parked keys.
    pub(super) fn request_letter_retry(&mut self, namespace: &Namespace) {
        let left = self.contested_letters(namespace);
        let letters = &mut self.contested.contest(namespace).letters;
        (letters.left, letters.asked) = (left, left > 0);
    }

    /// Stops automatic retries, and keys waiting for them: nothing is replicated any more.
    pub fn stop_letter_retries(&mut self) {
        self.contested.leaves_letters = true;
        for contest in self.contested.contests.values_mut() {
            contest.letters.asked = false;
        }
    }

    /// When [`retry_contested`](Self::retry_contested) must be called, microseconds.
    pub fn letters_due_us(&self) -> Option<u64> {
        if !self.dead.has_contested() && !self.contested.is_waiting() {
            return None;
        }
        self.contested.contests.values().filter_map(|contest| contest.letters.due_us()).min()
    }

    /// Makes the keys of dead letters dirty whose retry is due at `now_us`, and returns them with
    /// their databases. The caller must propagate them to replicas and the AOF like WB.DEADLETTER
    /// RETRY.
    pub fn retry_contested(&mut self, now_us: u64) -> Vec<(Db, Vec<u8>)> {
        let due =
            self.contested.contests.iter().filter(|(_, contest)| {
                contest.letters.due_us().is_some_and(|due_us| due_us <= now_us)
            });
        let due: Vec<Namespace> = due.map(|(namespace, _)| namespace.clone()).collect();
        if due.is_empty() {
            return Vec::new();
        }
        self.fold(now_us);
        let mut retried = Vec::new();
        for namespace in due {
            for letter in self.next_letters(&namespace, now_us) {
                self.park_letter(&namespace, &letter, now_us, &mut retried);
            }
            // Keys that wait for others are sent together with the dead letters after their wait.
            if !self.contested.contest(&namespace).waiting {
                self.release(&namespace);
            }
        }
        self.changed = true;
        retried
    }

    /// The next dead letters of `namespace` to retry.
    fn next_letters(&mut self, namespace: &Namespace, now_us: u64) -> VecDeque<ContestedLetter> {
        let ids = self.letter_ids(namespace);
        let is_pressed = self.dirty.is_pressed();
        let letters = &mut self.contested.contest(namespace).letters;
        (letters.last_us, letters.asked) = (Some(now_us), false);
        if is_pressed {
            // A dead letter is kept anyway, while the dirty table may have no room for its key.
            return VecDeque::new();
        }
        let cursor = letters.cursor.take();
        let after = ids.iter().filter(|id| cursor.as_ref().is_none_or(|last| **id >= last.0));
        let mut next: VecDeque<ContestedLetter> = after
            .flat_map(|id| self.dead.contested_after(*id, cursor.as_ref()))
            .take(AT_A_TIME)
            .cloned()
            .collect();
        if next.len() < AT_A_TIME && cursor.is_some() {
            // Continue from the first one, without repeating any.
            let first = ids.iter().flat_map(|id| self.dead.contested_after(*id, None));
            let first = first.take_while(|letter| cursor.as_ref().is_some_and(|c| *letter <= c));
            next.extend(first.take(AT_A_TIME - next.len()).cloned());
        }
        let letters = &mut self.contested.contest(namespace).letters;
        letters.left = if next.is_empty() { 0 } else { letters.left.saturating_sub(next.len()) };
        letters.cursor = next.back().cloned();
        next
    }

    /// Makes the key of a dead letter dirty and parks it, unless it is dirty already.
    fn park_letter(
        &mut self,
        namespace: &Namespace,
        (id, db, key): &ContestedLetter,
        now_us: u64,
        retried: &mut Vec<(Db, Vec<u8>)>,
    ) {
        if self.dirty.kind_of(*db, key).is_some() {
            return;
        }
        let retained = self.dead.take_retained(*db, key);
        let Some(DeadLetter { kind, .. }) = self.dead.find(*db, key) else { return };
        let (kind, retained) = (*kind, retained.as_ref());
        // After all flushes and changes so far.
        let since_us = self.dirty.watermark_us(now_us);
        self.dirty.load(DirtyKey {
            db: *db,
            registration_id: *id,
            kind,
            since_us,
            key,
            retained,
            group: None,
        });
        let Some(taken) = self.dirty.take_one(*db, key) else { return };
        let contest = self.contested.contest(namespace);
        let wait = contest.wait;
        if !contest.parked.contains(id) {
            contest.parked.push(*id);
        }
        let attempts = Attempts::default();
        let parked = Parked { entry: taken.entry, since_us, wait, attempts, letter: true };
        self.contested.parked.entry(*id).or_default().push(parked);
        retried.push((*db, key.clone()));
    }

    /// Registrations of `namespace` with contested dead letters, without paused ones.
    fn letter_ids(&self, namespace: &Namespace) -> Vec<RegistrationId> {
        let ids = self.dead.contested_ids().filter(|id| {
            let active = self.active(*id);
            active.is_some_and(|active| active.registration.namespace == *namespace)
        });
        ids.filter(|id| !self.is_paused(*id)).collect()
    }

    /// Number of contested dead letters of these registrations.
    fn contested_letters(&self, namespace: &Namespace) -> usize {
        let ids = self.letter_ids(namespace);
        ids.iter().map(|id| self.dead.contested_count(*id)).sum()
    }
}
