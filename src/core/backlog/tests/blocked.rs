//! Blocked keys and slow registrations.

use super::*;
use crate::core::backlog::{KeyState, Obstacle};
use crate::core::delivery::batch::BlockedItem;
use crate::core::ids::{Db, RegistrationId};
use crate::core::now::Now;

/// The item at this index is blocked for 50 ms, all others are written.
fn blocks(index: usize) -> Verdict {
    let blocked = vec![BlockedItem { index, reason: "held by another".to_owned() }];
    Verdict::Written(Written { blocked, blocked_ms: 50, ..Written::default() })
}

fn slow_credits(backlog: &mut Backlog, credits: u32) {
    backlog.report(
        Report::SlowCredit(credits),
        Now { us: 0, unix_ms: 0 },
        &mut Acknowledged::default(),
    );
}

/// A backlog with one blocked key, `a:2`, that is retried at 50 ms.
fn with_blocked() -> Backlog {
    let mut backlog = backlog(&["a:", "b:"]);
    slow_credits(&mut backlog, 2);
    for key in ["a:1", "a:2", "a:3"] {
        change(&mut backlog, key, 1);
    }
    let flight = batch(&mut backlog, u64::MAX).unwrap();
    assert_eq!(done(&mut backlog, flight, blocks(1), 0), ["a:1", "a:3"]);
    backlog
}

#[test]
fn a_blocked_key_is_retried_in_a_batch_of_its_own() {
    let mut backlog = with_blocked();
    let state = backlog.state(10_000);
    assert_eq!((state.dirty_keys, state.blocked_keys, state.oldest_dirty_ms), (1, 1, 9));
    assert_eq!((backlog.last_error(), state.counters.retries_total), ("held by another", 1));
    let explained = backlog.explain(Db(0), b"a:2", 10_000);
    assert_eq!(explained.state, KeyState::Waiting(Obstacle::Document));
    assert_eq!((explained.last_error.as_str(), explained.attempts), ("held by another", 1));
    assert_eq!(backlog.next_due_us(), Some(50_000));
    // Other keys of its registration do not wait.
    change(&mut backlog, "a:4", 10_000);
    let other = batch(&mut backlog, 49_999_999).map(|batch| (batch.retry, batch.slow));
    assert_eq!(other, Some((1, true)), "it is sent first when it is due");
    assert_eq!(keys(&batch(&mut backlog, u64::MAX).unwrap()), ["a:4"]);
}

#[test]
fn its_changes_coalesce_and_its_attempts_are_counted() {
    let mut backlog = with_blocked();
    change(&mut backlog, "a:2", 2);
    change(&mut backlog, "a:2", 3);
    assert!(batch(&mut backlog, 49_999).is_none());
    let again = batch(&mut backlog, 50_000).unwrap();
    assert_eq!((keys(&again), again.retry), (vec!["a:2"], 1));
    assert_eq!(backlog.explain(Db(0), b"a:2", 50_000).state, KeyState::InFlight);
    assert!(done(&mut backlog, again, blocks(0), 60_000).is_empty());
    slow_credits(&mut backlog, 1);
    let again = batch(&mut backlog, 110_000).unwrap();
    assert_eq!((keys(&again), again.retry), (vec!["a:2"], 2));
    assert_eq!(done(&mut backlog, again, written(), 120_000), ["a:2"]);
    let state = backlog.state(120_000);
    assert_eq!((state.dirty_keys, state.blocked_keys), (0, 0));
}

#[test]
fn it_stays_in_a_batch_of_its_own_after_a_link_failure() {
    let mut backlog = with_blocked();
    let again = batch(&mut backlog, 50_000).unwrap();
    let verdict = Verdict::Returned { error: "cut".to_owned(), hold_ms: 0, indeterminate: false };
    done(&mut backlog, again, verdict, 60_000);
    slow_credits(&mut backlog, 1);
    change(&mut backlog, "a:4", 60_000);
    let again = batch(&mut backlog, u64::MAX).unwrap();
    assert_eq!((keys(&again), again.retry), (vec!["a:2"], 2));
}

