//! Flush waiters: the dirty keys for which each flush waits, and their outcome.
//!
//! A waiter counts the keys of its scope that were dirty when it was added. Each key ends once for
//! it: when a value that was read after that is acknowledged or refused.
//!
//! If changes were missed, the keys cannot be counted. Then the waiter is suspended until scans
//! have found all keys that were missed before it was added, and counts the keys that are dirty at
//! that time.

use std::collections::HashMap;

use crate::core::ids::{EntryId, RegistrationId};

/// The keys for which a flush waits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Every dirty key.
    All,
    /// Dirty keys of one registration.
    Registration(RegistrationId),
    /// These entries of the dirty table.
    Keys(Vec<EntryId>),
}

/// The end of one key's write.
#[derive(Clone, Copy, Debug)]
pub struct KeyEnd {
    /// The key's entry.
    pub entry: EntryId,
    /// Its registration.
    pub registration_id: RegistrationId,
    /// Time of the change that was written, microseconds.
    pub since_us: u64,
    /// Time of a newer change, if there is one, microseconds.
    pub again_us: Option<u64>,
    /// False if the key became a dead letter or was dropped.
    pub persisted: bool,
}

#[derive(Debug)]
struct Waiter {
    scope: Scope,
    watermark_us: u64,
    pending: usize,
    persisted: u64,
    /// True while scans may still have to find keys of the scope.
    suspended: bool,
}

impl Waiter {
    fn is_done(&self) -> bool {
        self.pending == 0 && !self.suspended
    }
}

/// Progress of a flush.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FlushProgress {
    /// Keys acknowledged since the flush began.
    pub persisted: u64,
    /// Keys still to be acknowledged; at least 1 while scans may still have to find keys.
    pub pending: usize,
}

/// All flushes in progress.
#[derive(Debug, Default)]
pub struct Waiters {
    next: u64,
    waiters: HashMap<u64, Waiter>,
    by_entry: HashMap<EntryId, Vec<u64>>,
    done: Vec<u64>,
}

impl Waiters {
    /// True if no flush is in progress.
    #[cfg(test)]
    pub fn is_empty(&self) -> bool {
        self.waiters.is_empty()
    }

    /// Adds a waiter for the `pending` keys of `scope`, all dirty since `watermark_us` or longer.
    /// `suspended` if scans may still have to find some of them.
    pub fn add(&mut self, scope: Scope, watermark_us: u64, pending: usize, suspended: bool) -> u64 {
        let id = self.next;
        self.next += 1;
        if let Scope::Keys(entries) = &scope {
            for entry in entries {
                self.by_entry.entry(*entry).or_default().push(id);
            }
        }
        let waiter = Waiter { scope, watermark_us, pending, persisted: 0, suspended };
        if waiter.is_done() {
            self.done.push(id);
        }
        self.waiters.insert(id, waiter);
        id
    }

    /// Resumes suspended waiters for whose scope and watermark `missed` is false. They wait for the
    /// keys that are dirty now, at `now_us`; `dirty` is their number. Returns the scopes.
    pub fn resume(
        &mut self,
        now_us: u64,
        missed: impl Fn(&Scope, u64) -> bool,
        dirty: impl Fn(&Scope) -> usize,
    ) -> Vec<Scope> {
        let mut resumed = Vec::new();
        for (id, waiter) in &mut self.waiters {
            if !waiter.suspended || missed(&waiter.scope, waiter.watermark_us) {
                continue;
            }
            waiter.suspended = false;
            waiter.watermark_us = now_us;
            waiter.pending = dirty(&waiter.scope);
            resumed.push(waiter.scope.clone());
            if waiter.is_done() {
                self.done.push(*id);
            }
        }
        resumed
    }

    /// True if any waiter is suspended.
    pub fn has_suspended(&self) -> bool {
        self.waiters.values().any(|waiter| waiter.suspended)
    }

