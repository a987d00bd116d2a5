use super::*;
use crate::core::backlog::{Acknowledged, Flight, item};
use crate::core::delivery::batch::{Report, Verdict, Written};
use crate::core::mapping::value::{NO_EXPIRY, Span};
use crate::core::registration::{Namespace, Registration};

const ONCE_MORE_US: u64 = 12_000_000;

fn engine() -> Engine {
    let mut engine = Engine::default();
    let namespace = Namespace { database: "d".to_owned(), collection: "c".to_owned() };
    engine.register(Registration::new(0, b"", namespace)).unwrap();
    engine.report(Report::Credit(9), 0, 0, &mut Acknowledged::default());
    engine
}

fn touch(engine: &mut Engine, key: &str, touch: Touch, now_us: u64) {
    engine.touch(0, key.as_bytes(), touch);
    engine.fold(now_us);
}

/// Sends every dirty key, and lets the batch end so. Returns the keys sent and those that are
/// clean for everybody.
fn send(engine: &mut Engine, verdict: Verdict, now_us: u64) -> (Vec<String>, Vec<String>) {
    let mut batch = engine.begin_batch(u64::MAX).expect("something is dirty");
    while let Some((taken, key)) = engine.take(&mut batch, u64::MAX) {
        let (end, gone) = (batch.bytes.len(), taken.touch == Touch::Deleted);
        let content = if gone { Content::Tombstone } else { Content::String };
        batch.items.push(item(&taken, key, content, Span { start: end, end }, NO_EXPIRY));
    }
    engine.sending(&batch);
    engine.sent(Flight::of(&batch));
    let text = |key: &[u8]| String::from_utf8(key.to_vec()).unwrap();
    let sent = batch.items.iter().map(|item| text(batch.key(item))).collect();
    let mut clean = Acknowledged::default();
    engine.report(Report::Done { batch, verdict }, now_us, 7, &mut clean);
    (sent, clean.keys.iter().map(|(_, key)| text(key)).collect())
}

fn written() -> Verdict {
    Verdict::Written(Written::default())
}

fn given_up(in_doubt: bool) -> Verdict {
    Verdict::Returned { error: "silence".to_owned(), hold_ms: 0, in_doubt }
}

/// A state in which `key` was given up at 10 and written again at 20.
fn in_doubt(key: &str, how: Touch) -> Engine {
    let mut engine = engine();
    touch(&mut engine, key, how, 1);
    send(&mut engine, given_up(true), 10);
    assert!(!engine.has_due_doubts(u64::MAX), "not before it is written again");
    let (_, clean) = send(&mut engine, written(), 20);
    assert_eq!(clean, [key]);
    engine
}

#[test]
fn a_key_that_was_given_up_is_written_twice() {
    let mut engine = in_doubt("k", Touch::Changed);
    assert_eq!(engine.doubts_due_us(), Some(20 + ONCE_MORE_US));
    assert!(!engine.has_due_doubts(19 + ONCE_MORE_US));
    engine.settle_doubts(20 + ONCE_MORE_US);
    let (sent, clean) = send(&mut engine, written(), 30 + ONCE_MORE_US);
    assert_eq!((sent, clean), (vec!["k".to_owned()], vec!["k".to_owned()]));
    assert_eq!(engine.doubts_due_us(), None);
}

#[test]
fn a_fenced_batch_leaves_no_doubt() {
    let mut engine = engine();
    touch(&mut engine, "k", Touch::Changed, 1);
    send(&mut engine, given_up(false), 10);
    let (_, clean) = send(&mut engine, written(), 20);
    assert_eq!((clean.len(), engine.doubts_due_us()), (1, None));
}

#[test]
fn a_deletion_in_doubt_is_made_twice() {
    let mut engine = in_doubt("k", Touch::Deleted);
    engine.settle_doubts(20 + ONCE_MORE_US);
    assert_eq!(engine.dirty.touched(0, b"k"), Some(Touch::Deleted));
}

#[test]
fn a_captured_value_in_doubt_is_written_twice() {
    let mut engine = engine();
    touch(&mut engine, "k", Touch::Changed, 1);
    let value = || Captured { content: Content::String, expire_ms: 5, bytes: (*b"v").into() };
    engine.capture(0, b"k", value());
    send(&mut engine, given_up(true), 10);
    send(&mut engine, written(), 20);
    engine.settle_doubts(20 + ONCE_MORE_US);
    assert_eq!(engine.dirty.touched(0, b"k"), Some(Touch::Captured));
}

#[test]
fn doubts_end_with_the_epoch() {
    let mut engine = in_doubt("k", Touch::Changed);
    engine.begin_epoch();
    assert!(!engine.has_due_doubts(u64::MAX));
}

#[test]
fn a_change_meanwhile_is_written_and_the_doubt_stays() {
    let mut engine = in_doubt("k", Touch::Changed);
    touch(&mut engine, "k", Touch::Changed, 50);
    assert_eq!(send(&mut engine, written(), 60).0, ["k"]);
    assert!(engine.has_due_doubts(20 + ONCE_MORE_US), "at the time that it was due before");
}

#[test]
fn what_is_dirty_for_longest_after_loading_is_in_doubt_and_later_changes_are_not() {
    let mut engine = engine();
    engine.settings.batch_max_keys = 1;
    engine.settings.max_in_flight_batches = 1;
    for key in ["old", "next", "third"] {
        touch(&mut engine, key, Touch::Changed, 1);
    }
    engine.suspect(1);
    touch(&mut engine, "new", Touch::Changed, 2);
    for _ in 0..4 {
        send(&mut engine, written(), 20);
    }
    let again = engine.settle_doubts(20 + ONCE_MORE_US);
    assert_eq!(again, [(0, b"old".to_vec()), (0, b"next".to_vec())]);
    for _ in 0..2 {
        send(&mut engine, written(), 30 + ONCE_MORE_US);
    }
    assert_eq!(engine.doubts_due_us(), None, "the second writes are not in doubt themselves");
}

#[test]
fn a_change_after_loading_is_not_in_doubt() {
    let mut engine = engine();
    touch(&mut engine, "old", Touch::Changed, 1);
    engine.suspect(1);
    touch(&mut engine, "old", Touch::Deleted, 1);
    engine.dirty.forget(0, b"old");
    touch(&mut engine, "new", Touch::Changed, 5);
    send(&mut engine, written(), 20);
    assert_eq!(engine.doubts_due_us(), None);
}

#[test]
fn an_unregistered_prefix_is_free_without_waiting_for_its_doubts() {
    let mut engine = in_doubt("k", Touch::Changed);
    engine.unregister(0, b"", false, 30);
    assert!(engine.slot(0).is_none());
    assert!(engine.settle_doubts(20 + ONCE_MORE_US).is_empty());
}
