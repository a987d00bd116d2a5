//! Classifies the operations of a batch that were not applied: either their documents are the
//! cause, or the namespace. The results of the other operations decide.
//!
//! - An operation that is blocked temporarily: its key waits alone. When that is so for many
//!   operations, or for all of a batch, the namespace backs off.
//! - An operation that is refused for a reason which may lie in its document or in the collection:
//!   while others of its kind are applied, it becomes a dead letter. When most are refused, or none
//!   is applied, the namespace backs off. The key of a single one waits alone until others are
//!   written.

use std::time::Duration;

use super::command::Kind;
use crate::core::delivery::batch::{BlockedItem, Refusal, Written};
use crate::core::registration::Registration;

/// Maximum number of keys of one batch that wait alone; with more the namespace backs off.
const MAX_BLOCKED: usize = 8;
/// After this many operations that were too slow, and none that was applied, the rest of the batch
/// is not tried.
const MAX_SLOW: usize = 4;
/// Minimum number of refusals for which the collection may be the cause while others are applied.
const MANY_REFUSED: usize = 8;

/// The numbers of applied operations.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Applied {
    /// Documents that were written.
    pub written: usize,
    /// Documents that were deleted.
    pub deleted: usize,
}

impl Applied {
    /// The sum of both.
    pub fn and(self, other: Applied) -> Applied {
        let (written, deleted) = (self.written + other.written, self.deleted + other.deleted);
        Applied { written, deleted }
    }

    /// The number of this kind.
    pub fn of(self, kind: Kind) -> usize {
        match kind {
            Kind::Delete => self.deleted,
            Kind::Insert | Kind::Update => self.written,
        }
    }

    /// True if nothing was applied.
    pub fn is_empty(self) -> bool {
        self.written + self.deleted == 0
    }
}

/// The operations of a batch that were applied or not so far.
#[derive(Debug)]
pub struct FailureClassifier<'r> {
    registration: &'r Registration,
    /// True if the batch is one key that was blocked before, and others were written since.
    is_proven: bool,
    applied: Applied,
    /// Items that were too slow or had a write conflict, with the reason.
    waiting: Vec<(u32, String)>,
    /// Items that were refused for a reason that the document or the collection may cause.
    refusals: Vec<OpenRefusal>,
    early_refusals_taken: bool,
}

#[derive(Debug)]
struct OpenRefusal {
    index: u32,
    deletes: bool,
    /// True if it was refused before any other of its kind was applied.
    is_early: bool,
    code: i32,
    reason: String,
}

impl<'r> FailureClassifier<'r> {
    /// The state before the first reply.
    pub fn new(registration: &'r Registration, is_proven: bool) -> Self {
        let (waiting, refusals) = (Vec::new(), Vec::new());
        FailureClassifier {
            registration,
            is_proven,
            applied: Applied::default(),
            waiting,
            refusals,
            early_refusals_taken: false,
        }
    }

    /// Records that operations of this kind were applied.
    pub fn add_applied(&mut self, kind: Kind, ops: usize) {
        match kind {
            Kind::Delete => self.applied.deleted += ops,
            Kind::Insert | Kind::Update => self.applied.written += ops,
        }
    }

    /// Operations applied so far.
    pub fn applied(&self) -> Applied {
        self.applied
    }

    /// Records an item that is blocked temporarily.
    pub fn add_blocked(&mut self, index: u32, reason: &str) {
        self.waiting.push((index, reason.to_owned()));
    }

    /// Records an item that exceeded `limit` in a command of its own.
    pub fn add_slow(&mut self, index: u32, limit: Duration) {
        let namespace = &self.registration.namespace;
        let reason = format!(
            "MongoDB did not write a document of {namespace} within {:.1} s: another operation \
             holds it, or it takes long; it is tried again",
            limit.as_secs_f64()
        );
        self.waiting.push((index, reason));
    }

    /// Records items that were refused for this reason.
    pub fn add_refused(&mut self, items: &[u32], kind: Kind, code: i32, reason: &str) {
        let deletes = kind == Kind::Delete;
        let is_early = self.applied.of(kind) == 0;
        self.refusals.extend(items.iter().map(|index| OpenRefusal {
            index: *index,
            deletes,
            is_early,
            code,
            reason: reason.to_owned(),
        }));
    }

    /// True when the rest of the batch need not be tried.
    pub fn gives_up(&self) -> bool {
        let waiting = self.waiting.len();
        waiting > MAX_BLOCKED || (waiting >= MAX_SLOW && self.applied.is_empty())
    }

    /// True if items are blocked for a reason other than a refusal.
    pub fn has_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Removes, only once, the refusals of items after which others of their kind were applied;
    /// returns the items, to be sent again.
    pub fn take_early_refusals(&mut self) -> Vec<u32> {
        if self.early_refusals_taken || self.refusals.is_empty() {
            return Vec::new();
        }
        self.early_refusals_taken = true;
        let applied = self.applied;
        let kind = |deletes| if deletes { Kind::Delete } else { Kind::Update };
        let again = self
            .refusals
            .extract_if(.., |refusals| refusals.is_early && applied.of(kind(refusals.deletes)) > 0);
        let mut again: Vec<u32> = again.map(|refusals| refusals.index).collect();
        again.sort_unstable();
        again
    }

