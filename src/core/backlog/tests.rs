mod blocked;
mod clock;
mod contested;
mod exclude;
mod explain;
mod fold;
mod groups;
mod groups_contested;
mod held;
mod letters;
mod loaded;
mod loads;
mod parts;
mod pause;
mod reads;
mod schedule;
mod trouble;
mod verify;
mod watch;
mod writes;

use super::*;
use crate::core::backlog::flush_waiters::FlushProgress;
use crate::core::backlog::table::{RetainedValue, Taken};
use crate::core::delivery::batch::{Batch, Refusal, Verdict, Written};
use crate::core::delivery::report::Report;
use crate::core::ids::{Db, RegistrationId};
use crate::core::mapping::value::{Content, NO_EXPIRY, Span};
use crate::core::now::Now;
use crate::core::registration::Namespace;

mod limit;

const INTERVAL_US: u64 = 100_000;

fn registration(prefix: &str) -> Registration {
    let namespace = Namespace { database: "d".to_owned(), collection: prefix.replace(':', "") };
    Registration::new(Db(0), prefix.as_bytes(), namespace)
}

fn backlog(prefixes: &[&str]) -> Backlog {
    let mut backlog = Backlog::default();
    for prefix in prefixes {
        backlog.register(registration(prefix)).unwrap();
    }
    backlog.report(Report::Credit(3), Now { us: 0, unix_ms: 0 }, &mut Acknowledged::default());
    backlog
}

fn change(backlog: &mut Backlog, key: &str, now_us: u64) {
    backlog.record((Db(0), key.as_bytes()), ChangeKind::Changed, || false, || 0);
    backlog.fold(now_us);
}

/// The keys that should be checked for look-ahead retention.
fn newly_dirty(backlog: &mut Backlog, now_us: u64) -> Vec<String> {
    backlog.fold(now_us);
    let mut key = Vec::new();
    let next = || {
        backlog.next_newly_dirty(&mut key, || 0).map(|_| String::from_utf8(key.clone()).unwrap())
    };
    std::iter::from_fn(next).collect()
}

/// Builds and sends the next batch as the reader does, with a string for every key.
fn batch(backlog: &mut Backlog, now_us: u64) -> Option<Batch> {
    let mut batch = backlog.begin_batch(now_us)?;
    while let Some((taken, key)) = backlog.take_key(&mut batch, now_us) {
        let end = batch.bytes.len();
        batch.items.push(item(&taken, key, Content::String, Span { start: end, end }, NO_EXPIRY));
    }
    backlog.in_flight.sent(Flight::of(&batch));
    Some(batch)
}

fn keys(batch: &Batch) -> Vec<&str> {
    batch.items.iter().map(|item| std::str::from_utf8(batch.key(item)).unwrap()).collect()
}

fn done(backlog: &mut Backlog, batch: Batch, verdict: Verdict, now_us: u64) -> Vec<String> {
    let mut clean = Acknowledged::default();
    backlog.report(Report::Done { batch, verdict }, Now { us: now_us, unix_ms: 7 }, &mut clean);
    backlog.report(Report::Credit(1), Now { us: now_us, unix_ms: 7 }, &mut clean);
    clean.keys.iter().map(|(_, key)| String::from_utf8(key.to_vec()).unwrap()).collect()
}

fn written() -> Verdict {
    Verdict::Written(Written::default())
}

fn returned(hold_ms: u64) -> Verdict {
    Verdict::Returned { error: "no server".to_owned(), hold_ms, indeterminate: false }
}

#[test]
fn a_key_waits_for_its_interval_and_is_clean_after_the_acknowledgement() {
    let mut backlog = backlog(&["a:"]);
    change(&mut backlog, "a:1", 1);
    assert_eq!(backlog.next_due_us(), Some(1 + INTERVAL_US));
    assert!(backlog.begin_batch(INTERVAL_US).is_none());
    let batch = batch(&mut backlog, 1 + INTERVAL_US).unwrap();
    assert_eq!(keys(&batch), ["a:1"]);
    assert_eq!(backlog.state(0).in_flight_keys, 1);
    assert_eq!(done(&mut backlog, batch, written(), 200_000), ["a:1"]);
    let state = backlog.state(300_000);
    assert_eq!((state.dirty_keys, state.counters.written_total), (0, 1));
    assert_eq!(state.counters.last_write_unix_ms, 7);
}

#[test]
fn no_batch_begins_without_a_credit() {
    let mut backlog = Backlog::default();
    backlog.register(registration("a:")).unwrap();
    change(&mut backlog, "a:1", 1);
    assert_eq!(backlog.next_due_us(), None);
    assert!(backlog.begin_batch(u64::MAX).is_none());
}

