//! The backlog beyond `dirty-max-bytes`.

use super::*;
use crate::core::backlog::table::RetainedValue;
use crate::core::delivery::batch::Link;
use crate::core::ids::{Db, RegistrationId};
use crate::core::now::Now;

/// Number of keys that a registration may always have in the table.
const MANY: usize = 1_024;

/// A backlog whose table is full of the keys `a:x0`, `a:x1` and so on, and which missed `a:missed`.
fn full(prefixes: &[&str]) -> Backlog {
    let mut backlog = backlog(prefixes);
    backlog.settings.dirty_max_bytes = 1;
    for i in 0..MANY {
        change(&mut backlog, &format!("a:x{i}"), 1);
    }
    change(&mut backlog, "a:missed", 7);
    assert!(backlog.prefix_state(RegistrationId(0), 7).unwrap().rescan_pending);
    backlog
}

/// Writes all due keys; returns the keys that became clean.
fn drain(backlog: &mut Backlog, now_us: u64) -> Vec<String> {
    let mut clean = Vec::new();
    while let Some(flight) = batch(backlog, now_us) {
        clean.extend(done(backlog, flight, written(), now_us));
    }
    clean
}

fn scan(backlog: &mut Backlog, id: RegistrationId, keys: &[&str], now_us: u64) {
    backlog.begin_scan(id);
    for key in keys {
        if backlog.is_scanned(id, key.as_bytes()) {
            backlog.found(id, key.as_bytes(), ChangeKind::Found, now_us);
        }
    }
    backlog.end_scan(id, now_us);
}

fn retained() -> RetainedValue {
    RetainedValue { content: Content::String, expire_ms: NO_EXPIRY, bytes: (*b"last").into() }
}

#[test]
fn a_missed_change_counts_as_dirty_and_is_found_by_a_rescan() {
    let mut backlog = full(&["a:", "b:"]);
    drain(&mut backlog, 10);
    let state = backlog.state(5_007);
    assert_eq!((state.dirty_keys, state.oldest_dirty_ms, state.rescans_pending), (0, 5, 1));
    assert_eq!(backlog.rescans().collect::<Vec<_>>(), [RegistrationId(0)]);
    scan(&mut backlog, RegistrationId(0), &["a:missed", "b:other"], 20);
    assert_eq!(drain(&mut backlog, 1_000_000), ["a:missed"]);
    assert_eq!(backlog.state(30).rescans_pending, 0);
}

#[test]
fn a_scan_waits_for_the_link_and_for_room() {
    let mut backlog = full(&["a:"]);
    assert_eq!(backlog.next_scan(RegistrationId(0)), None, "there is no room");
    drain(&mut backlog, 10);
    assert_eq!(backlog.next_scan(RegistrationId(0)), Some(RegistrationId(0)));
    let mut link = |link| {
        backlog.report(Report::Link(link), Now { us: 11, unix_ms: 0 }, &mut Acknowledged::default())
    };
    link(Link::Down { error: "away".to_owned() });
    assert_eq!(backlog.next_scan(RegistrationId(0)), None, "MongoDB is unreachable");
    backlog.report(
        Report::Link(Link::Up),
        Now { us: 12, unix_ms: 0 },
        &mut Acknowledged::default(),
    );
    assert_eq!(backlog.next_scan(RegistrationId(0)), Some(RegistrationId(0)));
}

#[test]
fn scans_take_turns_and_one_without_room_delays_no_other() {
    let mut backlog = full(&["a:", "b:", "c:"]);
    for id in [1, 2] {
        backlog.set_sync_pending(RegistrationId(id), true);
    }
    assert_eq!(backlog.next_scan(RegistrationId(0)), Some(RegistrationId(1)));
    assert_eq!(backlog.next_scan(RegistrationId(1)), Some(RegistrationId(2)));
    assert_eq!(
        backlog.next_scan(RegistrationId(2)),
        Some(RegistrationId(1)),
        "id 0 has its share of keys"
    );
}

