//! A batch that is filled in more than one iteration of the event loop.

use super::*;
use crate::core::ids::Db;

/// A batch that was begun and has one key.
fn begun(backlog: &mut Backlog) -> Batch {
    let mut batch = backlog.begin_batch(u64::MAX).expect("a batch");
    add(backlog, &mut batch).expect("a key");
    backlog.in_flight.hold(&batch, 0);
    batch
}

fn add(backlog: &mut Backlog, batch: &mut Batch) -> Option<()> {
    let (taken, key) = backlog.take_key(batch, u64::MAX)?;
    let value = Span { start: key.end, end: key.end };
    batch.items.push(item(&taken, key, Content::String, value, NO_EXPIRY));
    Some(())
}

#[test]
fn keys_are_added_until_the_options_of_the_registration_change() {
    let mut backlog = backlog(&["a:"]);
    for key in ["a:1", "a:2", "a:3"] {
        change(&mut backlog, key, 1);
    }
    let mut batch = begun(&mut backlog);
    assert!(add(&mut backlog, &mut batch).is_some());
    backlog.in_flight.hold(&batch, 1);
    backlog.register(registration("a:"));
    assert!(add(&mut backlog, &mut batch).is_none());
    backlog.in_flight.release_held();
    backlog.in_flight.sent(Flight::of(&batch));
    assert_eq!(done(&mut backlog, batch, written(), 5), ["a:1", "a:2"]);
    assert_eq!(backlog.state(5).dirty_keys, 1);
}

#[test]
fn its_registration_is_kept_until_it_ends_even_if_its_keys_have_moved() {
    let mut backlog = backlog(&["a:"]);
    change(&mut backlog, "a:1", 1);
    change(&mut backlog, "a:2", 1);
    let mut batch = begun(&mut backlog);
    backlog.register(registration("a:1"));
    change(&mut backlog, "a:1", 2);
    backlog.unregister(Db(0), b"a:", false, 3);
    // Its last key needs no write.
    let (taken, key) = backlog.take_key(&mut batch, u64::MAX).expect("a key");
    backlog.skip(batch.registration_id, &taken, 0, &mut Acknowledged::default());
    batch.bytes.truncate(key.start);
    assert!(backlog.registry.at(batch.registration_id).is_some());
    backlog.in_flight.release_held();
    backlog.in_flight.sent(Flight::of(&batch));
    let id = batch.registration_id;
    done(&mut backlog, batch, written(), 4);
    assert!(backlog.registry.at(id).is_none());
    assert_eq!(backlog.state(4).dirty_keys, 1);
}

#[test]
fn its_keys_are_dirty_since_their_changes() {
    let mut backlog = backlog(&["a:"]);
    change(&mut backlog, "a:1", 1_000_000);
    change(&mut backlog, "a:2", 2_000_000);
    let mut batch = begun(&mut backlog);
    assert!(add(&mut backlog, &mut batch).is_some());
    backlog.in_flight.hold(&batch, 1);
    assert_eq!(backlog.state(3_000_000).oldest_dirty_ms, 2_000);
}

#[test]
fn its_keys_are_dropped_if_it_is_not_sent_and_its_registration_discards() {
    let mut backlog = backlog(&["a:"]);
    change(&mut backlog, "a:1", 1);
    let batch = begun(&mut backlog);
    backlog.unregister(Db(0), b"a:", true, 2);
    backlog.in_flight.release_held();
    let id = batch.registration_id;
    backlog.unsent(batch);
    assert_eq!(backlog.state(3).dirty_keys, 0);
    assert!(backlog.registry.at(id).is_none());
}

#[test]
fn its_keys_are_requeued_when_an_epoch_begins() {
    let mut backlog = backlog(&["a:"]);
    change(&mut backlog, "a:1", 1);
    let batch = begun(&mut backlog);
    assert!(backlog.in_flight.is_current(&batch));
    backlog.begin_epoch();
    assert!(!backlog.in_flight.is_current(&batch));
    backlog.in_flight.recycle(batch);
    assert_eq!(keys(&super::batch(&mut backlog, u64::MAX).unwrap()), ["a:1"]);
}