    /// Notifies the waiters that a key's write has ended.
    pub fn ended(&mut self, ended: KeyEnd) {
        if self.waiters.is_empty() {
            return;
        }
        let by_key = self.by_entry.get(&ended.entry).cloned().unwrap_or_default();
        for id in by_key {
            if self.notify(id, ended)
                && let Some(ids) = self.by_entry.get_mut(&ended.entry)
            {
                ids.retain(|other| *other != id);
                if ids.is_empty() {
                    self.by_entry.remove(&ended.entry);
                }
            }
        }
        let by_scope: Vec<u64> = self
            .waiters
            .iter()
            .filter(|(_, waiter)| match waiter.scope {
                Scope::All => true,
                Scope::Registration(registration_id) => registration_id == ended.registration_id,
                Scope::Keys(_) => false,
            })
            .map(|(id, _)| *id)
            .collect();
        for id in by_scope {
            self.notify(id, ended);
        }
    }

    /// A dirty key moved to another registration: waiters for its former registration stop counting
    /// it.
    pub fn moved(&mut self, registration_id: RegistrationId, since_us: u64) {
        for (id, waiter) in &mut self.waiters {
            if waiter.scope == Scope::Registration(registration_id)
                && since_us <= waiter.watermark_us
            {
                waiter.pending = waiter.pending.saturating_sub(1);
                if waiter.is_done() {
                    self.done.push(*id);
                }
            }
        }
    }

    /// Ends waiters whose scope has no dirty keys, except suspended ones.
    pub fn settle(&mut self, is_clean: impl Fn(&Scope) -> bool) {
        for (id, waiter) in &mut self.waiters {
            if waiter.pending > 0 && !waiter.suspended && is_clean(&waiter.scope) {
                waiter.pending = 0;
                self.done.push(*id);
            }
        }
    }

    /// Takes the ids of waiters that have ended, each once.
    pub fn done(&mut self) -> Vec<u64> {
        std::mem::take(&mut self.done)
    }

    /// Ends all waiters with their current progress: keys in flight will not be reported.
    pub fn abandon(&mut self) {
        self.done.extend(self.waiters.iter().filter(|(_, w)| !w.is_done()).map(|(id, _)| *id));
    }

    /// True if waiter `id` has ended.
    pub fn is_done(&self, id: u64) -> bool {
        self.waiters.get(&id).is_none_or(Waiter::is_done)
    }

    /// Removes waiter `id` and returns its progress.
    pub fn remove(&mut self, id: u64) -> Option<FlushProgress> {
        let waiter = self.waiters.remove(&id)?;
        if let Scope::Keys(entries) = &waiter.scope {
            for entry in entries {
                if let Some(ids) = self.by_entry.get_mut(entry) {
                    ids.retain(|other| *other != id);
                    if ids.is_empty() {
                        self.by_entry.remove(entry);
                    }
                }
            }
        }
        let pending = waiter.pending.max(usize::from(waiter.suspended));
        Some(FlushProgress { persisted: waiter.persisted, pending })
    }

