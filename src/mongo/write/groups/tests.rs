use super::*;
use crate::core::delivery::group_counts::Split;
use crate::core::mapping::value::{Content, push_bytes};
use crate::core::registration::{Namespace, Registration};
use crate::mongo::write::command::tests::{batch, registration};
use crate::mongo::write::outcome::{Duplicate, WriteError};
use crate::sink::LinkError;

type Refuses<'f> = Box<dyn Fn(&str) -> Option<Outcome> + 'f>;

/// A server that refuses transactions with a key, for a reason.
struct Server<'f> {
    /// For each part, the keys of its items.
    keys: Vec<Vec<String>>,
    refuses: Refuses<'f>,
    /// The keys of the open transaction.
    open: Vec<String>,
    /// The keys of each committed transaction.
    committed: Vec<Vec<String>>,
    abandoned: usize,
}

impl TransactionSender for Server<'_> {
    async fn send(
        &mut self,
        part: usize,
        (bytes, _): (Vec<u8>, Expected),
        position: TxnPosition,
    ) -> Outcome {
        if let TxnPosition::Commit(_) = position {
            let mut keys = std::mem::take(&mut self.open);
            keys.sort();
            self.committed.push(keys);
            return Outcome::Answered(vec![]);
        }
        if let TxnPosition::Start(_) = position {
            self.open.clear();
        }
        for key in &self.keys[part] {
            if bytes.windows(key.len()).any(|window| window == key.as_bytes()) {
                if let Some(outcome) = (self.refuses)(key) {
                    return outcome;
                }
                self.open.push(key.clone());
            }
        }
        Outcome::Answered(vec![])
    }

    fn abandon(&mut self) {
        self.abandoned += 1;
    }
}

fn other() -> Registration {
    let namespace = Namespace { database: "d".into(), collection: "other".into() };
    Registration::new(crate::core::ids::Db(0), b"o:", namespace)
}

/// Two batches: keys `k:…` and `o:…`, each with its group.
fn group_batch(keys: &[(&str, u32)], groups: &[SentGroup]) -> GroupBatch {
    let mut value = Vec::new();
    push_bytes(&mut value, b"f");
    push_bytes(&mut value, b"v");
    let mut batches = Vec::new();
    for (registration, prefix) in [(registration(), "k:"), (other(), "o:")] {
        let own = keys.iter().filter(|(key, _)| key.starts_with(prefix));
        let reads: Vec<_> =
            own.clone().map(|(key, _)| (key.as_bytes(), Content::Hash, value.as_slice())).collect();
        let mut batch = batch(registration, &reads);
        batch.groups = own.map(|(_, group)| *group).collect();
        batches.push(batch);
    }
    GroupBatch { batches, groups: groups.to_vec() }
}

fn written<'b>(
    batch: &'b GroupBatch,
    refuses: impl Fn(&str) -> Option<Outcome>,
) -> (Groups<'b>, Vec<Vec<String>>) {
    let part = |batch: &'b Batch| Part {
        batch,
        lookup: Lookup::default(),
        forms: Forms::Plain,
        fates: vec![Fate::Open; batch.items.len()],
        refused_because: String::new(),
        sent_bytes: 0,
    };
    let names = |batch: &Batch| {
        let suffix = |item| String::from_utf8_lossy(&batch.key(item)[2..]).into_owned();
        batch.items.iter().map(suffix).collect()
    };
    let mut server = Server {
        keys: batch.batches.iter().map(names).collect(),
        refuses: Box::new(refuses),
        open: Vec::new(),
        committed: Vec::new(),
        abandoned: 0,
    };
    let mut groups = Groups::new(batch, batch.batches.iter().map(part).collect(), 1000, PATIENCE);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on(groups.write(&mut server)).unwrap();
    let committed = std::mem::take(&mut server.committed);
    drop(server);
    (groups, committed)
}

fn refused(code: i32) -> Outcome {
    let action = Action::Refuse("no".to_owned());
    Outcome::Answered(vec![WriteError { op: Some(0), code, action }])
}

fn conflict() -> Outcome {
    let action = Action::RetryThenWait("it is held".to_owned());
    Outcome::Answered(vec![WriteError { op: None, code: 112, action }])
}

const PATIENCE: Duration = Duration::from_secs(10);
const SPLIT: SentGroup = SentGroup { whole: false, is_split: false, attempts: 0, failing_ms: 0 };
const WHOLE: SentGroup = SentGroup { whole: true, is_split: false, attempts: 0, failing_ms: 0 };

#[test]
fn all_groups_are_one_transaction() {
    let batch = group_batch(&[("k:aa", 0), ("k:bb", 1), ("o:cc", 0), ("o:dd", 1)], &[SPLIT, WHOLE]);
    let (groups, committed) = written(&batch, |_| None);
    assert_eq!(committed, [["aa", "bb", "cc", "dd"]]);
    assert_eq!((groups.counts.whole, groups.counts.split_total()), (2, 0));
    assert!(groups.parts.iter().flat_map(|part| &part.fates).all(|fate| *fate == Fate::Written));
}

#[test]
fn a_refused_document_leaves_its_group_and_no_other() {
    let batch = group_batch(&[("k:aa", 0), ("k:bb", 1), ("o:cc", 0), ("o:dd", 1)], &[SPLIT, SPLIT]);
    let (groups, mut committed) = written(&batch, |key| (key == "aa").then(|| refused(121)));
    committed.sort();
    assert_eq!(committed, [vec!["bb", "dd"], vec!["cc"]]);
    assert_eq!((groups.counts.whole, groups.counts.split(Split::Refused)), (1, 1));
    let Fate::Refused(121, reason) = &groups.parts[0].fates[0] else { panic!("it is refused") };
    assert_eq!(reason, "no; the same MULTI changed o:cc, which are written without it");
}

