//! Keys that a unique index refused: for which keys they wait, and their outcome.

use super::*;
use crate::core::backlog::dead_letters::DUPLICATE_KEY;
use crate::core::ids::{Db, RegistrationId};
use crate::core::now::Now;

fn contested(indexes: &[usize]) -> Verdict {
    let refusal =
        |index: &usize| Refusal { index: *index, code: DUPLICATE_KEY, reason: "taken".to_owned() };
    let contested = indexes.iter().map(refusal).collect();
    Verdict::Written(Written { contested, ..Written::default() })
}

/// A backlog whose registrations share one namespace.
fn shared(prefixes: &[&str]) -> Backlog {
    let mut backlog = Backlog::default();
    for prefix in prefixes {
        let mut one = registration(prefix);
        one.namespace.collection = "shared".to_owned();
        backlog.register(one).unwrap();
    }
    backlog.report(Report::Credit(9), Now { us: 0, unix_ms: 0 }, &mut Acknowledged::default());
    backlog
}

/// Sends all due keys and returns the batches.
fn due(backlog: &mut Backlog, now_us: u64) -> Vec<Batch> {
    assert!(
        backlog.next_due_us().is_none_or(|due_us| due_us <= now_us),
        "{:?}",
        backlog.next_due_us()
    );
    std::iter::from_fn(|| {
        loop {
            let one = batch(backlog, now_us)?;
            if !one.items.is_empty() {
                return Some(one);
            }
        }
    })
    .collect()
}

fn one(backlog: &mut Backlog, now_us: u64, expected: &[&str]) -> Batch {
    let mut batches = due(backlog, now_us);
    assert_eq!(batches.iter().map(keys).collect::<Vec<_>>(), [expected]);
    batches.remove(0)
}

#[test]
fn a_contested_key_without_rivals_becomes_a_dead_letter_immediately() {
    let mut backlog = shared(&["a:"]);
    change(&mut backlog, "a:1", 1);
    let flight = one(&mut backlog, INTERVAL_US + 1, &["a:1"]);
    done(&mut backlog, flight, contested(&[0]), 5);
    let letter = backlog.dead.find(Db(0), b"a:1").unwrap();
    assert_eq!((letter.code, letter.attempts, backlog.dirty_len()), (DUPLICATE_KEY, 1, 0));
    assert_eq!(backlog.state(0).counters.failed_total, 1);
    assert_eq!(backlog.next_due_us(), None);
}

#[test]
fn a_contested_key_waits_for_dirty_keys_of_its_namespace_which_become_due() {
    let mut backlog = shared(&["a:", "b:"]);
    change(&mut backlog, "a:1", 1);
    let flight = one(&mut backlog, INTERVAL_US + 1, &["a:1"]);
    change(&mut backlog, "b:1", 200_000);
    done(&mut backlog, flight, contested(&[0]), 200_001);
    let explained = backlog.explain(Db(0), b"a:1", 200_001);
    assert_eq!(
        (explained.state, explained.since_unix_ms),
        (KeyState::Waiting(Obstacle::Unique), 0)
    );
    assert_eq!(backlog.state(200_001).oldest_dirty_ms, 200, "a parked key counts as dirty");
    let rival = one(&mut backlog, 200_002, &["b:1"]);
    change(&mut backlog, "b:2", 200_003);
    done(&mut backlog, rival, written(), 200_004);
    let again = one(&mut backlog, 200_005, &["a:1"]);
    assert_eq!(again.items[0].since_us, 1);
    assert_eq!(done(&mut backlog, again, written(), 200_006), ["a:1"]);
    assert_eq!((backlog.dead.len(), backlog.dirty_len()), (0, 1));
}

#[test]
fn a_write_during_the_refusal_of_a_batch_causes_a_retry() {
    let mut backlog = shared(&["a:", "b:"]);
    change(&mut backlog, "a:1", 1);
    change(&mut backlog, "b:1", 1);
    let mut flights = due(&mut backlog, u64::MAX);
    flights.iter().for_each(|flight| backlog.sending(flight));
    let rival = flights.pop().unwrap();
    done(&mut backlog, rival, written(), 5);
    done(&mut backlog, flights.pop().unwrap(), contested(&[0]), 6);
    assert_eq!(backlog.dead.len(), 0, "MongoDB may have refused it before it wrote the other one");
    let again = one(&mut backlog, 7, &["a:1"]);
    backlog.sending(&again);
    done(&mut backlog, again, contested(&[0]), 8);
    assert_eq!(backlog.dead.len(), 1, "nothing was written since");
}