#[test]
fn a_flush_waits_for_the_scan_and_for_the_keys_found() {
    let mut backlog = full(&["a:"]);
    let all = backlog.flush(FlushScope::All, 8);
    let id = backlog.flush(FlushScope::Registration(RegistrationId(0)), 8);
    drain(&mut backlog, 10);
    assert!(backlog.flushed().is_empty() && !backlog.is_flushed(all));
    backlog.begin_scan(RegistrationId(0));
    backlog.found(RegistrationId(0), b"a:missed", ChangeKind::Found, 11);
    backlog.end_scan(RegistrationId(0), 12);
    assert!(backlog.flushed().is_empty(), "what was found is not written yet");
    assert_eq!(drain(&mut backlog, 13), ["a:missed"]);
    let mut ended = backlog.flushed();
    ended.sort_unstable();
    assert_eq!(ended, [all, id]);
    let persisted = MANY as u64 + 1;
    assert_eq!(backlog.end_flush(all), Some(FlushProgress { persisted, pending: 0 }));
}

#[test]
fn a_flush_waits_for_a_second_scan_if_a_key_was_missed_during_the_first() {
    let mut backlog = full(&["a:"]);
    backlog.begin_scan(RegistrationId(0));
    change(&mut backlog, "a:behind", 9);
    let flush = backlog.flush(FlushScope::All, 10);
    change(&mut backlog, "a:later", 20);
    backlog.end_scan(RegistrationId(0), 21);
    drain(&mut backlog, 22);
    assert!(!backlog.is_flushed(flush));
    backlog.begin_scan(RegistrationId(0));
    backlog.end_scan(RegistrationId(0), 30);
    assert!(backlog.is_flushed(flush));
}

#[test]
fn a_flush_does_not_wait_for_changes_missed_later() {
    let mut backlog = full(&["a:"]);
    backlog.begin_scan(RegistrationId(0));
    let flush = backlog.flush(FlushScope::All, 10);
    change(&mut backlog, "a:later", 20);
    backlog.end_scan(RegistrationId(0), 21);
    drain(&mut backlog, 22);
    assert_eq!(backlog.flushed(), [flush]);
    assert!(backlog.prefix_state(RegistrationId(0), 23).unwrap().rescan_pending);
}

#[test]
fn a_flush_of_keys_waits_for_a_key_that_may_have_been_missed() {
    let mut backlog = full(&["a:"]);
    let flush = backlog.flush(FlushScope::Keys(Db(0), &[b"a:missed", b"other"]), 10);
    assert!(!backlog.is_flushed(flush));
    assert!(drain(&mut backlog, 11).contains(&"a:missed".to_owned()));
    assert_eq!(backlog.flushed(), [flush]);
    assert_eq!(backlog.end_flush(flush), Some(FlushProgress { persisted: 1, pending: 0 }));
}

#[test]
fn the_value_of_a_key_that_may_have_been_missed_is_retained() {
    let mut backlog = full(&["a:"]);
    assert!(backlog.must_retain(Db(0), b"a:missed", ChangeKind::Evicted, 8));
    assert!(backlog.retain_value(Db(0), b"a:missed", retained(), || 0));
    assert!(backlog.removed((Db(0), b"a:missed"), ChangeKind::Evicted, || false, 8));
    assert_eq!(backlog.state(8).lost_total, 0);
    assert!(drain(&mut backlog, 9).contains(&"a:missed".to_owned()));
    backlog.removed((Db(0), b"a:not retained"), ChangeKind::Expired, || false, 10);
    assert_eq!(backlog.state(10).lost_total, 1);
    backlog.clear_missed(RegistrationId(0));
    assert!(!backlog.must_retain(Db(0), b"a:clean", ChangeKind::Evicted, 11));
    assert!(!backlog.retain_value(Db(0), b"a:clean", retained(), || 0));
}

#[test]
fn an_unregistered_prefix_is_scanned_before_its_id_is_freed() {
    let mut backlog = full(&["a:", "a:long:"]);
    assert_eq!(backlog.unregister(Db(0), b"a:", false, 8), Some(MANY));
    drain(&mut backlog, 10);
    assert!(backlog.registry.at(RegistrationId(0)).is_some());
    assert_eq!(backlog.next_scan(RegistrationId(0)), Some(RegistrationId(0)));
    let keys = ["a:missed", "a:long:1", "b:"];
    scan(&mut backlog, RegistrationId(0), &keys, 11);
    assert_eq!(drain(&mut backlog, 12), ["a:missed"]);
    assert!(backlog.registry.at(RegistrationId(0)).is_none());
}

