//! State that was saved by a server whose clock was ahead of the local clock.

use super::*;
use crate::core::backlog::change_log::ChangeKind;
use crate::core::backlog::dead_letters::DeadLetter;
use crate::core::backlog::record::{Record, SavedKey};
use crate::core::backlog::table::Missed;
use crate::core::ids::{Db, RegistrationId};

const NOW_US: u64 = 1_000_000_000;
const AHEAD_US: u64 = NOW_US + 3_600_000_000;

fn key(name: &str, since_us: u64) -> Record<'_> {
    let key = name.as_bytes();
    Record::Key(
        SavedKey {
            registration_id: RegistrationId(7),
            db: Db(0),
            kind: ChangeKind::Changed,
            since_us,
            key,
            retained: None,
        },
        None,
    )
}

fn loaded(missed: Missed, keys: &[(&str, u64)]) -> Backlog {
    let mut backlog = backlog(&[]);
    let active = Record::Registration {
        registration_id: RegistrationId(7),
        live: true,
        discards: false,
        sync_pending: false,
        paused: false,
        missed,
        registration: registration("a:"),
    };
    backlog.load(active, NOW_US);
    for (name, since_us) in keys {
        backlog.load(key(name, *since_us), NOW_US);
    }
    backlog
}

#[test]
fn a_key_from_the_future_is_due_like_a_key_dirty_now() {
    let mut backlog = loaded(Missed::default(), &[("a:1", 5), ("a:2", AHEAD_US)]);
    assert!(backlog.begin_batch(NOW_US).is_some());
    let mut backlog = loaded(Missed::default(), &[("a:2", AHEAD_US)]);
    assert_eq!(backlog.next_due_us(), Some(NOW_US + INTERVAL_US));
    let flush = backlog.flush(FlushScope::All, NOW_US);
    let batch = batch(&mut backlog, NOW_US).unwrap();
    done(&mut backlog, batch, written(), NOW_US + 1);
    assert_eq!(backlog.end_flush(flush).unwrap().persisted, 1);
}

#[test]
fn a_flush_waits_for_the_scan_of_changes_missed_in_the_future() {
    let missed = Missed { since_us: Some(AHEAD_US), scanned_us: Some(AHEAD_US) };
    let mut backlog = loaded(missed, &[]);
    assert_eq!(backlog.state(NOW_US).oldest_dirty_ms, 0);
    let flush = backlog.flush(FlushScope::All, NOW_US + 1);
    assert!(!backlog.is_flushed(flush), "it must wait for the scan");
}

#[test]
fn the_time_of_a_dead_letter_is_at_most_now() {
    let mut backlog = loaded(Missed::default(), &[]);
    for (key, unix_ms) in [(b"a:1", 3), (b"a:2", AHEAD_US / 1000)] {
        let letter = DeadLetter {
            registration_id: RegistrationId(7),
            code: 121,
            reason: String::new(),
            attempts: 1,
            unix_ms,
            kind: ChangeKind::Changed,
            retained: None,
        };
        backlog.load(Record::Dead { db: Db(0), key, letter }, NOW_US);
    }
    assert_eq!(backlog.dead.find(Db(0), b"a:1").unwrap().unix_ms, 3);
    assert_eq!(backlog.dead.find(Db(0), b"a:2").unwrap().unix_ms, NOW_US / 1000);
}