#[test]
fn keys_that_exchange_their_values_are_sent_in_one_batch() {
    let mut backlog = shared(&["a:"]);
    backlog.settings.batch_max_keys = 1;
    for key in ["a:1", "a:2", "a:3"] {
        change(&mut backlog, key, 1);
    }
    let flights = due(&mut backlog, u64::MAX);
    assert_eq!(flights.len(), 3);
    for flight in flights {
        done(&mut backlog, flight, contested(&[0]), 5);
    }
    let together = one(&mut backlog, 6, &["a:1", "a:2", "a:3"]);
    done(&mut backlog, together, contested(&[0, 1, 2]), 7);
    assert_eq!((backlog.dead.len(), backlog.dirty_len()), (3, 0), "nothing else is dirty");
    assert_eq!(backlog.dead.find(Db(0), b"a:1").map(|letter| letter.attempts), Some(2));
}

#[test]
fn a_permanent_duplicate_becomes_a_dead_letter_under_constant_load() {
    let mut backlog = shared(&["a:"]);
    change(&mut backlog, "a:x", 1);
    let mut attempts = 0;
    for round in 0..100u64 {
        change(&mut backlog, &format!("a:{round}"), round * 1_000_000);
        for flight in due(&mut backlog, u64::MAX) {
            let at = keys(&flight).iter().position(|key| *key == "a:x");
            attempts += u32::from(at.is_some());
            change(&mut backlog, &format!("a:{round}b"), round * 1_000_000 + 5);
            let verdict = at.map_or_else(written, |at| contested(&[at]));
            done(&mut backlog, flight, verdict, round * 1_000_000 + 6);
        }
        if backlog.dead.len() == 1 {
            break;
        }
    }
    assert_eq!((backlog.dead.len(), attempts), (1, FRUITLESS + 1));
    assert_eq!(backlog.dead.find(Db(0), b"a:x").map(|letter| letter.attempts), Some(attempts));
}
const FRUITLESS: u32 = 3;

#[test]
fn keys_of_paused_registrations_are_not_waited_for() {
    let mut backlog = shared(&["a:", "b:", "c:"]);
    change(&mut backlog, "b:1", 1);
    backlog.pause(Some(RegistrationId(1)));
    change(&mut backlog, "a:1", 2);
    let flight = one(&mut backlog, u64::MAX, &["a:1"]);
    change(&mut backlog, "c:1", 3);
    done(&mut backlog, flight, contested(&[0]), 5);
    let _rival = one(&mut backlog, 6, &["c:1"]);
    assert_eq!(backlog.next_due_us(), None);
    backlog.pause(Some(RegistrationId(2)));
    let again = one(&mut backlog, 7, &["a:1"]);
    done(&mut backlog, again, contested(&[0]), 8);
    assert_eq!(backlog.dead.len(), 1, "only paused keys are left");
}

#[test]
fn pausing_a_registration_requeues_its_parked_keys() {
    let mut backlog = shared(&["a:", "b:"]);
    change(&mut backlog, "a:1", 1);
    let flight = one(&mut backlog, u64::MAX, &["a:1"]);
    change(&mut backlog, "b:1", 3);
    done(&mut backlog, flight, contested(&[0]), 5);
    backlog.pause(Some(RegistrationId(0)));
    assert_eq!(backlog.explain(Db(0), b"a:1", 5).state, KeyState::Paused);
    assert_eq!(backlog.prefix_state(RegistrationId(0), 5).unwrap().in_flight_keys, 0);
    let rival = one(&mut backlog, 6, &["b:1"]);
    done(&mut backlog, rival, written(), 7);
    backlog.resume(Some(RegistrationId(0)));
    one(&mut backlog, 8, &["a:1"]);
}

