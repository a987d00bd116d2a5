//! What is verified of each registration.

use std::collections::HashMap;

use super::run::{Run, Running};
use crate::core::ids::{RegistrationId, RunId};
use crate::core::registration::args::verify::VerifyOptions;

/// While so many keys wait to be compared again, no others are compared.
const MOST_SUSPECTS: usize = 2000;

/// The result of the current or the last run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VerifyFigures {
    /// Keys that were compared.
    pub checked: u64,
    /// Keys that were not: they are to be written, were refused, or no document can hold them.
    pub skipped: u64,
    /// Keys without documents.
    pub missing: u64,
    /// Keys whose documents differ.
    pub different: u64,
    /// Documents without keys; looked for with FULL only.
    pub extra: u64,
    /// Keys that were marked to be written again.
    pub repaired: u64,
    /// Why it has ended early; empty if it has not.
    pub error: String,
    /// The first keys that are missing, different and extra.
    pub keys: [Vec<Vec<u8>>; 3],
}

/// What is verified of a registration.
#[derive(Debug, Default)]
pub struct Verify {
    /// What was asked for, until it has ended.
    pub(super) once: Option<VerifyOptions>,
    /// Seconds between the beginnings of two rounds; 0 for none.
    pub every_s: u64,
    /// When the next round begins, microseconds.
    pub(super) due_us: u64,
    /// The result of the current or the last run.
    pub figures: VerifyFigures,
    /// Keys compared since the module was loaded.
    pub verified_total: u64,
    /// Those that were missing or different.
    pub different_total: u64,
    /// When the last whole round ended, microseconds.
    pub whole_us: Option<u64>,
}

impl Verify {
    /// True until what was asked for has ended.
    pub fn is_pending(&self) -> bool {
        self.once.is_some()
    }

    /// The age of the last whole round, milliseconds; 0 without one.
    pub fn age_ms(&self, now_us: u64) -> u64 {
        self.whole_us.map_or(0, |whole_us| now_us.saturating_sub(whole_us) / 1000)
    }
}

/// The verifications of all registrations. One run is under way at a time.
#[derive(Debug, Default)]
pub struct Verifies {
    pub(super) by_registration: HashMap<RegistrationId, Verify>,
    pub(super) run: Option<Run>,
    pub(super) last: RunId,
    /// The totals of all registrations, including removed ones.
    pub verified_total: u64,
    /// As above.
    pub different_total: u64,
}

impl Verifies {
    /// The verification of a registration.
    pub fn get(&self, id: RegistrationId) -> Option<&Verify> {
        self.by_registration.get(&id)
    }

    /// The run that is under way.
    pub fn running(&self) -> Option<Running> {
        self.run.as_ref().map(|run| run.running)
    }

    /// True if no more keys are to be read for the run at present.
    pub fn is_busy(&self) -> bool {
        self.run.as_ref().is_some_and(|run| run.suspects.len() >= MOST_SUSPECTS)
    }

    /// True if no key of the run is to be compared again, or is being compared again.
    pub fn is_settled(&self) -> bool {
        self.run.as_ref().is_none_or(Run::is_settled)
    }

    pub fn remove(&mut self, id: RegistrationId) {
        self.by_registration.remove(&id);
        self.stop(id);
    }

    /// The registration has other options: its run begins again.
    pub fn changed(&mut self, id: RegistrationId) {
        self.stop(id);
    }

    pub fn stop(&mut self, id: RegistrationId) {
        self.run.take_if(|run| run.running.id == id);
    }

    /// The role has changed, or other data was loaded.
    pub fn begin_epoch(&mut self) {
        self.run = None;
        for verify in self.by_registration.values_mut() {
            verify.due_us = 0;
        }
    }

    pub fn clear(&mut self) {
        self.run = None;
        self.by_registration.clear();
    }

    /// The registrations with EVERY.
    pub fn every(&self) -> impl Iterator<Item = (RegistrationId, u64)> {
        let all = self.by_registration.iter().map(|(id, verify)| (*id, verify.every_s));
        all.filter(|(_, every_s)| *every_s > 0)
    }

    pub fn set_every(&mut self, id: RegistrationId, every_s: u64) {
        self.by_registration.entry(id).or_default().every_s = every_s;
    }
}
