//! WB.VERIFY: keys that are compared with their documents, without false alarms under writes.
//!
//! Only clean keys are compared. One that differs is written, if it is dirty by then, and compared again; it counts if
//! it differs once more, and was clean from the reading of its value to the comparison.

mod run;
mod state;

pub use self::run::Running;
use self::run::{Again, Run, Suspect};
pub use self::state::{Verifies, Verify, VerifyFigures};
use super::{Backlog, FlushScope, KeyList};
use crate::core::backlog::change_log::ChangeKind;
use crate::core::delivery::comparison::{Compared, Difference};
use crate::core::ids::{Db, LoadId, RegistrationId, RunId};
use crate::core::registration::args::verify::Verification;

/// Keys that are compared again at a time.
const AGAIN_KEYS: usize = 1000;
/// A key that is written again and again is not compared more often than this.
const MOST_TIMES: u8 = 20;
/// Names of keys of each kind that are shown.
const SHOWN: usize = 10;
/// Pause before a round of EVERY that has failed begins again, microseconds.
const AFTER_FAILURE_US: u64 = 1_000_000;

impl Backlog {
    /// Begins what WB.VERIFY asks for, in place of what it has asked for before.
    pub fn begin_verify(&mut self, id: RegistrationId, what: Verification, now_us: u64) {
        let verify = self.verifies.by_registration.entry(id).or_default();
        match what {
            Verification::Once(options) => {
                verify.once = Some(options);
                verify.figures = VerifyFigures::default();
            }
            Verification::Every(every_s) => {
                verify.every_s = every_s;
                verify.due_us = now_us;
            }
        }
        self.verifies.stop(id);
    }

    /// Ends what WB.VERIFY has asked for once. True if it had not ended.
    pub fn cancel_verify(&mut self, id: RegistrationId) -> bool {
        let Some(verify) = self.verifies.by_registration.get_mut(&id) else { return false };
        if verify.once.take().is_none() {
            return false;
        }
        "the verification was cancelled".clone_into(&mut verify.figures.error);
        self.verifies.stop(id);
        true
    }

    /// Begins the next run, if one is due and none is under way.
    pub fn next_run(&mut self, now_us: u64) -> Option<Running> {
        if self.verifies.run.is_some() || self.link.name() != "up" {
            return None;
        }
        let all =
            || self.verifies.by_registration.iter().filter(|(id, _)| self.registry.is_live(**id));
        let once = all().find(|(_, verify)| verify.once.is_some());
        let due = || all().find(|(_, verify)| verify.every_s > 0 && verify.due_us <= now_us);
        let id = *once.or_else(due)?.0;
        let verify = self.verifies.by_registration.get_mut(&id)?;
        let options = verify.once.unwrap_or_default();
        let round_us = if verify.once.is_some() { 0 } else { verify.every_s * 1_000_000 };
        verify.figures = VerifyFigures::default();
        verify.due_us = now_us.saturating_add(verify.every_s * 1_000_000);
        self.verifies.last = RunId(self.verifies.last.0 + 1);
        let running = Running { run: self.verifies.last, id, full: options.full, round_us };
        self.verifies.run = Some(Run::new(running, options));
        Some(running)
    }

    /// When [`next_run`](Self::next_run) has something to do, microseconds; `u64::MAX` for never.
    pub fn verifies_due_us(&self) -> u64 {
        if self.verifies.run.is_some() || self.link.name() != "up" {
            return u64::MAX;
        }
        let due = |(id, verify): (&RegistrationId, &Verify)| match verify {
            _ if !self.registry.is_live(*id) => None,
            Verify { once: Some(_), .. } => Some(0),
            Verify { every_s: 1.., due_us, .. } => Some(*due_us),
            Verify { .. } => None,
        };
        self.verifies.by_registration.iter().filter_map(due).min().unwrap_or(u64::MAX)
    }

    /// The number by which the worker lists the documents of a run.
    pub fn list_documents(&mut self) -> LoadId {
        self.loads.take_number()
    }

    /// Keys were not compared.
    pub fn verify_skipped(&mut self, count: u64) {
        if let Some(verify) = self.verified() {
            verify.figures.skipped += count;
        }
    }

    /// A key that must be compared again, or a document for which there may be no key.
    pub fn suspect(&mut self, key: &[u8]) {
        self.suspect_again(key.to_vec(), 0);
    }

    fn suspect_again(&mut self, key: Vec<u8>, times: u8) {
        if times >= MOST_TIMES {
            return self.verify_skipped(1);
        }
        if let Some(run) = &mut self.verifies.run {
            run.suspects.push_back(Suspect { key, times });
        }
    }

    fn verified(&mut self) -> Option<&mut Verify> {
        let id = self.verifies.run.as_ref()?.running.id;
        self.verifies.by_registration.get_mut(&id)
    }

    /// The keys that are to be read and compared again now: they were written, if they were dirty.
    pub fn compare_again(&mut self, db: Db, now_us: u64) -> Vec<Vec<u8>> {
        let Some(run) = &mut self.verifies.run else { return Vec::new() };
        if !run.again.is_empty() || run.suspects.is_empty() {
            return Vec::new();
        }
        match run.flush {
            None => {
                let first = run.suspects.iter().take(AGAIN_KEYS);
                let keys: Vec<Vec<u8>> = first.map(|suspect| suspect.key.clone()).collect();
                let names: Vec<&[u8]> = keys.iter().map(Vec::as_slice).collect();
                let flush = self.flush(FlushScope::Keys(db, &names), now_us);
                if let Some(run) = &mut self.verifies.run {
                    run.flush = Some((flush, keys.len()));
                }
                Vec::new()
            }
            Some((flush, count)) => {
                if !self.is_flushed(flush) {
                    return Vec::new();
                }
                self.end_flush(flush);
                let Some(run) = &mut self.verifies.run else { return Vec::new() };
                run.flush = None;
                let suspects = run.suspects.drain(..count.min(run.suspects.len()));
                let again = suspects.map(|Suspect { key, times }| {
                    (key, Again { has_changed: false, times: times + 1 })
                });
                run.again = again.collect();
                run.again.keys().cloned().collect()
            }
        }
    }