#[test]
fn a_group_that_must_stay_whole_is_refused_as_a_whole() {
    let batch = group_batch(&[("k:aa", 0), ("k:bb", 1), ("o:cc", 0), ("o:dd", 1)], &[WHOLE, WHOLE]);
    let (groups, committed) = written(&batch, |key| (key == "cc").then(|| refused(121)));
    assert_eq!(committed, [["bb", "dd"]]);
    assert_eq!((groups.counts.whole, groups.counts.split_total()), (1, 0));
    let Fate::Refused(121, reason) = &groups.parts[0].fates[0] else { panic!("it is refused") };
    assert_eq!(reason, "the key o:cc of the same MULTI is refused: no");
}

#[test]
fn a_group_in_conflict_waits_as_a_whole_and_the_others_are_written() {
    let keys: Vec<String> = (10..30).map(|number| format!("k:{number}")).collect();
    let keys: Vec<(&str, u32)> = (0..).zip(&keys).map(|(at, key)| (key.as_str(), at / 2)).collect();
    let batch = group_batch(&keys, &[SPLIT; 10]);
    let (groups, committed) = written(&batch, |key| (key == "15").then(conflict));
    assert_eq!(committed.concat().len(), 18);
    assert_eq!((groups.counts.whole, groups.counts.split_total()), (9, 0));
    assert_eq!(groups.parts[0].written("it is held").held(), [4, 5]);
}

#[test]
fn patience_with_a_conflict_ends_unless_the_group_must_stay_whole() {
    for (whole, fate) in [(false, Fate::Apart), (true, Fate::Held)] {
        let batch = group_batch(
            &[("k:aa", 0), ("o:cc", 0)],
            &[SentGroup { whole, is_split: false, attempts: 8, failing_ms: 10_000 }],
        );
        let (groups, committed) = written(&batch, |key| (key == "aa").then(conflict));
        assert!(committed.is_empty());
        assert_eq!(groups.parts[1].fates, [fate]);
        assert_eq!(groups.counts.split(Split::Blocked), u64::from(!whole));
    }
}

#[test]
fn a_namespace_that_refuses_writes_holds_up_groups_that_must_stay_whole() {
    let batch = group_batch(&[("k:aa", 0), ("k:bb", 1), ("o:cc", 0), ("o:dd", 1)], &[SPLIT, WHOLE]);
    let (groups, committed) = written(&batch, |key| {
        (key == "cc").then(|| Outcome::Failed(Failure::Namespace("no right".to_owned())))
    });
    assert_eq!(committed, [["aa"]]);
    assert_eq!(groups.parts[0].fates, [Fate::Written, Fate::Held]);
    assert_eq!(groups.parts[1].fates, [Fate::Returned, Fate::Returned]);
    assert_eq!(groups.parts[1].written("").error, "no right");
    assert_eq!(groups.counts.split(Split::BacksOff), 1);
}

#[test]
fn a_contested_value_is_written_apart_or_waits() {
    let contested = || {
        let duplicate = Duplicate { reason: "same value".to_owned(), values: Vec::new() };
        let action = Action::Contested(Box::new(duplicate));
        Outcome::Answered(vec![WriteError { op: Some(0), code: 11000, action }])
    };
    for (sent, fates) in [(SPLIT, [Fate::Apart, Fate::Written]), (WHOLE, [Fate::Held, Fate::Held])]
    {
        let batch = group_batch(&[("k:aa", 0), ("o:cc", 0)], &[sent]);
        let (groups, _) = written(&batch, |key| (key == "aa").then(contested));
        let all: Vec<Fate> = groups.parts.iter().flat_map(|part| part.fates.clone()).collect();
        assert_eq!(all, fates);
    }
}

#[test]
fn a_transaction_that_is_too_large_is_halved_and_the_size_remembered() {
    let keys: Vec<String> = (10..50).map(|number| format!("k:{number}")).collect();
    let keys: Vec<(&str, u32)> = (0..).zip(&keys).map(|(at, key)| (key.as_str(), at / 2)).collect();
    let batch = group_batch(&keys, &[SPLIT; 20]);
    let sent = std::cell::Cell::new(0);
    let (groups, committed) = written(&batch, |_| {
        sent.set(sent.get() + 1);
        let action = Action::RetryThenWait("full".to_owned());
        let too_large = || Outcome::Answered(vec![WriteError { op: None, code: 388, action }]);
        (sent.get() == 1).then(too_large)
    });
    assert_eq!((committed.len(), groups.max_ops, groups.counts.whole), (2, 20, 20));
}

#[tokio::test]
async fn a_failure_of_the_link_ends_it() {
    let batch = group_batch(&[("k:aa", 0), ("o:cc", 0)], &[SPLIT]);
    struct Cut(usize);
    impl TransactionSender for Cut {
        async fn send(&mut self, _: usize, _: (Vec<u8>, Expected), _: TxnPosition) -> Outcome {
            Outcome::Failed(Failure::Link(LinkError::unanswered("cut")))
        }
        fn abandon(&mut self) {
            self.0 += 1;
        }
    }
    let part = |batch| Part {
        batch,
        lookup: Lookup::default(),
        forms: Forms::Plain,
        fates: vec![Fate::Open],
        refused_because: String::new(),
        sent_bytes: 0,
    };
    let mut groups = Groups::new(&batch, batch.batches.iter().map(part).collect(), 1000, PATIENCE);
    let mut cut = Cut(0);
    assert!(groups.write(&mut cut).await.is_err());
    assert_eq!((cut.0, groups.counts.whole), (1, 0));
}
