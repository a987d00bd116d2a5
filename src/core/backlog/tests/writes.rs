//! Write-through: for what clients wait, and what they get.

use super::*;
use crate::core::backlog::writes::Held;
use crate::core::delivery::batch::{Link, Refusal};
use crate::core::ids::WaitId;
use crate::core::registration::WriteThrough;
use crate::core::settings::WhenDown;

/// `t:` with MODE THROUGH, `u:` with a timeout of its own, and `b:` with MODE BEHIND.
fn writing() -> Backlog {
    let mut backlog = backlog(&["b:"]);
    backlog.writes.is_on = true;
    for (prefix, timeout_ms) in [("t:", None), ("u:", Some(70))] {
        let write_through = Some(WriteThrough { timeout_ms });
        backlog.register(Registration { write_through, ..registration(prefix) }).unwrap();
    }
    backlog.report(Report::Link(Link::Up), Now { us: 1, unix_ms: 0 }, &mut Acknowledged::default());
    backlog
}

/// A command that changes these keys.
fn write(backlog: &mut Backlog, keys: &[&str], now_us: u64) -> Option<Held> {
    assert!(backlog.collect_writes());
    keys.iter().for_each(|key| change(backlog, key, now_us));
    backlog.hold_write(true, now_us)
}

fn waits(backlog: &mut Backlog, keys: &[&str], now_us: u64) -> WaitId {
    write(backlog, keys, now_us).unwrap().wait
}

/// The clients whose waiting has ended, and their errors.
fn ended(backlog: &mut Backlog) -> Vec<(WaitId, Option<String>)> {
    backlog.writes.take_ended()
}

#[test]
fn a_client_waits_until_all_its_keys_are_acknowledged_and_no_interval_holds_them() {
    let mut backlog = writing();
    assert_eq!(write(&mut backlog, &["b:1", "x"], 1), None, "no key of the mode");
    let wait = waits(&mut backlog, &["t:1", "b:2", "t:1", "u:2"], 1);
    let mut batches: Vec<Batch> = std::iter::from_fn(|| batch(&mut backlog, 1)).collect();
    batches.sort_by_key(|batch| keys(batch).join(","));
    let all: Vec<_> = batches.iter().map(|batch| keys(batch).join(",")).collect();
    assert_eq!(all, ["t:1", "u:2"]);
    let second = batches.pop().unwrap();
    done(&mut backlog, batches.pop().unwrap(), written(), 5);
    assert!(ended(&mut backlog).is_empty());
    done(&mut backlog, second, written(), 9);
    assert_eq!(ended(&mut backlog), [(wait, None)]);
    let id = backlog.writes_through(Db(0), b"t:1").unwrap();
    assert_eq!(backlog.prefix_state(id, 9).unwrap().write_times.p50_us, 8);
    assert_eq!(backlog.writes.waiting(), 0);
}

#[test]
fn what_is_in_flight_already_is_older_than_the_write() {
    let mut backlog = writing();
    let first = waits(&mut backlog, &["t:1"], 1);
    let flight = batch(&mut backlog, 1).unwrap();
    let second = waits(&mut backlog, &["t:1"], 2);
    let without = backlog.writes.memory_bytes();
    backlog.writes.keeps_reply(second, 1_000);
    assert_eq!(backlog.writes.memory_bytes(), without + 1_000);
    // Coalesced with the second one.
    let third = waits(&mut backlog, &["t:1"], 3);
    done(&mut backlog, flight, written(), 4);
    assert_eq!(ended(&mut backlog), [(first, None)]);
    let flight = batch(&mut backlog, 4).expect("due at once");
    done(&mut backlog, flight, written(), 5);
    assert_eq!(ended(&mut backlog), [(second, None), (third, None)]);
    assert_eq!(backlog.writes.memory_bytes(), 0);
}

