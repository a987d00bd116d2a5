use super::*;
use crate::core::backlog::reads::Standing;
use crate::core::backlog::{Acknowledged, Flight, item};
use crate::core::delivery::batch::{Verdict, Written};
use crate::core::delivery::report::Report;
use crate::core::ids::{Db, RegistrationId};
use crate::core::mapping::value::{NO_EXPIRY, Span};
use crate::core::now::Now;
use crate::core::registration::{Namespace, Registration};

const REWRITE_US: u64 = 12_000_000;

fn backlog() -> Backlog {
    let mut backlog = Backlog::default();
    let namespace = Namespace { database: "d".to_owned(), collection: "c".to_owned() };
    backlog.register(Registration::new(Db(0), b"", namespace)).unwrap();
    backlog.report(Report::Credit(9), Now { us: 0, unix_ms: 0 }, &mut Acknowledged::default());
    backlog
}

fn change(backlog: &mut Backlog, key: &str, kind: ChangeKind, now_us: u64) {
    backlog.record((Db(0), key.as_bytes()), kind, || false, || 0);
    backlog.fold(now_us);
}

/// Sends all dirty keys in a batch with this outcome. Returns the keys sent and those that became
/// clean.
fn send(backlog: &mut Backlog, verdict: Verdict, now_us: u64) -> (Vec<String>, Vec<String>) {
    let mut batch = backlog.begin_batch(u64::MAX).expect("something is dirty");
    while let Some((taken, key)) = backlog.take_key(&mut batch, u64::MAX) {
        let (end, deleted) = (batch.bytes.len(), taken.kind == ChangeKind::Deleted);
        let content = if deleted { Content::Tombstone } else { Content::String };
        batch.items.push(item(&taken, key, content, Span { start: end, end }, NO_EXPIRY));
    }
    backlog.sending(&batch);
    backlog.in_flight.sent(Flight::of(&batch));
    let text = |key: &[u8]| String::from_utf8(key.to_vec()).unwrap();
    let sent = batch.items.iter().map(|item| text(batch.key(item))).collect();
    let mut clean = Acknowledged::default();
    backlog.report(Report::Done { batch, verdict }, Now { us: now_us, unix_ms: 7 }, &mut clean);
    (sent, clean.keys.iter().map(|(_, key)| text(key)).collect())
}

fn written() -> Verdict {
    Verdict::Written(Written::default())
}

fn abandoned(indeterminate: bool) -> Verdict {
    Verdict::Returned { error: "silence".to_owned(), hold_ms: 0, indeterminate }
}

/// A backlog in which a write of `key` was abandoned at 10, and `key` was written again at 20.
fn with_indeterminate_write(key: &str, how: ChangeKind) -> Backlog {
    let mut backlog = backlog();
    change(&mut backlog, key, how, 1);
    send(&mut backlog, abandoned(true), 10);
    assert!(!backlog.has_due_rewrites(u64::MAX), "not before it is written again");
    let (_, clean) = send(&mut backlog, written(), 20);
    assert_eq!(clean, [key]);
    backlog
}

#[test]
fn a_key_with_an_indeterminate_write_is_written_twice() {
    let mut backlog = with_indeterminate_write("k", ChangeKind::Changed);
    assert_eq!(backlog.rewrites_due_us(), Some(20 + REWRITE_US));
    assert!(!backlog.has_due_rewrites(19 + REWRITE_US));
    backlog.mark_due_rewrites(20 + REWRITE_US);
    let (sent, clean) = send(&mut backlog, written(), 30 + REWRITE_US);
    assert_eq!((sent, clean), (vec!["k".to_owned()], vec!["k".to_owned()]));
    assert_eq!(backlog.rewrites_due_us(), None);
}

#[test]
fn a_second_indeterminate_write_puts_the_rewrite_off() {
    let mut backlog = with_indeterminate_write("k", ChangeKind::Changed);
    // It is due for the first one at 20 + REWRITE_US.
    let later = REWRITE_US;
    change(&mut backlog, "k", ChangeKind::Changed, later - 2);
    send(&mut backlog, abandoned(true), later - 1);
    let (_, clean) = send(&mut backlog, written(), later);
    assert_eq!(clean, ["k"]);
    assert!(backlog.mark_due_rewrites(20 + REWRITE_US).is_empty(), "too early for the second one");
    let marked = backlog.mark_due_rewrites(later + REWRITE_US);
    assert_eq!(marked.len(), 1);
    assert!(!backlog.has_due_rewrites(u64::MAX));
}

#[test]
fn a_fenced_batch_is_not_indeterminate() {
    let mut backlog = backlog();
    change(&mut backlog, "k", ChangeKind::Changed, 1);
    send(&mut backlog, abandoned(false), 10);
    let (_, clean) = send(&mut backlog, written(), 20);
    assert_eq!((clean.len(), backlog.rewrites_due_us()), (1, None));
}

