use std::collections::BTreeMap;
use std::sync::Arc;

use mongodb::bson::{Bson, Document, RawDocumentBuf};

use super::*;
use crate::core::delivery::batch::BlockedItem;
use crate::core::ids::{Db, EntryId, RegistrationId, Version};
use crate::core::mapping::value::{Content, NO_EXPIRY, Span};
use crate::core::registration::{Namespace, Registration};
use crate::mongo::write::forms::Forms;
use crate::sink::LinkError;

/// A batch of these keys; a key that begins with `-` is a tombstone.
fn batch(keys: &[&str]) -> Batch {
    let mut bytes = Vec::new();
    let mut span = |text: &str| {
        let start = bytes.len();
        bytes.extend_from_slice(text.as_bytes());
        Span { start, end: bytes.len() }
    };
    let items = keys.iter().map(|key| {
        let deleted = key.starts_with('-');
        let content = if deleted { Content::Tombstone } else { Content::String };
        let (key, value) = (span(key), span("value"));
        Item {
            entry: EntryId(0),
            version: Version(1),
            since_us: 0,
            key,
            content,
            value,
            expire_ms: NO_EXPIRY,
        }
    });
    let items = items.collect();
    let namespace = Namespace { database: "shop".to_owned(), collection: "films".to_owned() };
    Batch {
        registration: Arc::new(Registration::new(Db(0), b"", namespace)),
        registration_id: RegistrationId(0),
        epoch: 0,
        slow: false,
        retry: 0,
        groups: Vec::new(),
        items,
        bytes,
    }
}

/// The keys that a command writes, in its order.
fn keys(command: Vec<u8>) -> Vec<String> {
    let command = RawDocumentBuf::from_bytes(command).unwrap();
    let command = Document::try_from(command.as_ref()).unwrap();
    let names = ["documents", "updates", "deletes"];
    let ops = names.iter().find_map(|name| command.get_array(name).ok()).unwrap();
    let key = |op: &Bson| {
        let op = op.as_document().unwrap();
        op.get_document("q").unwrap_or(op).get_str("_id").unwrap().to_owned()
    };
    ops.iter().map(key).collect()
}

/// Writes a batch to a simulated server that replies to each command with the result of `server`.
/// Returns the result, and how often each key was sent.
async fn write(
    all: &[&str],
    server: impl FnMut(&[String]) -> Outcome,
) -> (Result<Finished, Failure>, BTreeMap<String, u32>) {
    write_as(Kind::Update, all, server).await
}

async fn write_as(
    documents: Kind,
    all: &[&str],
    mut server: impl FnMut(&[String]) -> Outcome,
) -> (Result<Finished, Failure>, BTreeMap<String, u32>) {
    let mut sent = BTreeMap::new();
    let batch = batch(all);
    let built = command::build(&batch, documents, &Lookup::default(), Forms::default());
    let send = async |(bytes, _), _| {
        let keys = keys(bytes);
        for key in &keys {
            *sent.entry(key.clone()).or_default() += 1;
        }
        server(&keys)
    };
    let end = execute(&batch, built, &mut Limits::new(WITHIN), send).await;
    (end, sent)
}

fn refused(end: Result<Finished, Failure>) -> Vec<usize> {
    end.unwrap().written.refused.into_iter().map(|refusal| refusal.index).collect()
}

fn write_error(op: usize, action: Action) -> WriteError {
    WriteError { op: Some(op), code: 1, action }
}

const WITHIN: Duration = Duration::from_secs(10);
const SIX: [&str; 6] = ["a", "-b", "c", "-d", "e", "f"];

#[tokio::test(start_paused = true)]
async fn updates_and_deletes_are_sent_once_without_errors() {
    let (end, sent) = write(&SIX, |_| Outcome::Answered(vec![])).await;
    assert!(end.as_ref().is_ok_and(|end| end.written.sent_bytes > 100));
    assert!(refused(end).is_empty());
    assert_eq!(sent.into_values().collect::<Vec<_>>(), [1; 6]);
}

