//! Which namespaces are slow: their batches take much longer than those of others, so they have
//! places and credits of their own and keep none of those of others.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use crate::core::ids::RegistrationId;
use crate::core::registration::{Namespace, Registration};

/// A batch that takes so many times as long as a usual one is slow.
const FACTOR: f64 = 8.0;
/// No shorter batch is slow.
const LEAST: Duration = Duration::from_millis(50);
/// Each longer one is.
const MOST: Duration = Duration::from_millis(1000);
/// What a batch usually takes, before anything is known, in microseconds.
const INITIAL_US: f64 = 10_000.0;
/// By this factor the usual time follows each batch, which makes it the median.
const STEP: f64 = 1.05;

/// A registration with its id.
pub type Numbered = (RegistrationId, Arc<Registration>);

/// The slow namespaces, and what a batch usually takes.
#[derive(Debug)]
pub struct Paces {
    /// The registrations of each slow namespace that the server thread was told of.
    slow: HashMap<Namespace, Vec<Numbered>>,
    usual_us: f64,
}

impl Default for Paces {
    fn default() -> Self {
        Paces { slow: HashMap::new(), usual_us: INITIAL_US }
    }
}

impl Paces {
    /// From this time on a batch is slow.
    pub fn slow_after(&self) -> Duration {
        Duration::from_secs_f64(self.usual_us * FACTOR / 1e6).clamp(LEAST, MOST)
    }

    /// Whether batches of `namespace` count as slow.
    pub fn is_slow(&self, namespace: &Namespace) -> bool {
        !self.slow.is_empty() && self.slow.contains_key(namespace)
    }

    /// From now on batches of `namespace` count as slow.
    pub fn slows(&mut self, namespace: &Namespace) {
        self.slow.entry(namespace.clone()).or_default();
    }

    /// Notes that the server thread gets to know a registration of a slow namespace; false when it
    /// was told before.
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

    /// A batch of `namespace` took so long. Returns the registrations that the server thread was
    /// told of, if the namespace is slow no more.
    pub fn took(&mut self, namespace: &Namespace, took: Duration) -> Option<Vec<Numbered>> {
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
    fn slow_is_what_takes_many_times_as_long_as_the_median() {
        let (mut paces, one) = (Paces::default(), registration("a"));
        for _ in 0..200 {
            paces.took(&one.namespace, Duration::from_millis(20));
        }
        let slow_after = paces.slow_after();
        assert!((140..=180).contains(&slow_after.as_millis()), "{slow_after:?}");
        // A few that take very long change little.
        for _ in 0..3 {
            paces.took(&one.namespace, Duration::from_secs(10));
        }
        assert!(paces.slow_after() < slow_after * 2);
        for _ in 0..200 {
            paces.took(&one.namespace, Duration::from_micros(500));
        }
        assert_eq!(paces.slow_after(), LEAST);
        for _ in 0..400 {
            paces.took(&one.namespace, Duration::from_secs(2));
        }
        assert_eq!(paces.slow_after(), MOST);
    }

    #[test]
    fn a_quick_batch_ends_it_and_names_those_that_were_told() {
        let (mut paces, one) = (Paces::default(), registration("a"));
        assert!(!paces.is_slow(&one.namespace) && !paces.must_report(RegistrationId(3), &one));
        paces.slows(&one.namespace);
        assert!(paces.is_slow(&one.namespace));
        assert!(!paces.is_slow(&registration("b").namespace));
        assert!(
            paces.must_report(RegistrationId(3), &one)
                && !paces.must_report(RegistrationId(3), &one)
                && paces.must_report(RegistrationId(4), &one)
        );
        assert!(paces.took(&one.namespace, Duration::from_millis(60)).is_none());
        let reported = paces.took(&one.namespace, Duration::from_millis(5)).unwrap_or_default();
        assert_eq!(
            reported.iter().map(|(id, _)| *id).collect::<Vec<_>>(),
            [3, 4].map(RegistrationId)
        );
        assert!(!paces.is_slow(&one.namespace));
    }
}