#[test]
fn a_flush_of_a_contested_key_waits_for_it_and_ends() {
    let mut backlog = shared(&["a:"]);
    change(&mut backlog, "a:1", 1);
    let flight = one(&mut backlog, u64::MAX, &["a:1"]);
    change(&mut backlog, "a:2", 2);
    done(&mut backlog, flight, contested(&[0]), 5);
    let flush = backlog.flush(FlushScope::Keys(Db(0), &[b"a:1"]), 6);
    let all = backlog.flush(FlushScope::All, 6);
    let rival = one(&mut backlog, 7, &["a:2"]);
    done(&mut backlog, rival, written(), 8);
    assert!(!backlog.is_flushed(flush) && !backlog.is_flushed(all));
    let again = one(&mut backlog, 9, &["a:1"]);
    done(&mut backlog, again, written(), 10);
    assert_eq!(
        backlog.end_flush(flush).map(|progress| (progress.persisted, progress.pending)),
        Some((1, 0))
    );
    assert_eq!(
        backlog.end_flush(all).map(|progress| (progress.persisted, progress.pending)),
        Some((2, 0))
    );
}

#[test]
fn a_contested_key_that_changed_meanwhile_is_read_again() {
    let mut backlog = shared(&["a:"]);
    change(&mut backlog, "a:1", 1);
    let flight = one(&mut backlog, u64::MAX, &["a:1"]);
    change(&mut backlog, "a:1", 3);
    done(&mut backlog, flight, contested(&[0]), 5);
    assert_eq!(backlog.dead.len(), 0, "the refused value is outdated");
    let again = one(&mut backlog, 6, &["a:1"]);
    assert_eq!(done(&mut backlog, again, written(), 7), ["a:1"]);
    assert_eq!(backlog.dirty_len(), 0);
}

#[test]
fn a_dead_letter_is_retried_after_a_later_write_at_most_once_a_second() {
    let mut backlog = shared(&["a:", "b:"]);
    change(&mut backlog, "a:1", 1);
    let flight = one(&mut backlog, u64::MAX, &["a:1"]);
    done(&mut backlog, flight, contested(&[0]), 5);
    assert_eq!((backlog.dead.len(), backlog.letters_due_us()), (1, None), "nothing was written");
    let mut attempts = 1;
    for (at_us, tries) in [(10, true), (500_000, false), (1_000_010, true)] {
        change(&mut backlog, "b:1", at_us);
        let rival = one(&mut backlog, u64::MAX, &["b:1"]);
        done(&mut backlog, rival, written(), at_us);
        assert_eq!(backlog.letters_due_us().is_some_and(|due_us| due_us <= at_us), tries);
        let retried = backlog.retry_contested(at_us);
        if tries {
            assert_eq!(retried, [(Db(0), b"a:1".to_vec())]);
            let again = one(&mut backlog, at_us, &["a:1"]);
            change(&mut backlog, "b:2", at_us);
            done(&mut backlog, again, contested(&[0]), at_us + 1);
            attempts += 1;
            let rival = one(&mut backlog, u64::MAX, &["b:2"]);
            done(&mut backlog, rival, returned(0), at_us);
            assert!(backlog.unregister(Db(0), b"b:", true, at_us).is_some());
            let mut other = registration("b:");
            other.namespace.collection = "shared".to_owned();
            backlog.register(other).unwrap();
        }
        assert_eq!(backlog.dead.find(Db(0), b"a:1").map(|letter| letter.attempts), Some(attempts));
    }
    assert_eq!(backlog.state(0).counters.failed_total, 1, "it failed once");
    change(&mut backlog, "b:1", 3_000_000);
    let rival = one(&mut backlog, u64::MAX, &["b:1"]);
    done(&mut backlog, rival, written(), 3_000_000);
    backlog.retry_contested(3_000_000);
    let again = one(&mut backlog, u64::MAX, &["a:1"]);
    done(&mut backlog, again, written(), 3_000_001);
    assert_eq!((backlog.dead.len(), backlog.dirty_len(), backlog.letters_due_us()), (0, 0, None));
}

#[test]
fn a_dead_letter_and_a_key_that_exchange_their_values_are_sent_in_one_batch() {
    let mut backlog = shared(&["a:"]);
    change(&mut backlog, "a:1", 1);
    let flight = one(&mut backlog, u64::MAX, &["a:1"]);
    done(&mut backlog, flight, contested(&[0]), 5);
    change(&mut backlog, "a:2", 10);
    let flight = one(&mut backlog, u64::MAX, &["a:2"]);
    done(&mut backlog, flight, contested(&[0]), 11);
    assert_eq!((backlog.dead.len(), backlog.letters_due_us()), (1, Some(0)));
    assert_eq!(backlog.retry_contested(12), [(Db(0), b"a:1".to_vec())]);
    let together = one(&mut backlog, 13, &["a:2", "a:1"]);
    done(&mut backlog, together, written(), 14);
    assert_eq!((backlog.dead.len(), backlog.dirty_len()), (0, 0));
}