#[tokio::test(start_paused = true)]
async fn a_refused_operation_is_identified_by_its_index_in_the_batch() {
    let (end, _) = write(&SIX, |keys| {
        let write_errors =
            keys.iter().enumerate().filter(|(_, key)| ["-d", "f"].contains(&key.as_str()));
        let refuse = |(op, _)| write_error(op, Action::Refuse("no".to_owned()));
        Outcome::Answered(write_errors.map(refuse).collect())
    })
    .await;
    assert_eq!(refused(end), [3, 5]);
}

#[tokio::test(start_paused = true)]
async fn bisecting_finds_the_rejected_operations_and_writes_all_others() {
    let names: Vec<_> = (0..100).map(|n| format!("k{n:02}")).collect();
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    let mut applied = Vec::new();
    let (end, sent) = write(&names, |keys| {
        if keys.iter().any(|key| ["k07", "k58"].contains(&key.as_str())) {
            return Outcome::Rejected { code: 10334, reason: "too large".to_owned() };
        }
        applied.extend_from_slice(keys);
        Outcome::Answered(vec![])
    })
    .await;
    assert_eq!(refused(end), [7, 58]);
    assert_eq!(applied.len(), 98);
    assert!(sent.values().all(|times| *times <= 8), "{sent:?}");
}

#[tokio::test(start_paused = true)]
async fn a_temporary_write_conflict_retries_only_the_operations_concerned() {
    let mut conflicts = 2;
    let (end, sent) = write(&SIX, |keys| {
        let at = keys.iter().position(|key| key == "e");
        match at {
            Some(op) if conflicts > 0 => {
                conflicts -= 1;
                Outcome::Answered(vec![write_error(op, wait())])
            }
            _ => Outcome::Answered(vec![]),
        }
    })
    .await;
    assert!(refused(end).is_empty());
    assert_eq!(sent["e"], 3);
    assert_eq!(sent.values().sum::<u32>(), 8);
}

#[tokio::test(start_paused = true)]
async fn a_write_conflict_of_the_whole_command_sends_all_of_it_again() {
    let mut conflicted = false;
    let (end, sent) = write(&["a", "b"], |_| {
        let first = !std::mem::replace(&mut conflicted, true);
        let write_error = WriteError { op: None, code: 112, action: wait() };
        Outcome::Answered(if first { vec![write_error] } else { vec![] })
    })
    .await;
    assert!(refused(end).is_empty());
    assert_eq!(sent.into_values().collect::<Vec<_>>(), [2, 2]);
}

fn wait() -> Action {
    Action::RetryThenWait("locked".to_owned())
}

#[tokio::test(start_paused = true)]
async fn a_persistent_write_conflict_blocks_its_key_and_others_are_written() {
    let (end, sent) = write(&["a", "b"], |keys| {
        let at = keys.iter().position(|key| key == "b");
        Outcome::Answered(at.map(|op| write_error(op, wait())).into_iter().collect())
    })
    .await;
    let written = end.unwrap().written;
    assert_eq!(written.blocked, [BlockedItem { index: 1, reason: "locked".to_owned() }]);
    assert!(written.returned.is_empty() && written.refused.is_empty());
    assert_eq!((sent["a"], sent["b"]), (1, MAX_ATTEMPTS));
}

#[tokio::test(start_paused = true)]
async fn a_persistent_write_conflict_of_the_whole_command_lets_the_namespace_back_off() {
    let write_error = || WriteError { op: None, code: 112, action: wait() };
    let (end, sent) = write(&["a", "b"], |_| Outcome::Answered(vec![write_error()])).await;
    assert_eq!(end.unwrap_err(), Failure::Namespace("locked".to_owned()));
    assert_eq!(sent["a"], MAX_ATTEMPTS);
}

