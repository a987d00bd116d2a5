//! What the engine does past `dirty-max-bytes`.

use super::*;
use crate::core::backlog::table::Captured;
use crate::core::delivery::batch::Link;

/// Keys that a registration may always have.
const MANY: usize = 1_024;

/// An engine whose set is full of the keys `a:x0`, `a:x1` and so on, and which missed `a:missed`.
fn full(prefixes: &[&str]) -> Engine {
    let mut engine = engine(prefixes);
    engine.settings.dirty_max_bytes = 1;
    for i in 0..MANY {
        touch(&mut engine, &format!("a:x{i}"), 1);
    }
    touch(&mut engine, "a:missed", 7);
    assert!(engine.prefix_state(0, 7).unwrap().rescan_pending);
    engine
}

/// Writes everything that is due; the keys that became clean.
fn drain(engine: &mut Engine, now_us: u64) -> Vec<String> {
    let mut clean = Vec::new();
    while let Some(flight) = batch(engine, now_us) {
        clean.extend(done(engine, flight, written(), now_us));
    }
    clean
}

fn scan(engine: &mut Engine, slot: u16, keys: &[&str], now_us: u64) {
    engine.begin_scan(slot);
    for key in keys {
        if engine.is_scanned(slot, key.as_bytes()) {
            engine.found(slot, key.as_bytes(), Touch::Found, now_us);
        }
    }
    engine.end_scan(slot, now_us);
}

fn captured() -> Captured {
    Captured { content: Content::String, expire_ms: NO_EXPIRY, bytes: (*b"last").into() }
}

#[test]
fn a_missed_change_has_an_age_and_a_rescan_of_its_own() {
    let mut engine = full(&["a:", "b:"]);
    drain(&mut engine, 10);
    let state = engine.state(5_007);
    assert_eq!((state.dirty_keys, state.oldest_dirty_ms, state.rescans_pending), (0, 5, 1));
    assert_eq!(engine.rescans().collect::<Vec<_>>(), [0]);
    scan(&mut engine, 0, &["a:missed", "b:other"], 20);
    assert_eq!(drain(&mut engine, 1_000_000), ["a:missed"]);
    assert_eq!(engine.state(30).rescans_pending, 0);
}

#[test]
fn a_scan_waits_for_the_link_and_for_room() {
    let mut engine = full(&["a:"]);
    assert_eq!(engine.next_scan(0), None, "there is no room");
    drain(&mut engine, 10);
    assert_eq!(engine.next_scan(0), Some(0));
    let mut link = |link| engine.report(Report::Link(link), 11, 0, &mut Acknowledged::default());
    link(Link::Down { error: "away".to_owned() });
    assert_eq!(engine.next_scan(0), None, "MongoDB is away");
    engine.report(Report::Link(Link::Up), 12, 0, &mut Acknowledged::default());
    assert_eq!(engine.next_scan(0), Some(0));
}

#[test]
fn scans_take_turns_and_one_without_room_holds_up_no_other() {
    let mut engine = full(&["a:", "b:", "c:"]);
    for slot in [1, 2] {
        engine.set_sync_pending(slot, true);
    }
    assert_eq!(engine.next_scan(0), Some(1));
    assert_eq!(engine.next_scan(1), Some(2));
    assert_eq!(engine.next_scan(2), Some(1), "slot 0 has its share of keys");
}

#[test]
fn a_flush_waits_for_the_scan_and_for_what_it_finds() {
    let mut engine = full(&["a:"]);
    let all = engine.flush(FlushScope::All, 8);
    let slot = engine.flush(FlushScope::Slot(0), 8);
    drain(&mut engine, 10);
    assert!(engine.flushed().is_empty() && !engine.is_flushed(all));
    engine.begin_scan(0);
    engine.found(0, b"a:missed", Touch::Found, 11);
    engine.end_scan(0, 12);
    assert!(engine.flushed().is_empty(), "what was found is not written yet");
    assert_eq!(drain(&mut engine, 13), ["a:missed"]);
    let mut ended = engine.flushed();
    ended.sort_unstable();
    assert_eq!(ended, [all, slot]);
    let persisted = MANY as u64 + 1;
    assert_eq!(engine.end_flush(all), Some(Progress { persisted, pending: 0 }));
}

#[test]
fn a_flush_waits_for_a_second_scan_if_a_key_was_missed_behind_the_first() {
    let mut engine = full(&["a:"]);
    engine.begin_scan(0);
    touch(&mut engine, "a:behind", 9);
    let flush = engine.flush(FlushScope::All, 10);
    touch(&mut engine, "a:later", 20);
    engine.end_scan(0, 21);
    drain(&mut engine, 22);
    assert!(!engine.is_flushed(flush));
    engine.begin_scan(0);
    engine.end_scan(0, 30);
    assert!(engine.is_flushed(flush));
}

#[test]
fn a_flush_does_not_wait_for_what_is_missed_later() {
    let mut engine = full(&["a:"]);
    engine.begin_scan(0);
    let flush = engine.flush(FlushScope::All, 10);
    touch(&mut engine, "a:later", 20);
    engine.end_scan(0, 21);
    drain(&mut engine, 22);
    assert_eq!(engine.flushed(), [flush]);
    assert!(engine.prefix_state(0, 23).unwrap().rescan_pending);
}

#[test]
fn a_flush_of_keys_waits_for_one_that_was_perhaps_missed() {
    let mut engine = full(&["a:"]);
    let flush = engine.flush(FlushScope::Keys(0, &[b"a:missed", b"other"]), 10);
    assert!(!engine.is_flushed(flush));
    assert!(drain(&mut engine, 11).contains(&"a:missed".to_owned()));
    assert_eq!(engine.flushed(), [flush]);
    assert_eq!(engine.end_flush(flush), Some(Progress { persisted: 1, pending: 0 }));
}

