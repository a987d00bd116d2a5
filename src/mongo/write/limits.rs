//! How long MongoDB may take for a command, and how many operations a command has.
//!
//! The setting is for a single operation that was tried before. A command of a batch gets less at
//! first, so that one document which cannot be written holds up the others of its batch for a short
//! time only. What takes longer in a namespace as a rule is learned, and gets more.

use std::collections::HashMap;
use std::time::Duration;

use super::judge::Applied;
use crate::core::registration::Namespace;

/// The first command of a batch gets this part of the setting.
const FIRST: u32 = 8;
/// No command gets less than this part of it.
const LEAST: u32 = 100;
/// Nor less than this.
const LEAST_TIME: Duration = Duration::from_millis(20);
/// A command may take so many times as long as its operations took recently.
const FACTOR: f64 = 8.0;
/// And so many microseconds more for each of its bytes: 4 MB a second.
const US_PER_BYTE: f64 = 0.25;
/// After as many troubled batches the limits have grown as far as the setting lets them.
const MOST_TROUBLES: u32 = 8;
/// A quarter of this is the most operations of a command after the first troubled batch, a quarter
/// of that after the next.
const OPS_IN_TROUBLE: usize = 1024;
/// Batches that get all of the time after the members were slow to confirm a command.
const PATIENT_BATCHES: u32 = 64;

/// What is known of one namespace.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Speed {
    /// What an operation took recently, microseconds; 0 when nothing is known.
    us_per_op: f64,
    /// Batches in a row of which nothing could be written in time.
    troubles: u32,
    /// Documents were written since a batch without any.
    proven: bool,
}

/// What is known of all namespaces.
#[derive(Debug, Default)]
pub struct Speeds {
    of: HashMap<Namespace, Speed>,
    /// So many batches still get all of the time.
    patient: u32,
}

impl Speeds {
    /// The limits of a batch for `namespace`, whose key was blocked `retry` times.
    pub fn limits(&mut self, namespace: &Namespace, within: Duration, retry: u32) -> Limits {
        let speed = self.of.get(namespace).copied().unwrap_or_default();
        let patient = self.patient > 0;
        self.patient = self.patient.saturating_sub(1);
        Limits { within, speed, retry, patient, unconfirmed: false }
    }

    /// The batch ended: this was applied, and `returned` tells whether something came back because the
    /// time was too short.
    pub fn learn(
        &mut self,
        namespace: &Namespace,
        limits: &Limits,
        applied: Applied,
        returned: bool,
    ) {
        if limits.unconfirmed {
            self.patient = PATIENT_BATCHES;
        }
        if !self.of.contains_key(namespace) {
            self.of.insert(namespace.clone(), Speed::default());
        }
        let Some(speed) = self.of.get_mut(namespace) else { return };
        // Another batch may have ended meanwhile.
        speed.us_per_op = limits.speed.us_per_op;
        let progress = !applied.is_empty();
        if progress && limits.retry == 0 {
            speed.troubles = 0;
        } else if returned && limits.retry == 0 {
            speed.troubles = (limits.speed.troubles + 1).min(MOST_TROUBLES);
        }
        if applied.written > 0 {
            speed.proven = true;
        } else if !progress && limits.retry == 0 {
            speed.proven = false;
        }
    }
}

/// The limits of one batch.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    within: Duration,
    speed: Speed,
    retry: u32,
    patient: bool,
    unconfirmed: bool,
}

impl Limits {
    /// Limits of which nothing is known but the setting.
    pub fn new(within: Duration) -> Self {
        let speed = Speed::default();
        Limits { within, speed, retry: 0, patient: false, unconfirmed: false }
    }

    /// The limits of the next batch of the namespace.
    #[cfg(test)]
    pub fn carry_on(&mut self, applied: Applied, returned: bool) {
        let mut speeds = Speeds::default();
        let namespace = Namespace { database: String::new(), collection: String::new() };
        speeds.learn(&namespace, self, applied, returned);
        *self = speeds.limits(&namespace, self.within, 0);
    }

    /// Whether the batch is a key that was blocked, and others were written since.
    pub fn is_proven(&self) -> bool {
        self.retry > 0 && self.speed.proven
    }

    /// The most that any command may take.
    pub fn longest(&self) -> Duration {
        self.within
    }

    /// The batch is not begun on any further after this time.
    pub fn batch(&self) -> Duration {
        self.within * 2
    }

    /// Operations of one command.
    pub fn most_ops(&self) -> usize {
        let by_trouble = match self.speed.troubles {
            0 => usize::MAX,
            troubles => (OPS_IN_TROUBLE >> (2 * troubles)).max(1),
        };
        if self.speed.us_per_op <= 0.0 {
            return by_trouble;
        }
        let by_time = self.within.as_secs_f64() * 1e6 / 2.0 / self.speed.us_per_op;
        by_trouble.min(by_time as usize).max(1)
    }

    /// How long a command may take that came from `halvings` halvings.
    pub fn of(&self, ops: usize, bytes: usize, halvings: u32) -> Duration {
        if self.patient {
            return self.within;
        }
        let first = self.within / FIRST / (1 << halvings.min(16));
        let least = first.max(self.within / LEAST).max(LEAST_TIME);
        let least = least * (1 << (self.retry + self.speed.troubles).min(MOST_TROUBLES));
        let usual_us = self.speed.us_per_op * FACTOR * ops as f64 + US_PER_BYTE * bytes as f64;
        least.saturating_add(Duration::from_secs_f64(usual_us / 1e6)).min(self.within)
    }