#[test]
fn all_dead_letters_are_retried_after_one_write() {
    let mut backlog = shared(&["a:", "b:"]);
    backlog.settings.batch_max_keys = 1_000;
    let names: Vec<String> = (0..300).map(|n| format!("a:{n:03}")).collect();
    names.iter().for_each(|name| change(&mut backlog, name, 1));
    let flight = due(&mut backlog, u64::MAX).remove(0);
    done(&mut backlog, flight, contested(&(0..300).collect::<Vec<_>>()), 5);
    assert_eq!(backlog.dead.len(), 300);
    change(&mut backlog, "b:1", 10);
    let rival = one(&mut backlog, u64::MAX, &["b:1"]);
    done(&mut backlog, rival, written(), 11);
    let mut tried = std::collections::BTreeSet::new();
    let mut now_us = 11;
    while let Some(due_us) = backlog.letters_due_us() {
        now_us = due_us.max(now_us);
        let retried = backlog.retry_contested(now_us);
        assert!((1..=128).contains(&retried.len()));
        tried.extend(retried);
        let flight = due(&mut backlog, now_us).remove(0);
        let all: Vec<usize> = (0..flight.items.len()).collect();
        done(&mut backlog, flight, contested(&all), now_us);
    }
    assert_eq!((tried.len(), backlog.dead.len()), (300, 300));
    assert!(now_us >= 2_000_000, "{now_us}");
}

#[test]
fn contested_items_of_a_report_in_parts_are_parked() {
    let mut backlog = shared(&["a:"]);
    let names: Vec<String> = (0..10).map(|n| format!("a:{n}")).collect();
    names.iter().for_each(|name| change(&mut backlog, name, 1));
    let flight = due(&mut backlog, u64::MAX).remove(0);
    change(&mut backlog, "a:x", 2);
    let mut report = Some(Report::Done { batch: flight, verdict: contested(&[1, 4, 5, 9]) });
    let mut clean = Acknowledged::default();
    while let Some(rest) = report {
        report = backlog.report_part(rest, 3, Now { us: 5, unix_ms: 7 }, &mut clean);
    }
    assert_eq!((clean.keys.len(), backlog.dirty_len(), backlog.dead.len()), (6, 5, 0));
    let rival = one(&mut backlog, 6, &["a:x"]);
    done(&mut backlog, rival, written(), 7);
    one(&mut backlog, 8, &["a:1", "a:4", "a:5", "a:9"]);
}

#[test]
fn a_new_epoch_makes_parked_keys_dirty_again() {
    let mut backlog = shared(&["a:"]);
    change(&mut backlog, "a:1", 1);
    let flight = one(&mut backlog, u64::MAX, &["a:1"]);
    change(&mut backlog, "a:2", 2);
    done(&mut backlog, flight, contested(&[0]), 5);
    backlog.begin_epoch();
    assert_eq!((backlog.dirty_len(), backlog.state(5).in_flight_keys), (2, 0));
    let flight = due(&mut backlog, u64::MAX).remove(0);
    assert_eq!(flight.items.len(), 2);
}

#[test]
fn unregistering_with_discard_drops_a_parked_key_after_its_wait() {
    let mut backlog = shared(&["a:", "b:"]);
    change(&mut backlog, "a:1", 1);
    let flight = one(&mut backlog, u64::MAX, &["a:1"]);
    change(&mut backlog, "b:1", 2);
    done(&mut backlog, flight, contested(&[0]), 5);
    backlog.unregister(Db(0), b"a:", true, 6);
    let rival = one(&mut backlog, 7, &["b:1"]);
    done(&mut backlog, rival, written(), 8);
    assert!(due(&mut backlog, 9).is_empty());
    assert_eq!((backlog.dirty_len(), backlog.registry.find(Db(0), b"a:")), (0, None));
}