#[test]
fn a_key_that_was_perhaps_missed_is_captured_before_it_goes() {
    let mut engine = full(&["a:"]);
    assert!(engine.must_capture(0, b"a:missed", Touch::Evicted, 8));
    assert!(engine.capture(0, b"a:missed", captured()));
    assert!(engine.gone(0, b"a:missed", Touch::Evicted, 8));
    assert_eq!(engine.state(8).lost_total, 0);
    assert!(drain(&mut engine, 9).contains(&"a:missed".to_owned()));
    engine.gone(0, b"a:nobody captured it", Touch::Expired, 10);
    assert_eq!(engine.state(10).lost_total, 1);
    engine.forgive(0);
    assert!(!engine.must_capture(0, b"a:clean", Touch::Evicted, 11));
    assert!(!engine.capture(0, b"a:clean", captured()));
}

#[test]
fn an_unregistered_prefix_is_scanned_before_its_slot_is_free() {
    let mut engine = full(&["a:", "a:long:"]);
    assert_eq!(engine.unregister(0, b"a:", false, 8), Some(MANY));
    drain(&mut engine, 10);
    assert!(engine.slot(0).is_some());
    assert_eq!(engine.next_scan(0), Some(0));
    let keys = ["a:missed", "a:long:1", "b:"];
    scan(&mut engine, 0, &keys, 11);
    assert_eq!(drain(&mut engine, 12), ["a:missed"]);
    assert!(engine.slot(0).is_none());
}

#[test]
fn a_key_that_another_registration_took_over_is_left_to_it() {
    let mut engine = full(&["a:", ""]);
    engine.unregister(0, b"a:", false, 8);
    drain(&mut engine, 10);
    touch(&mut engine, "a:missed", 11);
    scan(&mut engine, 0, &["a:missed"], 12);
    assert!(engine.slot(0).is_none());
    let flight = batch(&mut engine, u64::MAX).unwrap();
    assert_eq!((flight.slot, keys(&flight)), (1, vec!["a:missed"]));
}

#[test]
fn discarding_drops_what_was_missed_and_ends_its_flushes() {
    let mut engine = full(&["a:"]);
    let flush = engine.flush(FlushScope::All, 8);
    engine.unregister(0, b"a:", true, 9);
    assert!(engine.slot(0).is_none() && engine.is_flushed(flush));
    assert_eq!(engine.state(10).rescans_pending, 0);
}

#[test]
fn what_a_replica_missed_itself_outlives_the_end_of_its_masters_scan() {
    let mut replica = full(&["a:"]);
    // The master's scan, as the stream tells it.
    replica.begin_scan(0);
    replica.found(0, b"a:missed", Touch::Changed, 9);
    replica.end_scan(0, 10);
    assert!(replica.prefix_state(0, 11).unwrap().rescan_pending);
    // With room for all that the master found, nothing is left to be scanned.
    replica.settings.dirty_max_bytes = 0;
    replica.begin_scan(0);
    replica.found(0, b"a:missed", Touch::Changed, 12);
    replica.end_scan(0, 13);
    assert!(!replica.prefix_state(0, 14).unwrap().rescan_pending);
}

#[test]
fn what_was_missed_is_saved_and_loaded() {
    let mut engine = full(&["a:"]);
    engine.begin_scan(0);
    touch(&mut engine, "a:behind", 9);
    let mut loaded = Engine::default();
    let mut packer = crate::core::backlog::record::Packer::new(|block: &[u8]| {
        crate::core::backlog::record::unpack(block, |record| loaded.load(record, u64::MAX))
            .unwrap();
    });
    engine.save(10, |record| packer.push(&record));
    packer.end();
    drop(packer);
    assert_eq!(loaded.state(1_000_007).oldest_dirty_ms, 1_000_006 / 1_000);
    loaded.end_scan(0, 20);
    assert!(loaded.prefix_state(0, 21).unwrap().rescan_pending, "`a:behind` was not found");
    loaded.clear();
    assert_eq!(loaded.state(22).rescans_pending, 0);
}

#[test]
fn a_longer_prefix_that_is_registered_later_finds_what_the_shorter_one_missed() {
    let mut engine = full(&["a:"]);
    touch(&mut engine, "a:b:missed", 20);
    let slot = engine.register(registration("a:b:")).unwrap();
    assert!(engine.dirty.has_missed(slot));
    assert_eq!(engine.dirty.missed(slot).oldest_us(), engine.dirty.missed(0).oldest_us());
}

#[test]
fn the_progress_of_a_scan_is_counted_from_its_beginning() {
    let mut engine = engine(&["a:"]);
    let scanned = |engine: &Engine| engine.slot(0).unwrap().scanned;
    let more = Scanned { visited: 10, marked: 3 };
    engine.scanned(0, more);
    assert_eq!(scanned(&engine), Scanned::default(), "there is no scan");
    engine.begin_sync(0);
    assert_eq!(engine.state(1).syncs_pending, 1);
    engine.begin_scan(0);
    engine.scanned(0, more);
    engine.scanned(0, more);
    assert_eq!(scanned(&engine), Scanned { visited: 20, marked: 6 });
    engine.begin_scan(0);
    engine.scanned(0, more);
    engine.end_scan(0, 1);
    assert_eq!((scanned(&engine), engine.state(1).syncs_pending), (more, 0));
    engine.begin_sync(0);
    assert_eq!(scanned(&engine), Scanned::default());
}