#[test]
fn a_batch_that_is_returned_is_waited_for() {
    let mut backlog = writing();
    let wait = waits(&mut backlog, &["t:1"], 1);
    let flight = batch(&mut backlog, 1).unwrap();
    done(&mut backlog, flight, returned(0), 2);
    assert!(ended(&mut backlog).is_empty());
    let flight = batch(&mut backlog, 3).unwrap();
    done(&mut backlog, flight, written(), 4);
    assert_eq!(ended(&mut backlog), [(wait, None)]);
}

#[test]
fn a_refused_document_is_an_error_with_its_reason() {
    let mut backlog = writing();
    let wait = waits(&mut backlog, &["t:1", "t:2"], 1);
    let flight = batch(&mut backlog, 1).unwrap();
    let refusal = Refusal { index: 0, code: 121, reason: "no valid document".to_owned() };
    let verdict = Verdict::Written(Written { refused: vec![refusal], ..Written::default() });
    done(&mut backlog, flight, verdict, 2);
    let [(other, Some(error))] = &ended(&mut backlog)[..] else { panic!() };
    assert_eq!(*other, wait);
    assert!(error.starts_with("WBREFUSED ") && error.ends_with("no valid document"), "{error}");
    assert_eq!(backlog.writes.counts.refused, 1);
    assert_eq!(backlog.writes.waiting(), 0);
}

#[test]
fn the_shortest_timeout_of_its_keys_is_that_of_a_command() {
    let mut backlog = writing();
    backlog.settings.through_timeout_ms = 900;
    assert_eq!(write(&mut backlog, &["t:1"], 1).unwrap().timeout_ms, 900);
    assert_eq!(write(&mut backlog, &["t:1", "u:1"], 1).unwrap().timeout_ms, 70);
}

#[test]
fn a_client_that_has_gone_leaves_nothing_behind() {
    let mut backlog = writing();
    let wait = waits(&mut backlog, &["t:1", "t:2"], 1);
    let other = waits(&mut backlog, &["t:1"], 2);
    backlog.write_timed_out(wait);
    backlog.write_timed_out(wait);
    assert_eq!(backlog.writes.counts.timeouts, 1);
    backlog.writes.forget(other);
    assert!(backlog.writes.is_idle());
    let flight = batch(&mut backlog, 3).unwrap();
    done(&mut backlog, flight, written(), 4);
    assert!(ended(&mut backlog).is_empty());
}

#[test]
fn changes_that_no_client_waits_for_are_counted_but_not_removals_by_the_server() {
    let mut backlog = writing();
    change(&mut backlog, "t:1", 1);
    backlog.record((Db(0), b"t:2"), ChangeKind::Expired, || false, || 1);
    backlog.record((Db(0), b"b:2"), ChangeKind::Deleted, || false, || 1);
    assert_eq!(backlog.writes.counts.unheld, 1);
    // In MULTI.
    assert!(backlog.collect_writes());
    assert!(!backlog.collect_writes(), "inside of another one");
    change(&mut backlog, "t:1", 1);
    assert_eq!(backlog.hold_write(false, 1), None);
    assert_eq!(backlog.writes.counts.unheld, 2);
}

#[test]
fn while_mongodb_is_away_clients_wait_or_get_an_error_at_once() {
    let mut backlog = writing();
    let down = Link::Down { error: "no server".to_owned() };
    waits(&mut backlog, &["t:1"], 1);
    let now = Now { us: 2, unix_ms: 0 };
    backlog.report(Report::Link(down.clone()), now, &mut Acknowledged::default());
    assert!(ended(&mut backlog).is_empty());
    waits(&mut backlog, &["t:2"], 2);
    backlog.change_settings(|settings| settings.through_when_down = WhenDown::Fail);
    assert_eq!(ended(&mut backlog).len(), 2, "those that wait already, too");
    let at_once = waits(&mut backlog, &["t:3"], 3);
    let [(other, Some(error))] = &ended(&mut backlog)[..] else { panic!() };
    assert_eq!(*other, at_once);
    assert!(error.starts_with("WBDOWN ") && error.ends_with("no server"), "{error}");
    backlog.report(Report::Link(Link::Up), now, &mut Acknowledged::default());
    let later = waits(&mut backlog, &["t:1"], 4);
    backlog.report(Report::Link(down), now, &mut Acknowledged::default());
    assert!(matches!(&ended(&mut backlog)[..], [(of, Some(_))] if *of == later));
    assert!(backlog.writes.is_idle());
}

