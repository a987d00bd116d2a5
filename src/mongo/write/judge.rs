//! Whose fault it is that operations of a batch were not applied: that of their documents, or that
//! of the namespace. What became of the other operations decides.
//!
//! - An operation that something keeps from being applied for a while: its key waits by itself.
//!   When that is so for many, or for all of a batch, the namespace rests.
//! - An operation that is refused for a reason which may lie in its document or in the collection:
//!   while others of its kind are applied, it is a dead letter. When most are refused, or none is
//!   applied, the namespace rests. A single one waits by itself until others are written.

use std::time::Duration;

use super::command::Kind;
use crate::core::delivery::batch::{BlockedItem, Refusal, Written};
use crate::core::registration::Registration;

/// More keys of one batch do not wait by themselves.
const MOST_BLOCKED: usize = 8;
/// After so many operations that were too slow, and none that was applied, no more are tried.
const MOST_SLOW: usize = 4;
/// Fewer refusals than this are not held to be the collection's fault while others are applied.
const MANY: usize = 8;

/// Operations that were applied.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Applied {
    /// Documents that were written.
    pub written: usize,
    /// Deletions that were made.
    pub deleted: usize,
}

impl Applied {
    /// These and others.
    pub fn and(self, other: Applied) -> Applied {
        let (written, deleted) = (self.written + other.written, self.deleted + other.deleted);
        Applied { written, deleted }
    }

    /// Those of this kind.
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

/// What is known of a batch so far.
#[derive(Debug)]
pub struct Judge<'r> {
    registration: &'r Registration,
    /// The batch is one key that was blocked before, and others were written since.
    is_proven: bool,
    applied: Applied,
    /// Items that were too slow or in each other's way, with the reason.
    waiting: Vec<(u32, String)>,
    /// Items that were refused for a reason that is to be judged.
    judged: Vec<Judged>,
    is_heard_again: bool,
}

#[derive(Debug)]
struct Judged {
    index: u32,
    deletes: bool,
    /// It was refused before any other of its kind was applied.
    is_early: bool,
    code: i32,
    reason: String,
}

impl<'r> Judge<'r> {
    /// Nothing has happened yet.
    pub fn new(registration: &'r Registration, is_proven: bool) -> Self {
        let (waiting, judged) = (Vec::new(), Vec::new());
        Judge {
            registration,
            is_proven,
            applied: Applied::default(),
            waiting,
            judged,
            is_heard_again: false,
        }
    }

    /// Operations of this kind were applied.
    pub fn applies(&mut self, kind: Kind, ops: usize) {
        match kind {
            Kind::Delete => self.applied.deleted += ops,
            Kind::Insert | Kind::Update => self.applied.written += ops,
        }
    }

    /// Operations applied so far.
    pub fn applied(&self) -> Applied {
        self.applied
    }

    /// Something that passes by itself keeps the item from being applied.
    pub fn waits(&mut self, index: u32, reason: &str) {
        self.waiting.push((index, reason.to_owned()));
    }

    /// The item alone took longer than `limit`.
    pub fn too_slow(&mut self, index: u32, limit: Duration) {
        let namespace = &self.registration.namespace;
        let reason = format!(
            "MongoDB did not write a document of {namespace} within {:.1} s: another operation \
             holds it, or it takes long; it is tried again",
            limit.as_secs_f64()
        );
        self.waiting.push((index, reason));
    }

