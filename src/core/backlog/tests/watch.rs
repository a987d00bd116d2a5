use super::*;
use crate::core::backlog::table::RetainedValue;
use crate::core::ids::Db;

/// Checks all newly dirty keys, and schedules their next check at `end_ms`.
fn check(backlog: &mut Backlog, now_us: u64, end_ms: u64) -> usize {
    backlog.fold(now_us);
    let (mut key, mut count) = (Vec::new(), 0);
    while let Some(watched) = backlog.next_newly_dirty(&mut key, || 0) {
        backlog.schedule_check(watched, &key, (now_us / 1000, end_ms));
        count += 1;
    }
    count
}

fn ended(backlog: &mut Backlog, now_ms: u64) -> Vec<String> {
    let mut key = Vec::new();
    let next =
        || backlog.take_end(now_ms, &mut key).map(|_| String::from_utf8(key.clone()).unwrap());
    std::iter::from_fn(next).collect()
}

fn watching(prefixes: &[&str]) -> Backlog {
    let mut backlog = backlog(prefixes);
    backlog.watch();
    backlog
}

#[test]
fn a_key_is_tracked_once_however_often_its_time_to_live_changes() {
    let mut backlog = watching(&["a:"]);
    let mut few_bytes = 0;
    for turn in 0..1_000u64 {
        for _ in 0..100 {
            for key in ["a:1", "a:2"] {
                change(&mut backlog, key, turn);
                backlog.record((Db(0), key.as_bytes()), ChangeKind::ExpiryOnly, || false, || 0);
            }
        }
        assert_eq!(check(&mut backlog, turn, 5_000 + turn), 2);
        if turn == 10 {
            few_bytes = backlog.state(turn).memory_bytes;
        }
    }
    assert_eq!(backlog.state(0).memory_bytes, few_bytes);
    assert_eq!(backlog.next_end_ms(), Some(5_999));
    assert_eq!(ended(&mut backlog, 5_998), [""; 0]);
    let mut both = ended(&mut backlog, 5_999);
    both.sort();
    assert_eq!(both, ["a:1", "a:2"]);
    assert_eq!((backlog.next_end_ms(), ended(&mut backlog, u64::MAX)), (None, vec![]));
}

#[test]
fn clean_keys_and_keys_with_retained_values_are_not_tracked() {
    let mut backlog = watching(&["a:"]);
    ["a:1", "a:2"].iter().for_each(|key| change(&mut backlog, key, 1));
    assert_eq!(check(&mut backlog, 1, 9_000), 2);
    let bytes = b"v".as_slice().into();
    let value = RetainedValue { content: Content::String, expire_ms: 9_000, bytes };
    assert!(backlog.retain_value(Db(0), b"a:2", value, || 0));
    assert_eq!(backlog.next_end_ms(), Some(9_000), "of the other key");
    let flight = batch(&mut backlog, 200_000).unwrap();
    assert_eq!(done(&mut backlog, flight, written(), 300_000).len(), 2);
    assert_eq!((backlog.next_end_ms(), backlog.has_newly_dirty()), (None, false));
}

#[test]
fn a_key_that_was_deleted_and_exists_again_is_newly_dirty() {
    let mut backlog = watching(&["a:"]);
    let deleted = |backlog: &mut Backlog| {
        backlog.record((Db(0), b"a:1"), ChangeKind::Deleted, || false, || 0);
    };
    change(&mut backlog, "a:1", 1);
    assert_eq!(check(&mut backlog, 1, 9_000), 1);
    deleted(&mut backlog);
    assert_eq!(check(&mut backlog, 2, 9_000), 0, "it has no value");
    change(&mut backlog, "a:1", 3);
    assert_eq!(check(&mut backlog, 3, 9_000), 1);
}

#[test]
fn memory_of_tracked_keys_is_counted_and_freed() {
    let mut backlog = watching(&["a:"]);
    backlog.settings.batch_max_keys = i64::MAX;
    let empty = backlog.state(0).memory_bytes;
    let keys = 100_000;
    (0..keys).for_each(|key| change(&mut backlog, &format!("a:{key}"), 1));
    let unwatched = backlog.state(0).memory_bytes;
    assert_eq!(check(&mut backlog, 1, 9_000), keys);
    let watched = backlog.state(0).memory_bytes - unwatched;
    assert!((12 * keys..48 * keys).contains(&watched), "{watched}");
    let flight = batch(&mut backlog, 200_000).unwrap();
    assert_eq!(done(&mut backlog, flight, written(), 300_000).len(), keys);
    let left = backlog.state(0).memory_bytes.saturating_sub(empty);
    assert!(left < watched, "{left}");
}

#[test]
fn look_back_returns_every_dirty_key_and_every_dead_letter() {
    let mut backlog = watching(&["a:"]);
    ["a:1", "a:2", "a:3"].iter().for_each(|key| change(&mut backlog, key, 1));
    let flight = batch(&mut backlog, 200_000).unwrap();
    let refusal = Refusal { index: 0, code: 121, reason: "schema".to_owned() };
    let verdict = Verdict::Written(Written { refused: vec![refusal], ..Written::default() });
    done(&mut backlog, flight, verdict, 300_000);
    ["a:2", "a:3"].iter().for_each(|key| change(&mut backlog, key, 400_000));
    let mut all = newly_dirty(&mut backlog, 400_000);
    assert_eq!(all.pop().as_deref(), Some("a:1"), "dead letters are returned last");
    all.sort();
    assert_eq!(all, ["a:2", "a:3"]);
    assert!(!backlog.has_newly_dirty());
    backlog.check_all_again();
    assert!(backlog.has_newly_dirty());
    assert_eq!(newly_dirty(&mut backlog, 400_000).len(), 3);
    assert!(!backlog.has_newly_dirty());
}

#[test]
fn a_key_with_a_dead_letter_is_checked_again_after_at_most_30_seconds() {
    let mut backlog = watching(&["a:"]);
    change(&mut backlog, "a:1", 1);
    assert_eq!(check(&mut backlog, 1, 500_000), 1);
    let flight = batch(&mut backlog, 200_000).unwrap();
    let refusal = Refusal { index: 0, code: 121, reason: "schema".to_owned() };
    let verdict = Verdict::Written(Written { refused: vec![refusal], ..Written::default() });
    done(&mut backlog, flight, verdict, 300_000);
    assert_eq!((backlog.next_end_ms(), check(&mut backlog, 300_000, 500_000)), (None, 1));
    assert_eq!(backlog.next_end_ms(), Some(30_300));
    assert_eq!(ended(&mut backlog, 30_300), ["a:1"]);
    assert_eq!(backlog.next_end_ms(), None);
}