    /// True if [`compare_again`](Self::compare_again) has something to do at once.
    pub fn compares_again(&self) -> bool {
        self.verifies.run.as_ref().is_some_and(|run| {
            run.again.is_empty()
                && !run.suspects.is_empty()
                && run.flush.is_none_or(|(flush, _)| self.is_flushed(flush))
        })
    }

    /// A key that was to be compared again is not: it is to be written, or was refused.
    pub fn not_again(&mut self, key: &[u8]) {
        if let Some(run) = &mut self.verifies.run {
            run.again.remove(key);
        }
    }

    /// Keys have become clean: what was read of them before may be older than their documents.
    pub(super) fn verifies_see_written(&mut self, keys: &KeyList) {
        let Some(run) = &mut self.verifies.run else { return };
        if run.again.is_empty() && run.watched.is_none() {
            return;
        }
        for (_, key) in keys.iter() {
            if let Some((_, has_changed)) = run.watched.as_mut().filter(|(of, _)| of == key) {
                *has_changed = true;
            }
            if let Some(again) = run.again.get_mut(key) {
                again.has_changed = true;
            }
        }
    }

    /// The value of a key is read in steps from now on.
    pub fn watch_verified(&mut self, key: &[u8]) {
        if let Some(run) = &mut self.verifies.run {
            run.watched = Some((key.to_vec(), false));
        }
    }

    /// True if that key was not written since.
    pub fn is_unwritten(&self, key: &[u8]) -> bool {
        let run = self.verifies.run.as_ref();
        run.and_then(|run| run.watched.as_ref())
            .is_some_and(|(of, has_changed)| of == key && !has_changed)
    }

    /// Keys were compared. Returns those that are to be written again.
    pub fn compared(&mut self, compared: &Compared, now_us: u64) -> Vec<Vec<u8>> {
        let Compared { request, differences, uncomparable } = compared;
        let batch = &request.batch;
        let Some(run) = &mut self.verifies.run else { return Vec::new() };
        if run.running.run != request.run {
            return Vec::new();
        }
        let id = run.running.id;
        let keys = differences.iter().filter_map(|(index, how)| {
            batch.items.get(*index).map(|item| (batch.key(item).to_vec(), *how))
        });
        let keys: Vec<(Vec<u8>, Difference)> = keys.collect();
        if !request.is_again {
            keys.into_iter().for_each(|(key, _)| self.suspect_again(key, 0));
            let checked = (batch.items.len() as u64).saturating_sub(*uncomparable);
            self.verifies.verified_total += checked;
            if let Some(verify) = self.verified() {
                verify.figures.checked += checked;
                verify.figures.skipped += uncomparable;
                verify.verified_total += checked;
            }
            return Vec::new();
        }
        let again = std::mem::take(&mut run.again);
        let mut repaired = Vec::new();
        for (key, how) in keys {
            let Some(Again { has_changed, times }) = again.get(&key).copied() else { continue };
            if has_changed {
                self.suspect_again(key, times);
            } else if self.is_clean(id, batch.registration.db, &key, now_us) {
                repaired.extend(self.differs(&key, how));
            }
        }
        repaired
    }

    /// A key differs. Returns it if it is to be written again.
    fn differs(&mut self, key: &[u8], how: Difference) -> Option<Vec<u8>> {
        let repairs = self.verifies.run.as_ref().is_some_and(|run| run.options.repairs);
        let repairs = repairs && how != Difference::Extra;
        if how != Difference::Extra {
            self.verifies.different_total += 1;
        }
        let verify = self.verified()?;
        let figures = &mut verify.figures;
        let (count, at) = match how {
            Difference::Missing => (&mut figures.missing, 0),
            Difference::Different => (&mut figures.different, 1),
            Difference::Extra => (&mut figures.extra, 2),
        };
        *count += 1;
        if let Some(shown) = figures.keys.get_mut(at).filter(|shown| shown.len() < SHOWN) {
            shown.push(key.to_vec());
        }
        figures.repaired += u64::from(repairs);
        verify.different_total += u64::from(how != Difference::Extra);
        repairs.then(|| key.to_vec())
    }

    /// Marks a key to be written again.
    pub fn repair(&mut self, id: RegistrationId, key: &[u8], now_us: u64) {
        self.found(id, key, ChangeKind::Found, now_us);
    }

    /// A run has compared everything, or could not.
    pub fn end_run(&mut self, run: RunId, error: Option<String>, now_us: u64) {
        if self.verifies.running().is_none_or(|running| running.run != run) {
            return;
        }
        let flush = self.verifies.run.as_ref().and_then(|run| run.flush);
        if let Some((flush, _)) = flush {
            self.end_flush(flush);
        }
        if let Some(verify) = self.verified() {
            verify.once = None;
            match error {
                None => verify.whole_us = Some(now_us),
                Some(error) => {
                    verify.figures.error = error;
                    verify.due_us = verify.due_us.min(now_us + AFTER_FAILURE_US);
                }
            }
        }
        self.verifies.run = None;
    }
}