#[tokio::test(start_paused = true)]
async fn when_all_operations_fail_for_one_unknown_reason_none_is_a_dead_letter() {
    let (end, sent) = write(&SIX, |keys| {
        let classifier = |op| write_error(op, Action::RetryThenClassify("odd".to_owned()));
        Outcome::Answered((0..keys.len()).map(classifier).collect())
    })
    .await;
    let written = end.unwrap().written;
    assert_eq!((written.returned, written.error.as_str()), (vec![0, 1, 2, 3, 4, 5], "odd"));
    assert!(written.refused.is_empty() && written.blocked.is_empty());
    assert!(sent.values().all(|times| *times == 1), "{sent:?}");
}

#[tokio::test(start_paused = true)]
async fn operations_refused_before_the_collection_was_repaired_are_written() {
    let mut sent = 0;
    let built_of = |all: &[&str]| {
        let batch = batch(all);
        let built = command::build(&batch, Kind::Update, &Lookup::default(), Forms::default());
        (batch, built)
    };
    let names = names(600);
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    let (batch, built) = built_of(&names);
    let mut limits = Limits::new(WITHIN);
    // Commands of 256 operations each.
    limits.learn(Applied::default(), true);
    let send = async |(bytes, _), _| {
        sent += 1;
        let classifier = |op| write_error(op, Action::RetryThenClassify("index".to_owned()));
        let refused = if sent == 1 { keys(bytes).len() } else { 0 };
        Outcome::Answered((0..refused).map(classifier).collect())
    };
    let end = execute(&batch, built, &mut limits, send).await.unwrap();
    assert!(end.written.refused.is_empty() && end.written.returned.is_empty());
    assert_eq!((end.applied.written, sent), (600, 4));
}

#[tokio::test(start_paused = true)]
async fn an_unknown_refusal_becomes_a_dead_letter_after_some_attempts() {
    let (end, sent) = write(&["a", "b"], |keys| {
        let at = keys.iter().position(|key| key == "b");
        let action = || Action::RetryThenClassify("odd".to_owned());
        Outcome::Answered(at.map(|op| write_error(op, action())).into_iter().collect())
    })
    .await;
    assert_eq!(refused(end), [1]);
    assert_eq!((sent["a"], sent["b"]), (1, MAX_ATTEMPTS));
}

/// A simulated server that exceeds the time limit for each command with one of the keys `slow`.
async fn write_with_slow_keys(
    all: &[&str],
    slow: &[&str],
) -> (Finished, BTreeMap<String, u32>, Duration) {
    let mut sent = BTreeMap::new();
    let batch = batch(all);
    let built = command::build(&batch, Kind::Update, &Lookup::default(), Forms::default());
    let began = Instant::now();
    let send = async |(bytes, _): (Vec<u8>, Expected), limit| {
        let keys = keys(bytes);
        for key in &keys {
            *sent.entry(key.clone()).or_default() += 1;
        }
        if keys.iter().any(|key| slow.contains(&key.as_str())) {
            sleep(limit).await;
            return Outcome::TooSlow;
        }
        Outcome::Answered(vec![])
    };
    let end = execute(&batch, built, &mut Limits::new(WITHIN), send).await.unwrap();
    (end, sent, began.elapsed())
}

fn names(count: usize) -> Vec<String> {
    (0..count).map(|n| format!("k{n:03}")).collect()
}

