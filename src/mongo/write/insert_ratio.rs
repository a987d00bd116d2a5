//! Which namespaces get new documents most of the time. There a batch is inserted first, and only
//! what exists already is updated: an insert costs the server a third of an upsert that inserts,
//! because it groups inserts (3–5 µs against 11–23 on MongoDB 6.0).

use std::collections::HashMap;

use crate::core::registration::Namespace;

/// From this share of new documents on, inserting first costs less. With fewer, each document that
/// exists costs a failed insert on top of its update.
const WORTH: f32 = 0.6;
/// From this share on, a batch is no transaction: an upsert of a new document steps over every
/// neighbouring document that another open transaction has put there, which makes two of them with
/// neighbouring keys four times as expensive at 1,000 operations (MongoDB 6.0). Inserts do not.
const MANY: f32 = 0.1;
/// From this share on all documents of a batch are probably new. One that exists undoes a
/// transaction of inserts.
const ALL: f32 = 0.998;
/// A smaller batch is done before it pays.
const LEAST_OPS: usize = 10;

/// The share of new documents, from 0 to 1, in the latest batches of each namespace.
#[derive(Debug, Default)]
pub struct Newness(HashMap<Namespace, f32>);

impl Newness {
    /// Whether a batch of `ops` documents for `namespace` should be inserted first.
    pub fn inserts(&self, namespace: &Namespace, ops: usize) -> bool {
        ops >= LEAST_OPS && self.0.get(namespace).is_some_and(|share| *share >= WORTH)
    }

    /// Whether all of a batch for `namespace` are probably new.
    pub fn creates_all(&self, namespace: &Namespace) -> bool {
        self.0.get(namespace).is_some_and(|share| *share >= ALL)
    }

    /// Whether upserts to `namespace` may create many documents, as far as is known.
    pub fn creates_many(&self, namespace: &Namespace) -> bool {
        self.0.get(namespace).is_none_or(|share| *share >= MANY)
    }

    /// Of `ops` documents that were written to `namespace`, `created` are new.
    pub fn learn(&mut self, namespace: &Namespace, ops: usize, created: usize) {
        if ops < LEAST_OPS {
            return;
        }
        let share = (created as f32 / ops as f32).min(1.0);
        match self.0.get_mut(namespace) {
            Some(known) => *known = (*known + share) / 2.0,
            None => {
                self.0.insert(namespace.clone(), share);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_are_inserted_first_while_most_documents_prove_new() {
        let namespace = Namespace { database: "shop".to_owned(), collection: "films".to_owned() };
        let mut newness = Newness::default();
        assert!(!newness.inserts(&namespace, 1000), "nothing is known yet");
        assert!(newness.creates_many(&namespace));
        newness.learn(&namespace, 1000, 1000);
        assert!(newness.creates_all(&namespace));
        newness.learn(&namespace, 1000, 990);
        assert!(!newness.creates_all(&namespace));
        assert!(newness.inserts(&namespace, 1000));
        assert!(!newness.inserts(&namespace, 1));
        newness.learn(&namespace, 1, 0);
        assert!(newness.inserts(&namespace, 1000), "one document says nothing");
        newness.learn(&namespace, 1000, 0);
        assert!(!newness.inserts(&namespace, 1000) && newness.creates_many(&namespace));
        for _ in 0..3 {
            newness.learn(&namespace, 1000, 0);
        }
        assert!(!newness.creates_many(&namespace));
        for _ in 0..2 {
            newness.learn(&namespace, 1000, 1000);
        }
        assert!(newness.inserts(&namespace, 1000));
    }
}
