//! A batch that is filled in more than one turn.

use super::*;

/// A batch that was begun and has its first key.
fn begun(engine: &mut Engine) -> Batch {
    let mut batch = engine.begin_batch(u64::MAX).expect("a batch");
    add(engine, &mut batch).expect("a key");
    engine.holds(&batch, 0);
    batch
}

fn add(engine: &mut Engine, batch: &mut Batch) -> Option<()> {
    let (taken, key) = engine.take(batch, u64::MAX)?;
    let value = Span { start: key.end, end: key.end };
    batch.items.push(item(&taken, key, Content::String, value, NO_EXPIRY));
    Some(())
}

#[test]
fn keys_are_added_until_the_registration_has_other_options() {
    let mut engine = engine(&["a:"]);
    for key in ["a:1", "a:2", "a:3"] {
        touch(&mut engine, key, 1);
    }
    let mut batch = begun(&mut engine);
    assert!(add(&mut engine, &mut batch).is_some());
    engine.holds(&batch, 1);
    engine.register(registration("a:"));
    assert!(add(&mut engine, &mut batch).is_none());
    engine.lets_go();
    engine.sent(Flight::of(&batch));
    assert_eq!(done(&mut engine, batch, written(), 5), ["a:1", "a:2"]);
    assert_eq!(engine.state(5).dirty_keys, 1);
}

#[test]
fn its_registration_stays_until_it_has_ended_though_its_keys_are_anothers_now() {
    let mut engine = engine(&["a:"]);
    touch(&mut engine, "a:1", 1);
    touch(&mut engine, "a:2", 1);
    let mut batch = begun(&mut engine);
    engine.register(registration("a:1"));
    touch(&mut engine, "a:1", 2);
    engine.unregister(0, b"a:", false, 3);
    // Its last key needs no write.
    let (taken, key) = engine.take(&mut batch, u64::MAX).expect("a key");
    engine.skip(batch.slot, &taken, &mut Acknowledged::default());
    batch.bytes.truncate(key.start);
    assert!(engine.slot(batch.slot).is_some());
    engine.lets_go();
    engine.sent(Flight::of(&batch));
    let slot = batch.slot;
    done(&mut engine, batch, written(), 4);
    assert!(engine.slot(slot).is_none());
    assert_eq!(engine.state(4).dirty_keys, 1);
}

#[test]
fn its_keys_are_as_old_as_they_were() {
    let mut engine = engine(&["a:"]);
    touch(&mut engine, "a:1", 1_000_000);
    touch(&mut engine, "a:2", 2_000_000);
    let mut batch = begun(&mut engine);
    assert!(add(&mut engine, &mut batch).is_some());
    engine.holds(&batch, 1);
    assert_eq!(engine.state(3_000_000).oldest_dirty_ms, 2_000);
}

#[test]
fn its_keys_are_dropped_when_it_is_not_sent_and_nobody_wants_them_any_more() {
    let mut engine = engine(&["a:"]);
    touch(&mut engine, "a:1", 1);
    let batch = begun(&mut engine);
    engine.unregister(0, b"a:", true, 2);
    engine.lets_go();
    let slot = batch.slot;
    engine.unsent(batch);
    assert_eq!(engine.state(3).dirty_keys, 0);
    assert!(engine.slot(slot).is_none());
}

#[test]
fn it_is_forgotten_when_another_epoch_begins() {
    let mut engine = engine(&["a:"]);
    touch(&mut engine, "a:1", 1);
    let batch = begun(&mut engine);
    assert!(engine.is_of_now(&batch));
    engine.begin_epoch();
    assert!(!engine.is_of_now(&batch));
    engine.recycle(batch);
    assert_eq!(keys(&super::batch(&mut engine, u64::MAX).unwrap()), ["a:1"]);
}
