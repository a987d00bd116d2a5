//! Detects slow namespaces: their batches take much longer than those of others, so they have
//! separate limits and credits and use none of those of others.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use crate::core::ids::RegistrationId;
use crate::core::registration::{Namespace, Registration};

/// A batch that takes this many times as long as a usual one is slow.
const FACTOR: f64 = 8.0;
/// A batch that takes less than this is never slow.
const ALWAYS_USUAL: Duration = Duration::from_millis(50);
/// A batch that takes longer than this is always slow.
const ALWAYS_SLOW: Duration = Duration::from_millis(1000);
/// Initial estimate of the usual time of a batch, microseconds.
const INITIAL_US: f64 = 10_000.0;
/// Factor by which each batch moves the estimate up or down, which makes it converge to the median.
const STEP: f64 = 1.05;

/// A registration with its id.
pub type Numbered = (RegistrationId, Arc<Registration>);

/// The slow namespaces, and the usual time of a batch.
#[derive(Debug)]
pub struct SlowNamespaces {
    /// The registrations of each slow namespace that were reported to the server thread.
    slow: HashMap<Namespace, Vec<Numbered>>,
    usual_us: f64,
}

impl Default for SlowNamespaces {
    fn default() -> Self {
        SlowNamespaces { slow: HashMap::new(), usual_us: INITIAL_US }
    }
}

impl SlowNamespaces {
    /// The time after which a batch counts as slow.
    pub fn slow_after(&self) -> Duration {
        Duration::from_secs_f64(self.usual_us * FACTOR / 1e6).clamp(ALWAYS_USUAL, ALWAYS_SLOW)
    }

    /// True if batches of `namespace` count as slow.
    pub fn is_slow(&self, namespace: &Namespace) -> bool {
        !self.slow.is_empty() && self.slow.contains_key(namespace)
    }

    /// Marks `namespace` as slow: from now on its batches count as slow.
    pub fn mark_slow(&mut self, namespace: &Namespace) {
        self.slow.entry(namespace.clone()).or_default();
    }

    /// Records that a registration of a slow namespace is reported to the server thread; false when
    /// it was reported before.
    pub fn must_report(&mut self, id: RegistrationId, registration: &Arc<Registration>) -> bool {
        let Some(reported) = self.slow.get_mut(&registration.namespace) else { return false };
        let known = reported
            .iter()
            .any(|(of, reported)| *of == id && reported.is_same_prefix(registration));
        if !known {
            reported.push((id, Arc::clone(registration)));
        }
        !known
    }

    /// Records the time of a batch of `namespace`. If the namespace is no longer slow, returns the
    /// registrations that were reported to the server thread.
    pub fn record_time(&mut self, namespace: &Namespace, took: Duration) -> Option<Vec<Numbered>> {
        let is_long = took.as_secs_f64() * 1e6 > self.usual_us;
        self.usual_us *= if is_long { STEP } else { 1.0 / STEP };
        self.usual_us = self.usual_us.clamp(100.0, 10e6);
        if self.slow.is_empty() || took > self.slow_after() / 2 {
            return None;
        }
        self.slow.remove(namespace)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::ids::Db;

    fn registration(collection: &str) -> Arc<Registration> {
        let collection = collection.to_owned();
        let namespace = Namespace { database: "shop".to_owned(), collection };
        Arc::new(Registration::new(Db(0), b"", namespace))
    }

    #[test]
    fn a_batch_is_slow_if_it_takes_many_times_as_long_as_the_median() {
        let (mut slow_namespaces, one) = (SlowNamespaces::default(), registration("a"));
        for _ in 0..200 {
            slow_namespaces.record_time(&one.namespace, Duration::from_millis(20));
        }
        let slow_after = slow_namespaces.slow_after();
        assert!((140..=180).contains(&slow_after.as_millis()), "{slow_after:?}");
        // A few very slow batches change the estimate little.
        for _ in 0..3 {
            slow_namespaces.record_time(&one.namespace, Duration::from_secs(10));
        }
        assert!(slow_namespaces.slow_after() < slow_after * 2);
        for _ in 0..200 {
            slow_namespaces.record_time(&one.namespace, Duration::from_micros(500));
        }
        assert_eq!(slow_namespaces.slow_after(), ALWAYS_USUAL);
        for _ in 0..400 {
            slow_namespaces.record_time(&one.namespace, Duration::from_secs(2));
        }
        assert_eq!(slow_namespaces.slow_after(), ALWAYS_SLOW);
    }

    #[test]
    fn a_quick_batch_ends_slowness_and_returns_the_reported_registrations() {
        let (mut slow_namespaces, one) = (SlowNamespaces::default(), registration("a"));
        assert!(
            !slow_namespaces.is_slow(&one.namespace)
                && !slow_namespaces.must_report(RegistrationId(3), &one)
        );
        slow_namespaces.mark_slow(&one.namespace);
        assert!(slow_namespaces.is_slow(&one.namespace));
        assert!(!slow_namespaces.is_slow(&registration("b").namespace));
        assert!(
            slow_namespaces.must_report(RegistrationId(3), &one)
                && !slow_namespaces.must_report(RegistrationId(3), &one)
                && slow_namespaces.must_report(RegistrationId(4), &one)
        );
        assert!(slow_namespaces.record_time(&one.namespace, Duration::from_millis(60)).is_none());
        let reported = slow_namespaces
            .record_time(&one.namespace, Duration::from_millis(5))
            .unwrap_or_default();
        assert_eq!(
            reported.iter().map(|(id, _)| *id).collect::<Vec<_>>(),
            [3, 4].map(RegistrationId)
        );
        assert!(!slow_namespaces.is_slow(&one.namespace));
    }
}