    /// Updates waiter `id`; true if the key has ended for it.
    fn notify(&mut self, id: u64, ended: KeyEnd) -> bool {
        let Some(waiter) = self.waiters.get_mut(&id) else {
            return true;
        };
        if waiter.suspended {
            let finished = ended.again_us.is_none();
            waiter.pending = waiter.pending.saturating_sub(usize::from(finished));
            waiter.persisted += u64::from(ended.persisted && finished);
            return finished;
        }
        let counted = ended.since_us <= waiter.watermark_us;
        // The key changed again before the flush began, so the flush waits for that change, too.
        let unfinished = ended.again_us.is_some_and(|again_us| again_us <= waiter.watermark_us);
        if !counted || unfinished {
            return false;
        }
        waiter.pending = waiter.pending.saturating_sub(1);
        waiter.persisted += u64::from(ended.persisted);
        if waiter.pending == 0 {
            self.done.push(id);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ended(entry: EntryId, since_us: u64, again_us: Option<u64>) -> KeyEnd {
        KeyEnd { entry, registration_id: RegistrationId(1), since_us, again_us, persisted: true }
    }

    #[test]
    fn a_waiter_ends_with_its_last_key() {
        let mut waiters = Waiters::default();
        let id = waiters.add(Scope::All, 100, 2, false);
        waiters.ended(ended(EntryId(1), 90, None));
        assert!(waiters.done().is_empty());
        waiters.ended(KeyEnd { persisted: false, ..ended(EntryId(2), 100, None) });
        assert_eq!(waiters.done(), [id]);
        assert_eq!(waiters.remove(id), Some(FlushProgress { persisted: 1, pending: 0 }));
        assert!(waiters.is_empty());
    }

    #[test]
    fn keys_dirtied_later_are_not_waited_for() {
        let mut waiters = Waiters::default();
        let id = waiters.add(Scope::Registration(RegistrationId(1)), 100, 1, false);
        waiters.ended(ended(EntryId(1), 101, None));
        assert!(waiters.done().is_empty());
        waiters.ended(ended(EntryId(2), 50, Some(101)));
        assert_eq!(waiters.done(), [id]);
    }

    #[test]
    fn a_change_during_the_write_but_before_the_flush_is_waited_for() {
        let mut waiters = Waiters::default();
        let id = waiters.add(Scope::Keys(vec![EntryId(7)]), 100, 1, false);
        waiters.ended(ended(EntryId(7), 50, Some(99)));
        assert!(waiters.done().is_empty());
        waiters.ended(ended(EntryId(7), 99, None));
        assert_eq!(waiters.done(), [id]);
    }

    #[test]
    fn a_waiter_without_dirty_keys_ends_immediately() {
        let mut waiters = Waiters::default();
        let id = waiters.add(Scope::All, 100, 0, false);
        assert_eq!(waiters.done(), [id]);
    }

    #[test]
    fn keys_of_other_registrations_do_not_count_and_moved_keys_are_not_waited_for() {
        let mut waiters = Waiters::default();
        let id = waiters.add(Scope::Registration(RegistrationId(2)), 100, 1, false);
        waiters.ended(ended(EntryId(1), 50, None));
        assert!(waiters.done().is_empty());
        waiters.moved(RegistrationId(2), 50);
        assert_eq!(waiters.done(), [id]);
    }

    #[test]
    fn a_suspended_waiter_waits_for_the_keys_that_are_dirty_after_the_scan() {
        let mut waiters = Waiters::default();
        let id = waiters.add(Scope::Registration(RegistrationId(1)), 100, 1, true);
        waiters.ended(ended(EntryId(1), 50, None));
        waiters.ended(ended(EntryId(2), 120, None));
        assert!(waiters.done().is_empty(), "keys may still have to be found");
        assert!(waiters.resume(150, |_, watermark_us| watermark_us == 100, |_| 0).is_empty());
        assert!(!waiters.is_done(id) && waiters.has_suspended());
        assert_eq!(
            waiters.resume(150, |_, _| false, |_| 2),
            [Scope::Registration(RegistrationId(1))]
        );
        waiters.ended(ended(EntryId(3), 140, None));
        waiters.ended(ended(EntryId(4), 151, None));
        assert!(waiters.done().is_empty());
        waiters.ended(ended(EntryId(5), 150, None));
        assert_eq!(waiters.done(), [id]);
        assert_eq!(waiters.remove(id), Some(FlushProgress { persisted: 4, pending: 0 }));
    }

    #[test]
    fn an_abandoned_suspended_waiter_reports_a_pending_key() {
        let mut waiters = Waiters::default();
        let id = waiters.add(Scope::All, 100, 0, true);
        assert!(waiters.done().is_empty());
        waiters.abandon();
        assert_eq!(waiters.done(), [id]);
        assert_eq!(waiters.remove(id), Some(FlushProgress { persisted: 0, pending: 1 }));
    }

    #[test]
    fn a_removed_waiter_is_not_notified() {
        let mut waiters = Waiters::default();
        let id = waiters.add(Scope::Keys(vec![EntryId(1)]), 100, 1, false);
        assert_eq!(waiters.remove(id), Some(FlushProgress { persisted: 0, pending: 1 }));
        waiters.ended(ended(EntryId(1), 50, None));
        assert!(waiters.done().is_empty());
        assert_eq!(waiters.remove(id), None);
    }
}