#[test]
fn another_role_and_discard_end_all_waiting_with_errors() {
    let mut backlog = writing();
    waits(&mut backlog, &["t:1"], 1);
    backlog.role_changed(2);
    assert!(matches!(&ended(&mut backlog)[..], [(_, Some(error))] if error.starts_with("WBDOWN ")));
    let discarded = waits(&mut backlog, &["t:2"], 3);
    backlog.unregister(Db(0), b"t:", true, 4).unwrap();
    let ended = ended(&mut backlog);
    assert!(ended.iter().any(|(wait, error)| *wait == discarded && error.is_some()), "{ended:?}");
    assert!(backlog.writes.is_idle());
}

#[test]
fn a_client_that_the_server_does_not_hold_is_counted() {
    let mut backlog = writing();
    let held = write(&mut backlog, &["t:1"], 1).unwrap();
    backlog.cannot_hold(held);
    assert_eq!(backlog.writes.counts.writes, 0);
    assert!(backlog.writes.is_idle() && ended(&mut backlog).is_empty());
    assert_eq!(backlog.writes.counts.unheld, 1);
}

#[test]
fn beside_a_batch_in_flight_keys_are_gathered_until_they_are_an_equal_share() {
    let mut backlog = writing();
    backlog.report(Report::Credit(9), Now { us: 0, unix_ms: 0 }, &mut Acknowledged::default());
    let keys_of = |batch: Option<Batch>| batch.as_ref().map(|batch| keys(batch).len());
    for key in ["t:1", "t:2", "t:3"] {
        waits(&mut backlog, &[key], 1);
    }
    assert_eq!(keys_of(batch(&mut backlog, 1)), Some(3), "nothing is in flight");
    waits(&mut backlog, &["t:4"], 10);
    assert_eq!(backlog.next_due_us(), Some(1_010));
    assert!(batch(&mut backlog, 1_009).is_none());
    waits(&mut backlog, &["t:5"], 500);
    assert_eq!(keys_of(batch(&mut backlog, 500)), Some(2), "half of five");
    waits(&mut backlog, &["t:6"], 600);
    assert!(batch(&mut backlog, 1_599).is_none());
    assert_eq!(keys_of(batch(&mut backlog, 1_600)), Some(1), "after a millisecond");
}

#[test]
fn a_key_that_leaves_with_its_slot_or_is_lost_ends_the_waiting_with_an_error() {
    let mut backlog = writing();
    let wait = waits(&mut backlog, &["t:1", "t:2"], 1);
    assert!(backlog.left((Db(0), b"t:1"), 2));
    let [(left, Some(error))] = &ended(&mut backlog)[..] else { panic!() };
    assert!(*left == wait && error.starts_with("WBDOWN the key has left"), "{error}");
    waits(&mut backlog, &["t:3"], 3);
    backlog.writes_see_lost(Db(0), b"t:3");
    let [(_, Some(error))] = &ended(&mut backlog)[..] else { panic!() };
    assert!(error.starts_with("WBREFUSED the value was removed"), "{error}");
    assert!(backlog.writes.is_idle());
    assert_eq!(backlog.writes.memory_bytes(), 0);
}

#[test]
fn a_command_inside_of_another_one_changes_nothing_of_what_that_has_collected() {
    let mut backlog = writing();
    assert!(backlog.collect_writes());
    change(&mut backlog, "t:1", 1);
    assert!(!backlog.collect_writes());
    assert!(backlog.hold_write(true, 1).is_some());
}