#[tokio::test(start_paused = true)]
async fn one_document_that_exceeds_the_time_limit_is_found_and_all_others_are_written() {
    let names = names(1000);
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    let (end, _, took) = write_with_slow_keys(&names, &["k617"]).await;
    let Written { blocked, returned, refused, .. } = end.written;
    assert_eq!(blocked.iter().map(|blocked| blocked.index).collect::<Vec<_>>(), [617]);
    assert!(blocked[0].reason.contains("shop.films"), "{}", blocked[0].reason);
    assert!(returned.is_empty() && refused.is_empty());
    assert_eq!(end.applied.written, 999);
    assert!(took < WITHIN / 2, "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn when_every_document_exceeds_the_time_limit_the_batch_is_returned_soon() {
    let names = names(1000);
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    let (end, sent, took) = write_with_slow_keys(&names, &names).await;
    assert_eq!((end.written.returned.len(), end.applied.written), (1000, 0));
    assert!(end.written.error.contains("shop.films"), "{}", end.written.error);
    assert!(took < WITHIN / 2, "{took:?}");
    assert!(sent.len() <= 1000);
}

#[tokio::test(start_paused = true)]
async fn a_slow_namespace_makes_progress_with_small_commands() {
    let names = names(100);
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    let mut limits = Limits::new(WITHIN);
    let per_op = Duration::from_secs(1);
    let mut left = names.clone();
    for _ in 0..200 {
        let batch = batch(&left);
        let built = command::build(&batch, Kind::Update, &Lookup::default(), Forms::default());
        let began = Instant::now();
        let send = async |(bytes, _): (Vec<u8>, Expected), limit| {
            let took = per_op * keys(bytes).len() as u32;
            sleep(took.min(limit)).await;
            if took > limit { Outcome::TooSlow } else { Outcome::Answered(vec![]) }
        };
        let end = execute(&batch, built, &mut limits, send).await.unwrap();
        assert!(began.elapsed() <= WITHIN * 3, "{:?}", began.elapsed());
        limits.learn(end.applied, !end.written.returned.is_empty());
        left = left
            .iter()
            .enumerate()
            .filter(|(index, _)| end.written.is_open(*index))
            .map(|(_, key)| *key)
            .collect();
        if left.is_empty() {
            return;
        }
    }
    panic!("{} are left", left.len());
}

#[tokio::test(start_paused = true)]
async fn a_command_not_acknowledged_in_time_is_sent_again_with_the_full_time_limit() {
    let mut limits = Vec::new();
    let batch = batch(&["a"]);
    let built = command::build(&batch, Kind::Update, &Lookup::default(), Forms::default());
    let send = async |_, limit| {
        limits.push(limit);
        Outcome::Unconfirmed(LinkError::transient("late"))
    };
    let end = execute(&batch, built, &mut Limits::new(WITHIN), send).await;
    assert_eq!(end.unwrap_err(), Failure::Link(LinkError::transient("late")));
    assert!(limits.len() == 2 && limits[0] < WITHIN && limits[1] == WITHIN, "{limits:?}");
}

#[tokio::test(start_paused = true)]
async fn a_failure_ends_the_batch_at_once() {
    let (end, sent) =
        write(&SIX, |_| Outcome::Failed(Failure::Link(LinkError::transient("cut")))).await;
    assert_eq!(end.unwrap_err(), Failure::Link(LinkError::transient("cut")));
    assert_eq!(sent.len(), 2, "the updates are not sent after the deletes failed");
}

#[tokio::test(start_paused = true)]
async fn a_document_that_cannot_be_inserted_because_it_exists_is_updated() {
    let mut inserts = true;
    let (end, sent) = write_as(Kind::Insert, &SIX, |keys| {
        let duplicate =
            |op| WriteError { op: Some(op), code: 11_000, action: Action::Refuse("x".into()) };
        if keys[0] != "-b" && std::mem::take(&mut inserts) {
            assert_eq!(keys, ["a", "c", "e", "f"]);
            return Outcome::Answered(vec![
                duplicate(1),
                write_error(3, Action::Refuse("no".into())),
            ]);
        }
        Outcome::Answered(vec![])
    })
    .await;
    assert_eq!(end.as_ref().map(|end| end.existing).ok(), Some(1));
    assert_eq!(refused(end), [5]);
    let twice: Vec<_> = sent.iter().filter(|(_, times)| **times == 2).map(|(key, _)| key).collect();
    assert_eq!(twice, ["c"]);
}

#[tokio::test(start_paused = true)]
async fn an_operation_that_is_refused_twice_is_one_refusal() {
    let (end, _) = write(&SIX, |keys| {
        let at = keys.iter().position(|key| key == "c");
        let refuse = |op| write_error(op, Action::Refuse("no".to_owned()));
        Outcome::Answered(at.into_iter().flat_map(|op| [refuse(op), refuse(op)]).collect())
    })
    .await;
    assert_eq!(refused(end), [2]);
}
