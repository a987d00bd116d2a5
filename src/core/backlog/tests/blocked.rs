//! Keys whose documents cannot be written now, and slow registrations.

use super::*;
use crate::core::backlog::{KeyState, Obstacle};
use crate::core::delivery::batch::Blocked;

/// The item of this index waits 50 ms by itself, all others are written.
fn blocks(index: usize) -> Verdict {
    let blocked = vec![Blocked { index, reason: "held by another".to_owned() }];
    Verdict::Written(Written { blocked, blocked_ms: 50, ..Written::default() })
}

fn slow_credits(engine: &mut Engine, credits: u32) {
    engine.report(Report::SlowCredit(credits), 0, 0, &mut Acknowledged::default());
}

/// An engine with one blocked key, `a:2`, that waits until 50 ms.
fn with_blocked() -> Engine {
    let mut engine = engine(&["a:", "b:"]);
    slow_credits(&mut engine, 2);
    for key in ["a:1", "a:2", "a:3"] {
        touch(&mut engine, key, 1);
    }
    let flight = batch(&mut engine, u64::MAX).unwrap();
    assert_eq!(done(&mut engine, flight, blocks(1), 0), ["a:1", "a:3"]);
    engine
}

#[test]
fn a_blocked_key_waits_by_itself_and_is_tried_again_alone() {
    let mut engine = with_blocked();
    let state = engine.state(10_000);
    assert_eq!((state.dirty_keys, state.blocked_keys, state.oldest_dirty_ms), (1, 1, 9));
    assert_eq!((engine.last_error(), state.counters.retries_total), ("held by another", 1));
    let explained = engine.explain(0, b"a:2", 10_000);
    assert_eq!(explained.state, KeyState::Waiting(Obstacle::Document));
    assert_eq!((explained.last_error.as_str(), explained.attempts), ("held by another", 1));
    assert_eq!(engine.next_due_us(), Some(50_000));
    // Others of its registration do not wait.
    touch(&mut engine, "a:4", 10_000);
    let other = batch(&mut engine, 49_999_999).map(|batch| (batch.retry, batch.slow));
    assert_eq!(other, Some((1, true)), "it is the first when its time has come");
    assert_eq!(keys(&batch(&mut engine, u64::MAX).unwrap()), ["a:4"]);
}

#[test]
fn its_changes_coalesce_and_it_waits_longer_each_time() {
    let mut engine = with_blocked();
    touch(&mut engine, "a:2", 2);
    touch(&mut engine, "a:2", 3);
    assert!(batch(&mut engine, 49_999).is_none());
    let again = batch(&mut engine, 50_000).unwrap();
    assert_eq!((keys(&again), again.retry), (vec!["a:2"], 1));
    assert_eq!(engine.explain(0, b"a:2", 50_000).state, KeyState::InFlight);
    assert!(done(&mut engine, again, blocks(0), 60_000).is_empty());
    slow_credits(&mut engine, 1);
    let again = batch(&mut engine, 110_000).unwrap();
    assert_eq!((keys(&again), again.retry), (vec!["a:2"], 2));
    assert_eq!(done(&mut engine, again, written(), 120_000), ["a:2"]);
    let state = engine.state(120_000);
    assert_eq!((state.dirty_keys, state.blocked_keys), (0, 0));
}

#[test]
fn a_broken_link_does_not_put_it_among_others() {
    let mut engine = with_blocked();
    let again = batch(&mut engine, 50_000).unwrap();
    let verdict = Verdict::Returned { error: "cut".to_owned(), hold_ms: 0, in_doubt: false };
    done(&mut engine, again, verdict, 60_000);
    slow_credits(&mut engine, 1);
    touch(&mut engine, "a:4", 60_000);
    let again = batch(&mut engine, u64::MAX).unwrap();
    assert_eq!((keys(&again), again.retry), (vec!["a:2"], 2));
}