    /// Classifies each item that was not applied; `unsent` are the items that were not tried to the
    /// end.
    pub fn classify(self, unsent: &[u32], written: &mut Written) {
        let alone = self.waiting.len() + self.refusals.len() + unsent.len() == 1;
        let nothing = self.applied.is_empty() && written.refused.is_empty();
        let mut returned: Vec<usize> = unsent.iter().map(|index| *index as usize).collect();
        if !unsent.is_empty() {
            written.error = self.slow();
        }
        let all_wait = nothing && !alone;
        if let Some((_, reason)) = self.waiting.first()
            && (all_wait || self.waiting.len() > MAX_BLOCKED)
        {
            written.error.clone_from(reason);
            returned.extend(self.waiting.iter().map(|(index, _)| *index as usize));
        } else {
            let waiting = self.waiting.iter();
            written.blocked.extend(waiting.map(|(index, reason)| BlockedItem {
                index: *index as usize,
                reason: reason.clone(),
            }));
        }
        for deletes in [false, true] {
            let Applied { written: documents, deleted } = self.applied;
            let applied = if deletes { deleted } else { documents };
            let refusals = || self.refusals.iter().filter(|refusals| refusals.deletes == deletes);
            let count = refusals().count();
            for OpenRefusal { index, code, reason, .. } in refusals() {
                let index = *index as usize;
                let few = applied > 0 && (count < MANY_REFUSED || count < applied);
                if few || (alone && self.is_proven) {
                    written.refused.push(Refusal { index, code: *code, reason: reason.clone() });
                } else if alone {
                    written.blocked.push(BlockedItem { index, reason: reason.clone() });
                } else {
                    returned.push(index);
                    written.error.clone_from(reason);
                }
            }
        }
        returned.sort_unstable();
        written.returned = returned;
        written.blocked.sort_unstable_by_key(|blocked| blocked.index);
    }

    fn slow(&self) -> String {
        let namespace = &self.registration.namespace;
        format!("MongoDB is slow to write to {namespace}; the rest of a batch is tried again")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::ids::Db;
    use crate::core::registration::Namespace;

    fn registration() -> Registration {
        let namespace = Namespace { database: "shop".to_owned(), collection: "films".to_owned() };
        Registration::new(Db(0), b"", namespace)
    }

    /// The numbers of items that become dead letters, are blocked, and are returned.
    fn classified(
        prepare: impl FnOnce(&mut FailureClassifier<'_>),
        unsent: &[u32],
    ) -> ([usize; 3], String) {
        let registration = registration();
        let mut classifier = FailureClassifier::new(&registration, false);
        prepare(&mut classifier);
        let mut written = Written::default();
        classifier.classify(unsent, &mut written);
        assert!(
            written.returned.is_sorted() && written.error.is_empty() == written.returned.is_empty()
        );
        let counts = [written.refused.len(), written.blocked.len(), written.returned.len()];
        (counts, written.error)
    }

    #[test]
    fn a_few_blocked_items_wait_alone_while_others_are_written() {
        let few = |classifier: &mut FailureClassifier<'_>| {
            classifier.add_applied(Kind::Update, 5);
            (0..8).for_each(|index| classifier.add_blocked(index, "locked"));
            assert!(!classifier.gives_up());
        };
        assert_eq!(classified(few, &[]), ([0, 8, 0], String::new()));
        let many = |classifier: &mut FailureClassifier<'_>| {
            classifier.add_applied(Kind::Update, 5);
            (0..9).for_each(|index| classifier.add_blocked(index, "locked"));
            assert!(classifier.gives_up());
        };
        assert_eq!(classified(many, &[30, 20]), ([0, 0, 11], "locked".to_owned()));
    }

    #[test]
    fn when_all_items_are_blocked_the_namespace_backs_off() {
        let all = |classifier: &mut FailureClassifier<'_>| {
            (0..2).for_each(|index| classifier.add_blocked(index, "locked"))
        };
        assert_eq!(classified(all, &[]), ([0, 0, 2], "locked".to_owned()));
        let slow = |classifier: &mut FailureClassifier<'_>| {
            (0..4).for_each(|index| classifier.add_slow(index, Duration::from_secs(1)));
            assert!(classifier.gives_up());
        };
        let (counts, error) = classified(slow, &[4]);
        assert_eq!(counts, [0, 0, 5]);
        assert!(error.contains("shop.films within 1.0 s"), "{error}");
        let one = |classifier: &mut FailureClassifier<'_>| classifier.add_blocked(0, "locked");
        assert_eq!(classified(one, &[]), ([0, 1, 0], String::new()));
    }

    #[test]
    fn a_refusal_that_other_items_do_not_share_is_a_dead_letter() {
        for (written, deleted, refused, expected) in [
            (10, 0, 7, [7, 0, 0]),
            (10, 0, 9, [9, 0, 0]),
            (10, 0, 10, [0, 0, 10]),
            (0, 0, 2, [0, 0, 2]),
            (0, 500, 2, [0, 0, 2]),
            (0, 0, 1, [0, 1, 0]),
            (1, 0, 1, [1, 0, 0]),
        ] {
            let prepare = |classifier: &mut FailureClassifier<'_>| {
                classifier.add_applied(Kind::Update, written);
                classifier.add_applied(Kind::Delete, deleted);
                classifier.add_refused(
                    &(0..refused).collect::<Vec<_>>(),
                    Kind::Update,
                    17_262,
                    "index",
                );
            };
            let (counts, _) = classified(prepare, &[]);
            assert_eq!(counts, expected, "{written} written, {refused} refused");
        }
    }

    #[test]
    fn unsent_items_are_returned() {
        let (counts, error) =
            classified(|classifier| classifier.add_applied(Kind::Update, 3), &[7, 3]);
        assert_eq!(counts, [0, 0, 2]);
        assert!(error.contains("slow"), "{error}");
    }
}
