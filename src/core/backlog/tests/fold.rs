//! A change that was recorded counts at once, although the log is folded later.

use super::*;

/// A backlog whose key `a:1` was taken for a batch, and has changed since; the change is only logged.
fn taken_and_changed() -> (Backlog, Batch, Taken) {
    let mut backlog = backlog(&["a:"]);
    change(&mut backlog, "a:1", 1);
    let mut batch = backlog.begin_batch(u64::MAX).expect("a batch");
    let (taken, key) = backlog.take_key(&mut batch, u64::MAX).expect("a key");
    let value = Span { start: key.end, end: key.end };
    batch.items.push(item(&taken, key, Content::String, value, NO_EXPIRY));
    backlog.record(
        (Db(0), b"a:1"),
        ChangeKind::Changed,
        || false,
        || panic!("one change fills no log"),
    );
    assert!(!backlog.log.is_empty());
    (backlog, batch, taken)
}

#[test]
fn a_report_leaves_the_key_dirty() {
    let (mut backlog, batch, _) = taken_and_changed();
    backlog.in_flight.sent(Flight::of(&batch));
    assert!(done(&mut backlog, batch, written(), 2).is_empty());
    assert_eq!(backlog.dirty_len(), 1);
}

#[test]
fn the_key_is_not_skipped() {
    let (mut backlog, batch, taken) = taken_and_changed();
    let mut clean = Acknowledged::default();
    backlog.skip(batch.registration_id, &taken, 2, &mut clean);
    assert_eq!((clean.keys.len(), backlog.dirty_len()), (0, 1));
}

#[test]
fn the_key_has_changed_since_it_was_taken() {
    let (mut backlog, batch, taken) = taken_and_changed();
    assert!(backlog.changed_since(&taken, 2));
    let (mut backlog, _, _) = taken_and_changed();
    assert!(!backlog.is_as_taken(&batch, &taken, 2));
}

#[test]
fn a_logged_key_is_known_and_its_value_is_retained() {
    let value = || RetainedValue { content: Content::String, expire_ms: 5, bytes: (*b"v").into() };
    let logged = || {
        let mut backlog = backlog(&["a:"]);
        backlog.record((Db(0), b"a:1"), ChangeKind::Changed, || false, || 0);
        backlog
    };
    assert!(logged().is_unretained(Db(0), b"a:1", || 1));
    assert!(logged().active_of_key(Db(0), b"a:1", || 1).is_some());
    assert!(logged().retain_value(Db(0), b"a:1", value(), || 1));
    assert!(!logged().retain_value(Db(0), b"a:2", value(), || 1));
}

#[test]
fn a_full_log_is_folded_by_the_change_that_fills_it() {
    let mut backlog = backlog(&["a:"]);
    let mut asked = 0;
    for number in 0..1_000 {
        backlog.record(
            (Db(0), format!("a:{number}").as_bytes()),
            ChangeKind::Changed,
            || false,
            || {
                asked += 1;
                1
            },
        );
    }
    assert!((1_000 / 64..1_000 / 32).contains(&asked), "the clock was read {asked} times");
    assert!(backlog.log.len() < 64 && backlog.dirty_len() + backlog.log.len() == 1_000);
}