#[test]
fn a_flush_waits_for_it_and_a_pause_stops_it() {
    let mut engine = with_blocked();
    let waiter = engine.flush(FlushScope::All, 10);
    assert!(!engine.is_flushed(waiter));
    engine.pause(Some(0));
    assert!(batch(&mut engine, u64::MAX).is_none() && engine.next_due_us().is_none());
    engine.resume(Some(0));
    let again = batch(&mut engine, u64::MAX).unwrap();
    done(&mut engine, again, written(), 60_000);
    assert!(engine.is_flushed(waiter));
}

#[test]
fn it_does_not_outlive_its_registration_or_epoch() {
    let mut engine = with_blocked();
    engine.begin_epoch();
    assert_eq!((engine.state(1).dirty_keys, engine.state(1).blocked_keys), (1, 0));
    assert_eq!(keys(&batch(&mut engine, u64::MAX).unwrap()), ["a:2"]);
    let mut engine = with_blocked();
    engine.unregister(0, b"a:", true, 10);
    assert_eq!((engine.state(11).dirty_keys, engine.slot(0).is_none()), (0, true));
    let mut engine = with_blocked();
    engine.register(registration("a:2"));
    touch(&mut engine, "a:2", 20);
    engine.unregister(0, b"a:", false, 30);
    assert_eq!((engine.state(31).blocked_keys, engine.slot(0).is_none()), (0, true));
    assert_eq!(keys(&batch(&mut engine, u64::MAX).unwrap()), ["a:2"]);
}

#[test]
fn what_comes_back_from_an_answered_batch_is_dirty_in_its_order_and_rests() {
    let mut engine = engine(&["a:"]);
    for key in ["a:1", "a:2", "a:3", "a:4"] {
        touch(&mut engine, key, 1);
    }
    let flight = batch(&mut engine, u64::MAX).unwrap();
    let verdict = Verdict::Written(Written {
        returned: vec![0, 2],
        error: "too slow".to_owned(),
        hold_ms: 100,
        ..Written::default()
    });
    let (rest, mut clean) = (verdict, Acknowledged::default());
    let report = Report::Done { batch: flight, verdict: rest };
    let rest = engine.report_part(report, 3, (0, 7), &mut clean).unwrap();
    assert!(engine.report_part(rest, 3, (0, 7), &mut clean).is_none());
    assert_eq!(clean.keys.iter().map(|(_, key)| key).collect::<Vec<_>>(), [b"a:2", b"a:4"]);
    let state = engine.state(1);
    assert_eq!((engine.last_error(), state.dirty_keys, state.in_flight_keys), ("too slow", 2, 0));
    assert_eq!((state.counters.written_total, state.counters.retries_total), (2, 1));
    assert!(batch(&mut engine, 99_999).is_none());
    assert_eq!(keys(&batch(&mut engine, 100_000).unwrap()), ["a:1", "a:3"]);
}

#[test]
fn a_slow_registration_has_credits_of_its_own_and_the_last_one_is_for_another() {
    let mut engine = engine(&["a:", "b:", "c:"]);
    engine.settings.batch_max_keys = 1;
    for key in ["a:1", "a:2", "a:3", "a:4", "b:1", "b:2", "c:1"] {
        touch(&mut engine, key, 1);
    }
    let of_a = engine.slot(0).unwrap().registration.clone();
    let slow = Report::Slow { slot: 0, registration: of_a, slow: true };
    engine.report(slow, 0, 0, &mut Acknowledged::default());
    let mut sent = Vec::new();
    while let Some(batch) = batch(&mut engine, u64::MAX) {
        sent.push((keys(&batch)[0].to_owned(), batch.slow));
    }
    let sent: Vec<_> = sent.iter().map(|(key, slow)| (key.as_str(), *slow)).collect();
    assert_eq!(sent, [("b:1", false), ("c:1", false)], "the third credit is for another one");
    slow_credits(&mut engine, 2);
    assert_eq!(keys(&batch(&mut engine, u64::MAX).unwrap()), ["a:1"]);
    assert!(batch(&mut engine, u64::MAX).is_none());
}