    /// A command was answered after so long.
    pub fn answered(&mut self, ops: usize, took: Duration) {
        // What every command costs says nothing of its operations.
        let took = took.saturating_sub(self.within / LEAST);
        let us = took.as_secs_f64() * 1e6 / ops.max(1) as f64;
        let known = self.speed.us_per_op;
        self.speed.us_per_op = if known > 0.0 { (3.0 * known + us) / 4.0 } else { us };
    }

    /// The members did not confirm a command within its limit: from now on there is more time.
    pub fn be_patient(&mut self) {
        (self.patient, self.unconfirmed) = (true, true);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WITHIN: Duration = Duration::from_secs(10);
    const APPLIED: Applied = Applied { written: 1, deleted: 0 };

    fn namespace() -> Namespace {
        Namespace { database: "shop".to_owned(), collection: "films".to_owned() }
    }

    #[test]
    fn a_command_gets_an_eighth_of_the_setting_and_less_when_it_is_halved() {
        let limits = Limits::new(WITHIN);
        let of = |halvings| limits.of(1000, 0, halvings).as_millis();
        assert_eq!((of(0), of(1), of(2), of(9)), (1250, 625, 312, 100));
        assert_eq!(limits.of(1, 16_000_000, 0).as_millis(), 5250);
        assert_eq!(limits.most_ops(), usize::MAX);
        assert!(Limits::new(Duration::from_millis(1)).of(1, 0, 9) <= Duration::from_millis(1));
    }

    #[test]
    fn a_key_that_is_tried_again_gets_more_each_time_up_to_the_setting() {
        let mut speeds = Speeds::default();
        let of = |retry| speeds.limits(&namespace(), WITHIN, retry).of(1, 0, 0).as_millis();
        assert_eq!([0, 1, 2, 3, 9].map(of), [1250, 2500, 5000, 10_000, 10_000]);
    }

    #[test]
    fn what_takes_long_as_a_rule_gets_more_time_and_smaller_commands() {
        let mut limits = Limits::new(WITHIN);
        limits.answered(1, Duration::from_millis(5));
        assert_eq!(limits.most_ops(), usize::MAX);
        limits.answered(100, Duration::from_millis(400));
        assert_eq!(limits.of(100, 0, 0).as_millis(), 1250 + 2400);
        assert_eq!(limits.of(1000, 0, 0), WITHIN);
        assert_eq!(limits.most_ops(), 1666);
        limits.answered(1, Duration::from_secs(9));
        limits.answered(1, Duration::from_secs(9));
        assert_eq!((limits.most_ops(), limits.of(1, 0, 9)), (1, WITHIN));
    }

    #[test]
    fn a_namespace_that_gets_nowhere_gets_more_time_for_fewer_operations() {
        let mut speeds = Speeds::default();
        let mut seen = Vec::new();
        for _ in 0..9 {
            let limits = speeds.limits(&namespace(), WITHIN, 0);
            seen.push((limits.most_ops(), limits.of(1, 0, 9).as_millis()));
            speeds.learn(&namespace(), &limits, Applied::default(), true);
        }
        assert_eq!(seen[0], (usize::MAX, 100));
        assert_eq!((seen[1], seen[6]), ((256, 200), (1, 6400)), "{seen:?}");
        assert_eq!(seen[8], (1, 10_000), "{seen:?}");
        let limits = speeds.limits(&namespace(), WITHIN, 0);
        speeds.learn(&namespace(), &limits, APPLIED, false);
        assert_eq!(speeds.limits(&namespace(), WITHIN, 0).most_ops(), usize::MAX);
    }

    #[test]
    fn a_blocked_key_is_to_blame_once_others_were_written() {
        let mut speeds = Speeds::default();
        let is_proven = |speeds: &mut Speeds| speeds.limits(&namespace(), WITHIN, 1).is_proven();
        let limits = speeds.limits(&namespace(), WITHIN, 0);
        assert!(!is_proven(&mut speeds));
        let retry = speeds.limits(&namespace(), WITHIN, 1);
        speeds.learn(&namespace(), &limits, APPLIED, false);
        speeds.learn(&namespace(), &retry, Applied::default(), false);
        assert!(is_proven(&mut speeds) && !speeds.limits(&namespace(), WITHIN, 0).is_proven());
        speeds.learn(&namespace(), &limits, Applied::default(), false);
        speeds.learn(&namespace(), &limits, Applied { written: 0, deleted: 1 }, false);
        assert!(!is_proven(&mut speeds));
    }

    #[test]
    fn members_that_confirm_slowly_get_all_of_the_time_for_a_while() {
        let mut speeds = Speeds::default();
        let mut limits = speeds.limits(&namespace(), WITHIN, 0);
        limits.be_patient();
        assert_eq!(limits.of(1, 0, 5), WITHIN);
        speeds.learn(&namespace(), &limits, APPLIED, false);
        let mut patient = (0..100).map(|_| speeds.limits(&namespace(), WITHIN, 0).of(1, 0, 0));
        assert_eq!(patient.by_ref().take_while(|limit| *limit == WITHIN).count(), 64);
    }
}