#[test]
fn registrations_take_turns() {
    let mut backlog = backlog(&["a:", "b:"]);
    backlog.settings.batch_max_keys = 1;
    for key in ["a:1", "a:2", "b:1", "b:2"] {
        change(&mut backlog, key, 1);
    }
    let first = batch(&mut backlog, u64::MAX).unwrap();
    let second = batch(&mut backlog, u64::MAX).unwrap();
    assert_eq!((keys(&first), keys(&second)), (vec!["a:1"], vec!["b:1"]));
}

#[test]
fn a_returned_batch_is_due_immediately_without_a_back_off() {
    let mut backlog = backlog(&["a:"]);
    for key in ["a:1", "a:2"] {
        change(&mut backlog, key, 1);
    }
    let flight = batch(&mut backlog, u64::MAX).unwrap();
    assert!(done(&mut backlog, flight, returned(0), 5).is_empty());
    assert_eq!(backlog.next_due_us(), Some(0).max(Some(5)));
    let flight = batch(&mut backlog, 5).unwrap();
    assert_eq!(keys(&flight), ["a:1", "a:2"]);
    assert_eq!(flight.items[0].since_us, 1, "it is still dirty since the change");
    done(&mut backlog, flight, returned(3), 10);
    assert_eq!(backlog.next_due_us(), Some(3_010));
    let state = backlog.state(10);
    assert_eq!((state.counters.retries_total, backlog.last_error()), (2, "no server"));
}

#[test]
fn a_refused_change_is_a_dead_letter_until_a_newer_write_succeeds() {
    let mut backlog = backlog(&["a:"]);
    for key in ["a:1", "a:2"] {
        change(&mut backlog, key, 1);
    }
    let flight = batch(&mut backlog, u64::MAX).unwrap();
    let refused = vec![Refusal { index: 1, code: 121, reason: "refused".to_owned() }];
    let verdict = Verdict::Written(Written { refused, sent_bytes: 9, ..Written::default() });
    assert_eq!(done(&mut backlog, flight, verdict, 5), ["a:1"], "the other became a dead letter");
    let state = backlog.state(5);
    assert_eq!((state.dirty_keys, state.dead_letters, state.counters.failed_total), (0, 1, 1));
    assert_eq!(backlog.dead.find(Db(0), b"a:2").map(|letter| letter.code), Some(121));
    change(&mut backlog, "a:2", 6);
    let flight = batch(&mut backlog, u64::MAX).unwrap();
    done(&mut backlog, flight, written(), 9);
    assert!(backlog.dead.is_empty());
}

#[test]
fn registering_again_changes_the_options_and_keeps_the_backlog() {
    let mut backlog = backlog(&["a:"]);
    change(&mut backlog, "a:1", 1);
    let mut other = registration("a:");
    other.namespace.collection = "other".to_owned();
    other.interval_ms = Some(0);
    backlog.register(other).unwrap();
    let batch = batch(&mut backlog, 1).unwrap();
    assert_eq!(
        (batch.registration.namespace.collection.as_str(), keys(&batch)),
        ("other", vec!["a:1"])
    );
}

#[test]
fn an_unregistered_prefix_drains_and_then_frees_its_id() {
    let mut backlog = backlog(&["a:"]);
    change(&mut backlog, "a:1", 1);
    assert_eq!(backlog.unregister(Db(0), b"a:", false, 2), Some(1));
    assert_eq!(backlog.unregister(Db(0), b"a:", false, 2), None);
    change(&mut backlog, "a:2", 3);
    let flight =
        batch(&mut backlog, 3).expect("a draining registration does not wait for its interval");
    assert_eq!(keys(&flight), ["a:1"]);
    done(&mut backlog, flight, written(), 5);
    assert!(backlog.registry.at(RegistrationId(0)).is_none());
    assert_eq!(backlog.state(5).counters.written_total, 1, "totals include removed registrations");
}

#[test]
fn unregistering_with_discard_drops_returned_keys() {
    let mut backlog = backlog(&["a:"]);
    change(&mut backlog, "a:1", 1);
    let flight = batch(&mut backlog, u64::MAX).unwrap();
    change(&mut backlog, "a:2", 1);
    assert_eq!(backlog.unregister(Db(0), b"a:", true, 2), Some(1));
    done(&mut backlog, flight, returned(0), 5);
    assert_eq!(backlog.state(5).dirty_keys, 0);
    assert!(backlog.registry.at(RegistrationId(0)).is_none());
}