#[test]
fn an_indeterminate_deletion_is_repeated() {
    let mut backlog = with_indeterminate_write("k", ChangeKind::Deleted);
    backlog.mark_due_rewrites(20 + REWRITE_US);
    assert_eq!(backlog.dirty.kind_of(Db(0), b"k"), Some(ChangeKind::Deleted));
}

#[test]
fn an_indeterminate_write_of_a_retained_value_is_repeated() {
    let mut backlog = backlog();
    change(&mut backlog, "k", ChangeKind::Changed, 1);
    let value = || RetainedValue { content: Content::String, expire_ms: 5, bytes: (*b"v").into() };
    backlog.retain_value(Db(0), b"k", value(), || 0);
    send(&mut backlog, abandoned(true), 10);
    send(&mut backlog, written(), 20);
    backlog.mark_due_rewrites(20 + REWRITE_US);
    assert_eq!(backlog.dirty.kind_of(Db(0), b"k"), Some(ChangeKind::Retained));
}

#[test]
fn a_retained_value_is_not_written_again_over_a_change_that_is_only_logged() {
    let mut backlog = backlog();
    change(&mut backlog, "k", ChangeKind::Changed, 1);
    let value = RetainedValue { content: Content::String, expire_ms: 5, bytes: (*b"v").into() };
    backlog.retain_value(Db(0), b"k", value, || 0);
    send(&mut backlog, abandoned(true), 10);
    send(&mut backlog, written(), 20);
    backlog.record((Db(0), b"k"), ChangeKind::Changed, || false, || 30);
    assert!(backlog.mark_due_rewrites(20 + REWRITE_US).is_empty());
    assert_eq!(backlog.dirty.kind_of(Db(0), b"k"), Some(ChangeKind::Changed));
}

#[test]
fn indeterminate_writes_are_forgotten_with_the_epoch() {
    let mut backlog = with_indeterminate_write("k", ChangeKind::Changed);
    backlog.begin_epoch();
    assert!(!backlog.has_due_rewrites(u64::MAX));
}

#[test]
fn a_change_before_the_rewrite_is_written_and_the_rewrite_stays_due() {
    let mut backlog = with_indeterminate_write("k", ChangeKind::Changed);
    change(&mut backlog, "k", ChangeKind::Changed, 50);
    assert_eq!(send(&mut backlog, written(), 60).0, ["k"]);
    assert!(backlog.has_due_rewrites(20 + REWRITE_US), "at the same time as before");
}

#[test]
fn writes_of_the_oldest_dirty_keys_are_indeterminate_after_loading() {
    let mut backlog = backlog();
    backlog.settings.batch_max_keys = 1;
    backlog.settings.max_in_flight_batches = 1;
    for key in ["old", "next", "third"] {
        change(&mut backlog, key, ChangeKind::Changed, 1);
    }
    backlog.assume_predecessor_in_flight(1);
    change(&mut backlog, "new", ChangeKind::Changed, 2);
    for _ in 0..4 {
        send(&mut backlog, written(), 20);
    }
    let again = backlog.mark_due_rewrites(20 + REWRITE_US);
    assert_eq!(again, [&b"old"[..], b"next"].map(|key| (RegistrationId(0), key.to_vec())));
    for _ in 0..2 {
        send(&mut backlog, written(), 30 + REWRITE_US);
    }
    assert_eq!(
        backlog.rewrites_due_us(),
        None,
        "the second writes are not indeterminate themselves"
    );
}

#[test]
fn a_change_after_loading_is_not_indeterminate() {
    let mut backlog = backlog();
    change(&mut backlog, "old", ChangeKind::Changed, 1);
    backlog.assume_predecessor_in_flight(1);
    change(&mut backlog, "old", ChangeKind::Deleted, 1);
    backlog.dirty.forget(Db(0), b"old");
    change(&mut backlog, "new", ChangeKind::Changed, 5);
    send(&mut backlog, written(), 20);
    assert_eq!(backlog.rewrites_due_us(), None);
}

#[test]
fn an_unregistered_prefix_does_not_wait_for_its_rewrites() {
    let mut backlog = with_indeterminate_write("k", ChangeKind::Changed);
    backlog.unregister(Db(0), b"", false, 30);
    assert!(backlog.registry.at(RegistrationId(0)).is_none());
    assert!(backlog.mark_due_rewrites(20 + REWRITE_US).is_empty());
}

#[test]
fn a_deleted_key_has_no_document_to_read_and_a_changed_one_waits_for_its_second_write() {
    let mut deleted = with_indeterminate_write("k", ChangeKind::Deleted);
    assert_eq!(deleted.read_standing(Db(0), b"k"), Standing::Removed);
    let mut changed = with_indeterminate_write("k", ChangeKind::Changed);
    assert_eq!(changed.read_standing(Db(0), b"k"), Standing::Dirty);
    for backlog in [&mut deleted, &mut changed] {
        assert_eq!(backlog.mark_due_rewrites(20 + REWRITE_US).len(), 1);
        send(backlog, written(), 20 + REWRITE_US);
        assert_eq!(backlog.read_standing(Db(0), b"k"), Standing::Clean);
    }
}
