//! How long a namespace that refuses batches backs off, while others are written.

use std::collections::HashMap;

use crate::core::delivery::backoff::Backoff;
use crate::core::registration::Namespace;

/// Consecutive failures of each namespace that is currently failing.
#[derive(Debug, Default)]
pub struct NamespaceBackoffs(HashMap<Namespace, u32>);

impl NamespaceBackoffs {
    /// `namespace` refused. Returns its pause in milliseconds, at least 1.
    pub fn failed(&mut self, namespace: &Namespace, backoff: Backoff, random: u64) -> u64 {
        let failures = match self.0.get_mut(namespace) {
            Some(failures) => failures,
            None => self.0.entry(namespace.clone()).or_default(),
        };
        *failures = failures.saturating_add(1);
        backoff.delay_ms(*failures, random)
    }

    /// True if `namespace` refused its last batch.
    pub fn is_failing(&self, namespace: &Namespace) -> bool {
        self.0.contains_key(namespace)
    }

    /// `namespace` accepted a batch: its pauses start short again.
    pub fn succeeded(&mut self, namespace: &Namespace) {
        if !self.0.is_empty() {
            self.0.remove(namespace);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BACKOFF: Backoff = Backoff { min_ms: 100, max_ms: 1000 };

    fn namespace(collection: &str) -> Namespace {
        Namespace { database: "shop".to_owned(), collection: collection.to_owned() }
    }

    #[test]
    fn each_namespace_backs_off_by_itself() {
        let mut backoffs = NamespaceBackoffs::default();
        assert_eq!(backoffs.failed(&namespace("a"), BACKOFF, 99), 100);
        assert_eq!(backoffs.failed(&namespace("a"), BACKOFF, 199), 200);
        assert_eq!(backoffs.failed(&namespace("b"), BACKOFF, 99), 100);
    }

    #[test]
    fn success_starts_over() {
        let mut backoffs = NamespaceBackoffs::default();
        backoffs.failed(&namespace("a"), BACKOFF, 0);
        backoffs.failed(&namespace("a"), BACKOFF, 0);
        backoffs.succeeded(&namespace("a"));
        assert_eq!(backoffs.failed(&namespace("a"), BACKOFF, 99), 100);
    }

    #[test]
    fn the_pause_is_never_zero_which_would_mean_that_the_link_is_down() {
        assert_eq!(NamespaceBackoffs::default().failed(&namespace("a"), BACKOFF, 0), 1);
    }
}
