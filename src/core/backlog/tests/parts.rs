//! A written batch that is settled in parts.

use super::*;
use crate::core::now::Now;

fn sent(keys: usize) -> (Backlog, Batch) {
    let mut backlog = backlog(&["a:"]);
    for key in 0..keys {
        change(&mut backlog, &format!("a:{key}"), 1);
    }
    let flight = batch(&mut backlog, u64::MAX).unwrap();
    (backlog, flight)
}

/// Settles the next five keys; returns the rest of the report, and the keys that became clean.
fn part(backlog: &mut Backlog, report: Report) -> (Option<Report>, Vec<String>) {
    let mut clean = Acknowledged::default();
    let rest = backlog.report_part(report, 5, Now { us: 9, unix_ms: 7 }, &mut clean);
    (rest, clean.keys.iter().map(|(_, key)| String::from_utf8_lossy(key).into()).collect())
}

#[test]
fn each_key_is_settled_once_and_the_batch_with_the_last_part() {
    let (mut backlog, flight) = sent(12);
    let refusal = |index| Refusal { index, code: 121, reason: "refused".to_owned() };
    let refused = vec![refusal(4), refusal(5), refusal(11)];
    let verdict = Verdict::Written(Written { refused, sent_bytes: 9, ..Written::default() });
    change(&mut backlog, "a:7", 2);
    let (rest, clean) = part(&mut backlog, Report::Done { batch: flight, verdict });
    assert_eq!(clean, ["a:0", "a:1", "a:2", "a:3"]);
    let state = backlog.state(9);
    assert_eq!((state.in_flight_keys, state.counters.batches_total), (7, 0));
    // A key that became clean can be in flight again before the others are settled.
    change(&mut backlog, "a:0", 3);
    let again = batch(&mut backlog, u64::MAX).unwrap();
    assert_eq!(keys(&again), ["a:0"]);
    let (rest, clean) = part(&mut backlog, rest.unwrap());
    assert_eq!(clean, ["a:6", "a:8", "a:9"]);
    let (rest, clean) = part(&mut backlog, rest.unwrap());
    assert_eq!((rest.is_none(), clean), (true, vec!["a:10".to_owned()]));
    let state = backlog.state(9);
    assert_eq!((state.dirty_keys, state.in_flight_keys, state.dead_letters), (2, 1, 3));
    let counters = state.counters;
    assert_eq!((counters.written_total, counters.failed_total), (9, 3));
    assert_eq!((counters.batches_total, counters.bytes_total), (1, 9));
    assert_eq!(done(&mut backlog, again, written(), 10), ["a:0"]);
}

#[test]
fn the_rest_of_a_batch_of_an_earlier_epoch_is_ignored() {
    let (mut backlog, flight) = sent(12);
    let report = Report::Done { batch: flight, verdict: written() };
    let (rest, _) = part(&mut backlog, report);
    backlog.begin_epoch();
    assert_eq!((backlog.dirty_len(), backlog.in_flight.may_send()), (7, false));
    let (rest, clean) = part(&mut backlog, rest.unwrap());
    assert!(rest.is_none() && clean.is_empty());
    assert_eq!((backlog.dirty_len(), backlog.in_flight.may_send()), (7, true));
}

#[test]
fn an_item_that_is_listed_twice_hides_no_later_refusal() {
    let (mut backlog, flight) = sent(12);
    let refusal = |index| Refusal { index, code: 121, reason: "refused".to_owned() };
    let refused = vec![refusal(1), refusal(1), refusal(3), refusal(7), refusal(12)];
    let verdict = Verdict::Written(Written { refused, sent_bytes: 9, ..Written::default() });
    let (rest, clean) = part(&mut backlog, Report::Done { batch: flight, verdict });
    assert_eq!(clean, ["a:0", "a:2", "a:4"]);
    let (rest, clean) = part(&mut backlog, rest.unwrap());
    assert_eq!(clean, ["a:5", "a:6", "a:8", "a:9"]);
    assert!(part(&mut backlog, rest.unwrap()).0.is_none());
    assert_eq!(backlog.state(9).dead_letters, 3);
}