#[test]
fn a_flush_ends_when_the_keys_dirty_at_its_begin_are_acknowledged() {
    let mut backlog = backlog(&["a:", "b:"]);
    change(&mut backlog, "a:1", 1);
    change(&mut backlog, "b:1", 1);
    let all = backlog.flush(FlushScope::All, 2);
    let a = backlog.flush(FlushScope::Registration(RegistrationId(0)), 2);
    let key = backlog.flush(FlushScope::Keys(Db(0), &[b"b:1", b"b:1", b"clean"]), 2);
    change(&mut backlog, "a:2", 2);
    let flight = batch(&mut backlog, 2).unwrap();
    assert_eq!(keys(&flight), ["a:1"], "later keys wait for their interval");
    done(&mut backlog, flight, written(), 3);
    assert_eq!(backlog.flushed(), [a]);
    let flight = batch(&mut backlog, 3).unwrap();
    done(&mut backlog, flight, written(), 4);
    let mut ended = backlog.flushed();
    ended.sort_unstable();
    assert_eq!(ended, [all, key]);
    assert_eq!(backlog.end_flush(all), Some(FlushProgress { persisted: 2, pending: 0 }));
    assert_eq!(backlog.end_flush(key), Some(FlushProgress { persisted: 1, pending: 0 }));
    assert_eq!(backlog.state(4).dirty_keys, 1);
}

#[test]
fn a_batch_ends_at_its_limits() {
    let mut backlog = backlog(&["a:"]);
    for key in ["a:1", "a:2", "a:3"] {
        change(&mut backlog, key, 1);
    }
    backlog.settings.batch_max_bytes = 4;
    let first = batch(&mut backlog, u64::MAX).unwrap();
    assert_eq!(keys(&first), ["a:1", "a:2"], "the first key is never subject to the limit");
    backlog.settings.batch_max_keys = 1;
    let mut own = registration("a:");
    own.batch_max_keys = Some(2);
    backlog.register(own).unwrap();
    change(&mut backlog, "a:4", 1);
    assert_eq!(keys(&batch(&mut backlog, u64::MAX).unwrap()), ["a:3", "a:4"]);
}

#[test]
fn the_policy_for_a_missing_key_depends_on_the_reason_of_its_removal() {
    let registration = registration("a:");
    for kind in [ChangeKind::Deleted, ChangeKind::MaybeDeleted] {
        assert_eq!(Backlog::on_missing(&registration, kind), Missing::Delete);
    }
    for kind in [ChangeKind::Expired, ChangeKind::Evicted, ChangeKind::Changed] {
        assert_eq!(Backlog::on_missing(&registration, kind), Missing::Keep);
    }
}

#[test]
fn a_possibly_deleted_key_that_expires_without_a_retained_value_was_not_deleted() {
    let mut backlog = backlog(&["a:"]);
    backlog.record((Db(0), b"a:1"), ChangeKind::MaybeDeleted, || false, || 0);
    assert!(backlog.must_retain(Db(0), b"a:1", ChangeKind::Expired, 1));
    let mut batch = backlog.begin_batch(u64::MAX).unwrap();
    let (taken, _) = backlog.take_key(&mut batch, u64::MAX).unwrap();
    assert!(backlog.removed((Db(0), b"a:1"), ChangeKind::Expired, || false, 2));
    assert_eq!(backlog.state(2).lost_total, 1);
    assert!(backlog.changed_since(&taken, 2), "it is being read");
    assert_eq!(backlog.dirty.kind_of(Db(0), b"a:1"), Some(ChangeKind::Changed));
}

#[test]
fn a_new_time_to_live_is_a_change_only_with_a_ttl_field() {
    let mut backlog = backlog(&["a:"]);
    let mut shows = registration("b:");
    shows.ttl_field = Some("until".to_owned());
    backlog.register(shows).unwrap();
    for key in [&b"a:1"[..], b"b:1"] {
        backlog.record((Db(0), key), ChangeKind::ExpiryOnly, || false, || 0);
    }
    backlog.fold(1);
    let state = backlog.state(1);
    assert_eq!((state.dirty_keys, state.counters.captured_total), (1, 1));
    assert!(backlog.explain(Db(0), b"b:1", 1).state == KeyState::Dirty);
}

#[test]
fn a_new_time_to_live_of_a_dirty_key_is_reported_for_look_ahead() {
    let mut backlog = backlog(&["a:"]);
    backlog.watch();
    change(&mut backlog, "a:1", 1);
    assert_eq!(newly_dirty(&mut backlog, 1), ["a:1"]);
    let flight = batch(&mut backlog, 200_000).unwrap();
    for key in [&b"a:1"[..], b"a:clean"] {
        backlog.record((Db(0), key), ChangeKind::ExpiryOnly, || false, || 0);
    }
    assert_eq!(newly_dirty(&mut backlog, 2), ["a:1"]);
    assert_eq!(done(&mut backlog, flight, written(), 300_000), ["a:1"], "it has not changed");
    assert_eq!(backlog.state(3).counters.captured_total, 1);
}