#[test]
fn a_scan_skips_a_key_that_moved_to_another_registration() {
    let mut backlog = full(&["a:", ""]);
    backlog.unregister(Db(0), b"a:", false, 8);
    drain(&mut backlog, 10);
    change(&mut backlog, "a:missed", 11);
    scan(&mut backlog, RegistrationId(0), &["a:missed"], 12);
    assert!(backlog.registry.at(RegistrationId(0)).is_none());
    let flight = batch(&mut backlog, u64::MAX).unwrap();
    assert_eq!((flight.registration_id, keys(&flight)), (RegistrationId(1), vec!["a:missed"]));
}

#[test]
fn discarding_drops_missed_changes_and_ends_their_flushes() {
    let mut backlog = full(&["a:"]);
    let flush = backlog.flush(FlushScope::All, 8);
    backlog.unregister(Db(0), b"a:", true, 9);
    assert!(backlog.registry.at(RegistrationId(0)).is_none() && backlog.is_flushed(flush));
    assert_eq!(backlog.state(10).rescans_pending, 0);
}

#[test]
fn changes_missed_by_a_replica_are_kept_after_the_scan_of_its_master() {
    let mut replica = full(&["a:"]);
    // The master's scan, as it is replicated.
    replica.begin_scan(RegistrationId(0));
    replica.found(RegistrationId(0), b"a:missed", ChangeKind::Changed, 9);
    replica.end_scan(RegistrationId(0), 10);
    assert!(replica.prefix_state(RegistrationId(0), 11).unwrap().rescan_pending);
    // With room for all keys that the master found, no rescan is needed.
    replica.settings.dirty_max_bytes = 0;
    replica.begin_scan(RegistrationId(0));
    replica.found(RegistrationId(0), b"a:missed", ChangeKind::Changed, 12);
    replica.end_scan(RegistrationId(0), 13);
    assert!(!replica.prefix_state(RegistrationId(0), 14).unwrap().rescan_pending);
}

#[test]
fn missed_changes_are_saved_and_loaded() {
    let mut backlog = full(&["a:"]);
    backlog.begin_scan(RegistrationId(0));
    change(&mut backlog, "a:behind", 9);
    let mut loaded = Backlog::default();
    let mut packer = crate::core::backlog::record::Packer::new(|block: &[u8]| {
        crate::core::backlog::record::unpack(block, |record| loaded.load(record, u64::MAX))
            .unwrap();
    });
    backlog.save(10, |record| packer.push(&record));
    packer.end();
    drop(packer);
    assert_eq!(loaded.state(1_000_007).oldest_dirty_ms, 1_000_006 / 1_000);
    loaded.end_scan(RegistrationId(0), 20);
    assert!(
        loaded.prefix_state(RegistrationId(0), 21).unwrap().rescan_pending,
        "`a:behind` was not found"
    );
    loaded.clear();
    assert_eq!(loaded.state(22).rescans_pending, 0);
}

#[test]
fn a_longer_prefix_that_is_registered_later_inherits_missed_changes() {
    let mut backlog = full(&["a:"]);
    change(&mut backlog, "a:b:missed", 20);
    let id = backlog.register(registration("a:b:")).unwrap();
    assert!(backlog.dirty.has_missed(id));
    assert_eq!(
        backlog.dirty.missed(id).oldest_us(),
        backlog.dirty.missed(RegistrationId(0)).oldest_us()
    );
}

#[test]
fn the_progress_of_a_scan_is_counted_from_its_beginning() {
    let mut backlog = backlog(&["a:"]);
    let scanned = |backlog: &Backlog| backlog.registry.at(RegistrationId(0)).unwrap().scanned;
    let more = Scanned { visited: 10, marked: 3 };
    backlog.scanned(RegistrationId(0), more);
    assert_eq!(scanned(&backlog), Scanned::default(), "there is no scan");
    backlog.begin_sync(RegistrationId(0));
    assert_eq!(backlog.state(1).syncs_pending, 1);
    backlog.begin_scan(RegistrationId(0));
    backlog.scanned(RegistrationId(0), more);
    backlog.scanned(RegistrationId(0), more);
    assert_eq!(scanned(&backlog), Scanned { visited: 20, marked: 6 });
    backlog.begin_scan(RegistrationId(0));
    backlog.scanned(RegistrationId(0), more);
    backlog.end_scan(RegistrationId(0), 1);
    assert_eq!((scanned(&backlog), backlog.state(1).syncs_pending), (more, 0));
    backlog.begin_sync(RegistrationId(0));
    assert_eq!(scanned(&backlog), Scanned::default());
}
