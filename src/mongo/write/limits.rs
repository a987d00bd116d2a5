//! Time limits of commands, and the number of operations in a command.
//!
//! `write-timeout-ms` is the limit for a single operation that was tried before. A command of a
//! batch gets less at first, so that one document which cannot be written delays the others of its
//! batch for a short time only. The module learns the usual time of operations in a namespace, and
//! slower ones get more.

use std::collections::HashMap;
use std::time::Duration;

use super::failure_classifier::Applied;
use crate::core::registration::Namespace;

/// The first command of a batch gets one part in this many of the setting.
const FIRST: u32 = 8;
/// No command gets less than one part in this many of the setting,
const MIN_PART: u32 = 100;
/// nor less than this.
const MIN_TIME: Duration = Duration::from_millis(20);
/// A command may take this many times as long as its operations took recently,
const FACTOR: f64 = 8.0;
/// and this many microseconds more for each of its bytes: 4 MB a second.
const US_PER_BYTE: f64 = 0.25;
/// After this many batches in a row without progress the limits have grown as far as the setting
/// allows.
const MAX_STALLED_BATCHES: u32 = 8;
/// A command has at most a quarter of this many operations after the first batch without progress,
/// a quarter of that after the next.
const OPS_WHEN_STALLED: usize = 1024;
/// Number of batches that get the full time limit after the members were slow to acknowledge a
/// command.
const FULL_TIME_BATCHES: u32 = 64;

/// The speed of one namespace.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Speed {
    /// Recent time of one operation, microseconds; 0 when unknown.
    us_per_op: f64,
    /// Batches in a row of which no operation was applied in time.
    stalled_batches: u32,
    /// True if documents were written since the last batch without any.
    proven: bool,
}

/// The speeds of all namespaces.
#[derive(Debug, Default)]
pub struct Speeds {
    of: HashMap<Namespace, Speed>,
    /// The number of next batches that get the full time limit.
    full_time: u32,
}

impl Speeds {
    /// The limits of a batch for `namespace`, whose key was blocked `retry` times.
    pub fn limits(&mut self, namespace: &Namespace, within: Duration, retry: u32) -> Limits {
        let speed = self.of.get(namespace).copied().unwrap_or_default();
        let full_time = self.full_time > 0;
        self.full_time = self.full_time.saturating_sub(1);
        Limits { within, speed, retry, full_time, unconfirmed: false }
    }

