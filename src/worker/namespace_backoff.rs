//! How long a namespace rests that refuses while others go on.

use std::collections::HashMap;

use crate::core::delivery::backoff::Backoff;
use crate::core::registration::Namespace;

/// Failures in a row of each namespace that fails at the moment.
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

    /// Whether `namespace` refused the last batch.
    pub fn is_failing(&self, namespace: &Namespace) -> bool {
        self.0.contains_key(namespace)
    }

    /// `namespace` took a batch: its pauses start short again.
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
    fn the_rest_is_never_zero_which_would_mean_that_the_link_is_down() {
        assert_eq!(NamespaceBackoffs::default().failed(&namespace("a"), BACKOFF, 0), 1);
    }
}
