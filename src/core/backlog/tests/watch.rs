use super::*;
use crate::core::backlog::table::Captured;

/// Looks at all keys that should be; they end then.
fn look(engine: &mut Engine, now_us: u64, end_ms: u64) -> usize {
    engine.fold(now_us);
    let (mut key, mut count) = (Vec::new(), 0);
    while let Some(watched) = engine.next_fresh(&mut key) {
        engine.look_at(watched, &key, (now_us / 1000, end_ms));
        count += 1;
    }
    count
}

fn ended(engine: &mut Engine, now_ms: u64) -> Vec<String> {
    let mut key = Vec::new();
    let next =
        || engine.take_end(now_ms, &mut key).map(|_| String::from_utf8(key.clone()).unwrap());
    std::iter::from_fn(next).collect()
}

fn watching(prefixes: &[&str]) -> Engine {
    let mut engine = engine(prefixes);
    engine.watch();
    engine
}

#[test]
fn a_key_is_watched_once_however_often_it_gets_a_time_to_live() {
    let mut engine = watching(&["a:"]);
    let mut few_bytes = 0;
    for turn in 0..1_000u64 {
        for _ in 0..100 {
            for key in ["a:1", "a:2"] {
                touch(&mut engine, key, turn);
                engine.touch(0, key.as_bytes(), Touch::Lifetime);
            }
        }
        assert_eq!(look(&mut engine, turn, 5_000 + turn), 2);
        if turn == 10 {
            few_bytes = engine.state(turn).memory_bytes;
        }
    }
    assert_eq!(engine.state(0).memory_bytes, few_bytes);
    assert_eq!(engine.next_end_ms(), Some(5_999));
    assert_eq!(ended(&mut engine, 5_998), [""; 0]);
    let mut both = ended(&mut engine, 5_999);
    both.sort();
    assert_eq!(both, ["a:1", "a:2"]);
    assert_eq!((engine.next_end_ms(), ended(&mut engine, u64::MAX)), (None, vec![]));
}

#[test]
fn what_is_clean_or_captured_is_not_watched() {
    let mut engine = watching(&["a:"]);
    ["a:1", "a:2"].iter().for_each(|key| touch(&mut engine, key, 1));
    assert_eq!(look(&mut engine, 1, 9_000), 2);
    let bytes = b"v".as_slice().into();
    let value = Captured { content: Content::String, expire_ms: 9_000, bytes };
    assert!(engine.capture(0, b"a:2", value));
    assert_eq!(engine.next_end_ms(), Some(9_000), "of the other one");
    let flight = batch(&mut engine, 200_000).unwrap();
    assert_eq!(done(&mut engine, flight, written(), 300_000).len(), 2);
    assert_eq!((engine.next_end_ms(), engine.has_fresh()), (None, false));
}

#[test]
fn memory_of_watched_keys_is_counted_and_given_back() {
    let mut engine = watching(&["a:"]);
    engine.settings.batch_max_keys = i64::MAX;
    let empty = engine.state(0).memory_bytes;
    let keys = 100_000;
    (0..keys).for_each(|key| touch(&mut engine, &format!("a:{key}"), 1));
    let unwatched = engine.state(0).memory_bytes;
    assert_eq!(look(&mut engine, 1, 9_000), keys);
    let watched = engine.state(0).memory_bytes - unwatched;
    assert!((12 * keys..48 * keys).contains(&watched), "{watched}");
    let flight = batch(&mut engine, 200_000).unwrap();
    assert_eq!(done(&mut engine, flight, written(), 300_000).len(), keys);
    let left = engine.state(0).memory_bytes.saturating_sub(empty);
    assert!(left < watched, "{left}");
}

#[test]
fn whoever_looks_back_looks_at_every_dirty_key_and_every_letter() {
    let mut engine = watching(&["a:"]);
    ["a:1", "a:2", "a:3"].iter().for_each(|key| touch(&mut engine, key, 1));
    let flight = batch(&mut engine, 200_000).unwrap();
    let refusal = Refusal { index: 0, code: 121, reason: "schema".to_owned() };
    let verdict = Verdict::Written(Written { refused: vec![refusal], ..Written::default() });
    done(&mut engine, flight, verdict, 300_000);
    ["a:2", "a:3"].iter().for_each(|key| touch(&mut engine, key, 400_000));
    let mut all = fresh(&mut engine, 400_000);
    assert_eq!(all.pop().as_deref(), Some("a:1"), "letters come last");
    all.sort();
    assert_eq!(all, ["a:2", "a:3"]);
    assert!(!engine.has_fresh());
    engine.look_back();
    assert!(engine.has_fresh());
    assert_eq!(fresh(&mut engine, 400_000).len(), 3);
    assert!(!engine.has_fresh());
}

#[test]
fn a_key_with_a_letter_is_looked_at_before_it_ends_and_when_it_may_have_none_any_more() {
    let mut engine = watching(&["a:"]);
    touch(&mut engine, "a:1", 1);
    assert_eq!(look(&mut engine, 1, 500_000), 1);
    let flight = batch(&mut engine, 200_000).unwrap();
    let refusal = Refusal { index: 0, code: 121, reason: "schema".to_owned() };
    let verdict = Verdict::Written(Written { refused: vec![refusal], ..Written::default() });
    done(&mut engine, flight, verdict, 300_000);
    assert_eq!((engine.next_end_ms(), look(&mut engine, 300_000, 500_000)), (None, 1));
    assert_eq!(engine.next_end_ms(), Some(30_300));
    assert_eq!(ended(&mut engine, 30_300), ["a:1"]);
    assert_eq!(engine.next_end_ms(), None);
}