    /// Records the result of a batch: the applied operations, and whether items were `returned`
    /// because the time limit was too short.
    pub fn learn(
        &mut self,
        namespace: &Namespace,
        limits: &Limits,
        applied: Applied,
        returned: bool,
    ) {
        if limits.unconfirmed {
            self.full_time = FULL_TIME_BATCHES;
        }
        if !self.of.contains_key(namespace) {
            self.of.insert(namespace.clone(), Speed::default());
        }
        let Some(speed) = self.of.get_mut(namespace) else { return };
        // Another batch may have ended meanwhile.
        speed.us_per_op = limits.speed.us_per_op;
        let progress = !applied.is_empty();
        if progress && limits.retry == 0 {
            speed.stalled_batches = 0;
        } else if returned && limits.retry == 0 {
            speed.stalled_batches = (limits.speed.stalled_batches + 1).min(MAX_STALLED_BATCHES);
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
    full_time: bool,
    unconfirmed: bool,
}

impl Limits {
    /// The limits of a namespace of unknown speed.
    pub fn new(within: Duration) -> Self {
        let speed = Speed::default();
        Limits { within, speed, retry: 0, full_time: false, unconfirmed: false }
    }

    /// Changes these limits to those of the next batch of the namespace.
    #[cfg(test)]
    pub fn learn(&mut self, applied: Applied, returned: bool) {
        let mut speeds = Speeds::default();
        let namespace = Namespace { database: String::new(), collection: String::new() };
        speeds.learn(&namespace, self, applied, returned);
        *self = speeds.limits(&namespace, self.within, 0);
    }

    /// True if the batch is a key that was blocked, and others were written since.
    pub fn is_proven(&self) -> bool {
        self.retry > 0 && self.speed.proven
    }

    /// The maximum time limit of any command.
    pub fn max_time(&self) -> Duration {
        self.within
    }

    /// No further command of the batch is sent after this time.
    pub fn batch_time(&self) -> Duration {
        self.within * 2
    }

    /// Maximum number of operations in one command.
    pub fn max_ops(&self) -> usize {
        let by_progress = match self.speed.stalled_batches {
            0 => usize::MAX,
            stalled_batches => (OPS_WHEN_STALLED >> (2 * stalled_batches)).max(1),
        };
        if self.speed.us_per_op <= 0.0 {
            return by_progress;
        }
        let by_time = self.within.as_secs_f64() * 1e6 / 2.0 / self.speed.us_per_op;
        by_progress.min(by_time as usize).max(1)
    }

    /// The time limit of a command that results from `splits` bisections.
    pub fn time_of(&self, ops: usize, bytes: usize, splits: u32) -> Duration {
        if self.full_time {
            return self.within;
        }
        let first = self.within / FIRST / (1 << splits.min(16));
        let least = first.max(self.within / MIN_PART).max(MIN_TIME);
        let least =
            least * (1 << (self.retry + self.speed.stalled_batches).min(MAX_STALLED_BATCHES));
        let usual_us = self.speed.us_per_op * FACTOR * ops as f64 + US_PER_BYTE * bytes as f64;
        least.saturating_add(Duration::from_secs_f64(usual_us / 1e6)).min(self.within)
    }

    /// Records the time that an answered command took.
    pub fn answered(&mut self, ops: usize, took: Duration) {
        // The fixed cost of a command is not that of its operations.
        let took = took.saturating_sub(self.within / MIN_PART);
        let us = took.as_secs_f64() * 1e6 / ops.max(1) as f64;
        let known = self.speed.us_per_op;
        self.speed.us_per_op = if known > 0.0 { (3.0 * known + us) / 4.0 } else { us };
    }

    /// The members did not acknowledge a command within its limit: from now on commands get the
    /// full time limit.
    pub fn use_full_time(&mut self) {
        (self.full_time, self.unconfirmed) = (true, true);
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
    fn a_command_gets_an_eighth_of_the_setting_and_less_when_it_is_bisected() {
        let limits = Limits::new(WITHIN);
        let of = |splits| limits.time_of(1000, 0, splits).as_millis();
        assert_eq!((of(0), of(1), of(2), of(9)), (1250, 625, 312, 100));
        assert_eq!(limits.time_of(1, 16_000_000, 0).as_millis(), 5250);
        assert_eq!(limits.max_ops(), usize::MAX);
        assert!(Limits::new(Duration::from_millis(1)).time_of(1, 0, 9) <= Duration::from_millis(1));
    }

    #[test]
    fn a_retried_key_gets_more_time_at_each_attempt_up_to_the_setting() {
        let mut speeds = Speeds::default();
        let of = |retry| speeds.limits(&namespace(), WITHIN, retry).time_of(1, 0, 0).as_millis();
        assert_eq!([0, 1, 2, 3, 9].map(of), [1250, 2500, 5000, 10_000, 10_000]);
    }

    #[test]
    fn usually_slow_operations_get_more_time_and_smaller_commands() {
        let mut limits = Limits::new(WITHIN);
        limits.answered(1, Duration::from_millis(5));
        assert_eq!(limits.max_ops(), usize::MAX);
        limits.answered(100, Duration::from_millis(400));
        assert_eq!(limits.time_of(100, 0, 0).as_millis(), 1250 + 2400);
        assert_eq!(limits.time_of(1000, 0, 0), WITHIN);
        assert_eq!(limits.max_ops(), 1666);
        limits.answered(1, Duration::from_secs(9));
        limits.answered(1, Duration::from_secs(9));
        assert_eq!((limits.max_ops(), limits.time_of(1, 0, 9)), (1, WITHIN));
    }

    #[test]
    fn a_namespace_without_progress_gets_more_time_for_fewer_operations() {
        let mut speeds = Speeds::default();
        let mut seen = Vec::new();
        for _ in 0..9 {
            let limits = speeds.limits(&namespace(), WITHIN, 0);
            seen.push((limits.max_ops(), limits.time_of(1, 0, 9).as_millis()));
            speeds.learn(&namespace(), &limits, Applied::default(), true);
        }
        assert_eq!(seen[0], (usize::MAX, 100));
        assert_eq!((seen[1], seen[6]), ((256, 200), (1, 6400)), "{seen:?}");
        assert_eq!(seen[8], (1, 10_000), "{seen:?}");
        let limits = speeds.limits(&namespace(), WITHIN, 0);
        speeds.learn(&namespace(), &limits, APPLIED, false);
        assert_eq!(speeds.limits(&namespace(), WITHIN, 0).max_ops(), usize::MAX);
    }

    #[test]
    fn a_blocked_key_is_the_cause_once_others_were_written() {
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
    fn after_slow_acknowledgements_64_batches_get_the_full_time_limit() {
        let mut speeds = Speeds::default();
        let mut limits = speeds.limits(&namespace(), WITHIN, 0);
        limits.use_full_time();
        assert_eq!(limits.time_of(1, 0, 5), WITHIN);
        speeds.learn(&namespace(), &limits, APPLIED, false);
        let mut full_time =
            (0..100).map(|_| speeds.limits(&namespace(), WITHIN, 0).time_of(1, 0, 0));
        assert_eq!(full_time.by_ref().take_while(|limit| *limit == WITHIN).count(), 64);
    }
}