    /// Items were refused for this reason.
    pub fn judges(&mut self, items: &[u32], kind: Kind, code: i32, reason: &str) {
        let deletes = kind == Kind::Delete;
        let is_early = self.applied.of(kind) == 0;
        self.judged.extend(items.iter().map(|index| Judged {
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
        waiting > MOST_BLOCKED || (waiting >= MOST_SLOW && self.applied.is_empty())
    }

    /// True if something but a refusal keeps items from being applied.
    pub fn waits_for_any(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Takes back the refusals of items, once, after which others of their kind were applied; returns
    /// the items.
    pub fn hear_again(&mut self) -> Vec<u32> {
        if self.is_heard_again || self.judged.is_empty() {
            return Vec::new();
        }
        self.is_heard_again = true;
        let applied = self.applied;
        let kind = |deletes| if deletes { Kind::Delete } else { Kind::Update };
        let again = self
            .judged
            .extract_if(.., |judged| judged.is_early && applied.of(kind(judged.deletes)) > 0);
        let mut again: Vec<u32> = again.map(|judged| judged.index).collect();
        again.sort_unstable();
        again
    }

    /// Says of each item that was not applied what is to become of it; `unsent` are those that were
    /// not tried to the end.
    pub fn conclude(self, unsent: &[u32], written: &mut Written) {
        let alone = self.waiting.len() + self.judged.len() + unsent.len() == 1;
        let nothing = self.applied.is_empty() && written.refused.is_empty();
        let mut returned: Vec<usize> = unsent.iter().map(|index| *index as usize).collect();
        if !unsent.is_empty() {
            written.error = self.slow();
        }
        let all_wait = nothing && !alone;
        if let Some((_, reason)) = self.waiting.first()
            && (all_wait || self.waiting.len() > MOST_BLOCKED)
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
            let judged = || self.judged.iter().filter(|judged| judged.deletes == deletes);
            let count = judged().count();
            for Judged { index, code, reason, .. } in judged() {
                let index = *index as usize;
                let few = applied > 0 && (count < MANY || count < applied);
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

    /// How many items become dead letters, wait by themselves, and come back.
    fn concluded(prepare: impl FnOnce(&mut Judge<'_>), unsent: &[u32]) -> ([usize; 3], String) {
        let registration = registration();
        let mut judge = Judge::new(&registration, false);
        prepare(&mut judge);
        let mut written = Written::default();
        judge.conclude(unsent, &mut written);
        assert!(
            written.returned.is_sorted() && written.error.is_empty() == written.returned.is_empty()
        );
        let counts = [written.refused.len(), written.blocked.len(), written.returned.len()];
        (counts, written.error)
    }

    #[test]
    fn a_few_that_wait_beside_others_that_are_written_wait_by_themselves() {
        let few = |judge: &mut Judge<'_>| {
            judge.applies(Kind::Update, 5);
            (0..8).for_each(|index| judge.waits(index, "locked"));
            assert!(!judge.gives_up());
        };
        assert_eq!(concluded(few, &[]), ([0, 8, 0], String::new()));
        let many = |judge: &mut Judge<'_>| {
            judge.applies(Kind::Update, 5);
            (0..9).for_each(|index| judge.waits(index, "locked"));
            assert!(judge.gives_up());
        };
        assert_eq!(concluded(many, &[30, 20]), ([0, 0, 11], "locked".to_owned()));
    }

    #[test]
    fn when_all_wait_the_namespace_does() {
        let all = |judge: &mut Judge<'_>| (0..2).for_each(|index| judge.waits(index, "locked"));
        assert_eq!(concluded(all, &[]), ([0, 0, 2], "locked".to_owned()));
        let slow = |judge: &mut Judge<'_>| {
            (0..4).for_each(|index| judge.too_slow(index, Duration::from_secs(1)));
            assert!(judge.gives_up());
        };
        let (counts, error) = concluded(slow, &[4]);
        assert_eq!(counts, [0, 0, 5]);
        assert!(error.contains("shop.films within 1.0 s"), "{error}");
        let one = |judge: &mut Judge<'_>| judge.waits(0, "locked");
        assert_eq!(concluded(one, &[]), ([0, 1, 0], String::new()));
    }

    #[test]
    fn a_refusal_that_the_others_do_not_share_is_a_dead_letter() {
        for (written, deleted, refused, expected) in [
            (10, 0, 7, [7, 0, 0]),
            (10, 0, 9, [9, 0, 0]),
            (10, 0, 10, [0, 0, 10]),
            (0, 0, 2, [0, 0, 2]),
            (0, 500, 2, [0, 0, 2]),
            (0, 0, 1, [0, 1, 0]),
            (1, 0, 1, [1, 0, 0]),
        ] {
            let prepare = |judge: &mut Judge<'_>| {
                judge.applies(Kind::Update, written);
                judge.applies(Kind::Delete, deleted);
                judge.judges(&(0..refused).collect::<Vec<_>>(), Kind::Update, 17_262, "index");
            };
            let (counts, _) = concluded(prepare, &[]);
            assert_eq!(counts, expected, "{written} written, {refused} refused");
        }
    }

    #[test]
    fn what_was_not_sent_any_more_comes_back() {
        let (counts, error) = concluded(|judge| judge.applies(Kind::Update, 3), &[7, 3]);
        assert_eq!(counts, [0, 0, 2]);
        assert!(error.contains("slow"), "{error}");
    }
}