#[test]
fn a_flush_waits_for_it_and_a_pause_stops_it() {
    let mut backlog = with_blocked();
    let waiter = backlog.flush(FlushScope::All, 10);
    assert!(!backlog.is_flushed(waiter));
    backlog.pause(Some(RegistrationId(0)));
    assert!(batch(&mut backlog, u64::MAX).is_none() && backlog.next_due_us().is_none());
    backlog.resume(Some(RegistrationId(0)));
    let again = batch(&mut backlog, u64::MAX).unwrap();
    done(&mut backlog, again, written(), 60_000);
    assert!(backlog.is_flushed(waiter));
}

#[test]
fn it_is_unblocked_when_its_registration_or_epoch_ends() {
    let mut backlog = with_blocked();
    backlog.begin_epoch();
    assert_eq!((backlog.state(1).dirty_keys, backlog.state(1).blocked_keys), (1, 0));
    assert_eq!(keys(&batch(&mut backlog, u64::MAX).unwrap()), ["a:2"]);
    let mut backlog = with_blocked();
    backlog.unregister(Db(0), b"a:", true, 10);
    assert_eq!(
        (backlog.state(11).dirty_keys, backlog.registry.at(RegistrationId(0)).is_none()),
        (0, true)
    );
    let mut backlog = with_blocked();
    backlog.register(registration("a:2"));
    change(&mut backlog, "a:2", 20);
    backlog.unregister(Db(0), b"a:", false, 30);
    assert_eq!(
        (backlog.state(31).blocked_keys, backlog.registry.at(RegistrationId(0)).is_none()),
        (0, true)
    );
    assert_eq!(keys(&batch(&mut backlog, u64::MAX).unwrap()), ["a:2"]);
}

#[test]
fn returned_items_of_a_written_batch_are_requeued_in_order_with_a_back_off() {
    let mut backlog = backlog(&["a:"]);
    for key in ["a:1", "a:2", "a:3", "a:4"] {
        change(&mut backlog, key, 1);
    }
    let flight = batch(&mut backlog, u64::MAX).unwrap();
    let verdict = Verdict::Written(Written {
        returned: vec![0, 2],
        error: "too slow".to_owned(),
        hold_ms: 100,
        ..Written::default()
    });
    let (rest, mut clean) = (verdict, Acknowledged::default());
    let report = Report::Done { batch: flight, verdict: rest };
    let rest = backlog.report_part(report, 3, Now { us: 0, unix_ms: 7 }, &mut clean).unwrap();
    assert!(backlog.report_part(rest, 3, Now { us: 0, unix_ms: 7 }, &mut clean).is_none());
    assert_eq!(clean.keys.iter().map(|(_, key)| key).collect::<Vec<_>>(), [b"a:2", b"a:4"]);
    let state = backlog.state(1);
    assert_eq!((backlog.last_error(), state.dirty_keys, state.in_flight_keys), ("too slow", 2, 0));
    assert_eq!((state.counters.written_total, state.counters.retries_total), (2, 1));
    assert!(batch(&mut backlog, 99_999).is_none());
    assert_eq!(keys(&batch(&mut backlog, 100_000).unwrap()), ["a:1", "a:3"]);
}

#[test]
fn a_slow_registration_has_its_own_credits_and_the_last_one_is_reserved() {
    let mut backlog = backlog(&["a:", "b:", "c:"]);
    backlog.settings.batch_max_keys = 1;
    for key in ["a:1", "a:2", "a:3", "a:4", "b:1", "b:2", "c:1"] {
        change(&mut backlog, key, 1);
    }
    let of_a = backlog.registry.at(RegistrationId(0)).unwrap().registration.clone();
    let slow = Report::Slow { registration_id: RegistrationId(0), registration: of_a, slow: true };
    backlog.report(slow, Now { us: 0, unix_ms: 0 }, &mut Acknowledged::default());
    let mut sent = Vec::new();
    while let Some(batch) = batch(&mut backlog, u64::MAX) {
        sent.push((keys(&batch)[0].to_owned(), batch.slow));
    }
    let sent: Vec<_> = sent.iter().map(|(key, slow)| (key.as_str(), *slow)).collect();
    assert_eq!(
        sent,
        [("b:1", false), ("c:1", false)],
        "the third credit is reserved for another one"
    );
    slow_credits(&mut backlog, 2);
    assert_eq!(keys(&batch(&mut backlog, u64::MAX).unwrap()), ["a:1"]);
    assert!(batch(&mut backlog, u64::MAX).is_none());
}
