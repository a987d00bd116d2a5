use super::*;
use crate::core::backlog::table::RetainedValue;
use crate::core::delivery::batch::Link;
use crate::core::ids::{Db, RegistrationId};
use crate::core::now::Now;

fn state(backlog: &Backlog, key: &str) -> (&'static str, u64) {
    let explained = backlog.explain(Db(0), key.as_bytes(), 500_000);
    (explained.state.name(), explained.since_unix_ms)
}

#[test]
fn the_state_of_a_key_is_reported_from_its_change_to_its_acknowledgement() {
    let mut backlog = backlog(&["a:"]);
    assert_eq!(state(&backlog, "a:1"), ("clean", 0));
    assert_eq!(state(&backlog, "b:1"), ("not registered", 0));
    change(&mut backlog, "a:1", 1_000);
    assert_eq!(state(&backlog, "a:1"), ("dirty", 1));
    backlog.pause(None);
    assert_eq!(state(&backlog, "a:1"), ("paused", 1));
    backlog.resume(None);
    let flight = batch(&mut backlog, 200_000).unwrap();
    assert_eq!(state(&backlog, "a:1"), ("in flight", 1));
    change(&mut backlog, "a:1", 2_000);
    assert_eq!(state(&backlog, "a:1"), ("in flight, changed since", 2));
    done(&mut backlog, flight, written(), 300_000);
    assert_eq!(state(&backlog, "a:1"), ("dirty", 2));
    let flight = batch(&mut backlog, 400_000).unwrap();
    done(&mut backlog, flight, written(), 400_000);
    assert_eq!(state(&backlog, "a:1"), ("clean", 0));
}

#[test]
fn the_obstacle_of_a_key_is_named() {
    let mut backlog = backlog(&["a:"]);
    change(&mut backlog, "a:1", 1_000);
    let flight = batch(&mut backlog, 200_000).unwrap();
    done(&mut backlog, flight, returned(10_000), 200_000);
    let explained = backlog.explain(Db(0), b"a:1", 500_000);
    assert_eq!(explained.state, KeyState::Waiting(Obstacle::BackOff));
    assert_eq!(explained.last_error, "no server");
    let down = Report::Link(Link::Down { error: "away".to_owned() });
    backlog.report(down, Now { us: 200_000, unix_ms: 200 }, &mut Acknowledged::default());
    let explained = backlog.explain(Db(0), b"a:1", 500_000);
    assert_eq!(explained.state, KeyState::Waiting(Obstacle::Link));
    let up = Report::Link(Link::Up);
    backlog.report(up, Now { us: 200_000, unix_ms: 200 }, &mut Acknowledged::default());
    assert_eq!(backlog.explain(Db(0), b"a:1", 20_000_000).state, KeyState::Dirty);
    let mut batch = backlog.begin_batch(20_000_000).unwrap();
    let (taken, _) = backlog.take_key(&mut batch, 20_000_000).unwrap();
    backlog.park_slow(&batch, &taken, 30_000_000);
    change(&mut backlog, "a:1", 20_000_001);
    assert_eq!(
        backlog.explain(Db(0), b"a:1", 20_000_000).state,
        KeyState::Waiting(Obstacle::SlowRead)
    );
    assert_eq!(backlog.explain(Db(0), b"a:1", 20_000_000).since_unix_ms, 1);
    let oldest_ms = |backlog: &Backlog| {
        let of_prefix = backlog.prefix_state(RegistrationId(0), 9_001_000).unwrap().oldest_dirty_ms;
        (backlog.state(9_001_000).oldest_dirty_ms, of_prefix)
    };
    assert_eq!(oldest_ms(&backlog), (9_000, 9_000), "the key is dirty since its first change");
    backlog.begin_epoch();
    assert_eq!(oldest_ms(&backlog), (0, 0), "the entry has only the time of the second change");
}

#[test]
fn a_refused_key_has_a_reason_and_keeps_its_value() {
    let mut backlog = backlog(&["a:"]);
    change(&mut backlog, "a:1", 1_000);
    let flight = batch(&mut backlog, 200_000).unwrap();
    let refusal = Refusal { index: 0, code: 121, reason: "schema".to_owned() };
    let verdict =
        Verdict::Written(Written { refused: vec![refusal], sent_bytes: 1, ..Written::default() });
    done(&mut backlog, flight, verdict, 300_000);
    let explained = backlog.explain(Db(0), b"a:1", 500_000);
    assert_eq!((explained.state, explained.since_unix_ms), (KeyState::DeadLetter, 7));
    assert_eq!((explained.attempts, explained.last_error.as_str()), (1, "schema"));
    let value =
        RetainedValue { content: Content::String, expire_ms: NO_EXPIRY, bytes: (*b"v").into() };
    backlog.retain_value(Db(0), b"a:1", value.clone(), || 0);
    assert_eq!(backlog.explain(Db(0), b"a:1", 500_000).retained, Some(value.clone()));
    backlog.retry(LetterScope::All, 600_000);
    let explained = backlog.explain(Db(0), b"a:1", 700_000);
    assert_eq!((explained.state, explained.attempts), (KeyState::Dirty, 1));
    assert_eq!(explained.retained, Some(value));
}

#[test]
fn a_key_is_unscanned_until_the_scan_ends() {
    let mut backlog = backlog(&["a:"]);
    backlog.set_sync_pending(RegistrationId(0), true);
    assert_eq!(state(&backlog, "a:1"), ("unscanned", 0));
    backlog.end_scan(RegistrationId(0), 1);
    assert_eq!(state(&backlog, "a:1"), ("clean", 0));
}

#[test]
fn deletion_of_the_document_of_a_missing_key_depends_on_the_reason() {
    let mut backlog = backlog(&["a:"]);
    change(&mut backlog, "a:1", 1);
    backlog.record((Db(0), b"a:2"), ChangeKind::Deleted, || false, || 0);
    backlog.record((Db(0), b"a:3"), ChangeKind::Expired, || false, || 0);
    backlog.fold(2);
    let deletes = |key: &str| backlog.explain(Db(0), key.as_bytes(), 5).deletes(false);
    assert_eq!(["a:1", "a:2", "a:3", "a:4"].map(deletes), [false, true, false, false]);
    assert!(backlog.explain(Db(0), b"a:4", 5).deletes(true));
    assert!(!backlog.explain(Db(0), b"b:4", 5).deletes(true));
}

#[test]
fn a_key_that_is_read_in_steps_counts_as_dirty() {
    let mut backlog = backlog(&["a:"]);
    change(&mut backlog, "a:1", 1_000);
    let mut batch = backlog.begin_batch(200_000).unwrap();
    let (taken, _) = backlog.take_key(&mut batch, 200_000).unwrap();
    backlog.reads_in_steps(&batch, &taken);
    assert_eq!(backlog.state(501_000).oldest_dirty_ms, 500);
    assert_eq!(backlog.explain(Db(0), b"a:1", 1).state, KeyState::Waiting(Obstacle::SlowRead));
    backlog.interrupted(&batch, &taken, b"a:1", 300_000);
    assert_eq!(backlog.explain(Db(0), b"a:1", 1).state, KeyState::Dirty);
}
