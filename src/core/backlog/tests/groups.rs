//! Groups: keys that were changed together are sent together, or not at all.

use super::*;
use crate::core::backlog::Due;
use crate::core::delivery::batch::{Held, Link, Refusal};
use crate::core::delivery::group_batch::GroupBatch;
use crate::core::delivery::group_counts::{GroupCounts, Split};
use crate::core::mapping::value::Content;
use crate::core::registration::Atomic;

const FAR_US: u64 = 1 << 50;

/// A backlog of these prefixes, whose link is up.
fn linked(prefixes: &[(&str, Atomic)]) -> Backlog {
    let mut backlog = Backlog::default();
    for (prefix, atomic) in prefixes {
        let mut registration = registration(prefix);
        registration.atomic = *atomic;
        backlog.register(registration);
    }
    let mut clean = Acknowledged::default();
    for report in [Report::Credit(9), Report::GroupCredit(2), Report::Link(Link::Up)] {
        backlog.report(report, Now { us: 0, unix_ms: 0 }, &mut clean);
    }
    backlog
}

fn two() -> Backlog {
    linked(&[("a:", Atomic::Split), ("b:", Atomic::Split)])
}

/// One transaction changes these keys.
fn change(backlog: &mut Backlog, keys: &[&str]) {
    for (at, key) in keys.iter().enumerate() {
        backlog.record((Db(0), key.as_bytes()), ChangeKind::Changed, || at > 0, || 0);
    }
    backlog.fold(1);
}

/// The keys of plain batches that are due, and the keys of each group that is due.
fn due(backlog: &mut Backlog, now_us: u64) -> (Vec<Batch>, GroupBatch) {
    let mut batches = Vec::new();
    while let Some(mut batch) = backlog.begin_batch(now_us) {
        while let Some(due) = backlog.take(&mut batch, now_us) {
            if let Due::Key(taken, key) = due {
                let value = Span { start: key.end, end: key.end };
                batch.items.push(item(&taken, key, Content::String, value, -1));
            }
        }
        if !batch.items.is_empty() {
            backlog.in_flight.sent(Flight::of(&batch));
            batches.push(batch);
        }
    }
    let mut groups = GroupBatch::default();
    while let Some(due) = backlog.next_group(&groups, now_us) {
        groups.groups.push(due.sent);
        let number = groups.groups.len() as u32 - 1;
        for (id, entry) in &due.members {
            let batch = backlog.batch_for(&mut groups, *id).expect("a batch");
            let (taken, key) = backlog.take_member(batch, *entry).expect("a key");
            let value = Span { start: key.end, end: key.end };
            batch.items.push(item(&taken, key, Content::String, value, -1));
            batch.groups.push(number);
        }
    }
    if !groups.is_empty() {
        backlog.in_flight.sent_groups(groups.batches.iter().map(Flight::of));
    }
    (batches, groups)
}

fn names(batches: &[Batch]) -> Vec<String> {
    let name = |batch: &Batch, item| String::from_utf8_lossy(batch.key(item)).into_owned();
    let names = batches.iter().flat_map(|batch| batch.items.iter().map(|item| name(batch, item)));
    let mut names: Vec<String> = names.collect();
    names.sort();
    names
}

fn report(backlog: &mut Backlog, batch: Batch, verdict: Verdict) -> Vec<String> {
    let mut clean = Acknowledged::default();
    backlog.report(Report::Done { batch, verdict }, Now { us: 1, unix_ms: 0 }, &mut clean);
    let names = clean.keys.iter().map(|(_, key)| String::from_utf8_lossy(key).into_owned());
    names.collect()
}

fn acknowledge(backlog: &mut Backlog, groups: GroupBatch) {
    for batch in groups.batches {
        report(backlog, batch, Verdict::Written(Written { sent_bytes: 1, ..Written::default() }));
    }
    let mut clean = Acknowledged::default();
    backlog.report(Report::GroupCredit(1), Now { us: 1, unix_ms: 0 }, &mut clean);
}

#[test]
fn keys_of_one_transaction_are_one_group_and_others_are_not() {
    let mut backlog = two();
    change(&mut backlog, &["a:1", "b:1"]);
    change(&mut backlog, &["a:2"]);
    let (batches, groups) = due(&mut backlog, FAR_US);
    assert_eq!(
        (names(&batches), names(&groups.batches)),
        (vec!["a:2".into()], vec!["a:1".into(), "b:1".into()])
    );
    assert_eq!(groups.groups.len(), 1);
    acknowledge(&mut backlog, groups);
    assert_eq!((backlog.dirty_len(), backlog.groups_len()), (1, 0));
}

#[test]
fn a_group_is_due_with_its_first_key() {
    let mut backlog = linked(&[("a:", Atomic::Split)]);
    let mut slow = registration("s:");
    slow.interval_ms = Some(1_000_000);
    backlog.register(slow);
    change(&mut backlog, &["s:1"]);
    change(&mut backlog, &["s:2", "a:2"]);
    let (batches, groups) = due(&mut backlog, INTERVAL_US + 1);
    assert_eq!(
        (names(&batches), names(&groups.batches)),
        (vec![], vec!["a:2".into(), "s:2".into()])
    );
}

#[test]
fn transactions_that_share_a_key_are_one_group() {
    let mut backlog = two();
    change(&mut backlog, &["a:1", "b:1"]);
    change(&mut backlog, &["a:2", "b:2"]);
    change(&mut backlog, &["b:1", "a:3"]);
    let (_, groups) = due(&mut backlog, FAR_US);
    assert_eq!((groups.groups.len(), groups.keys()), (2, 5));
}

#[test]
fn a_group_waits_for_a_key_in_flight() {
    let mut backlog = two();
    change(&mut backlog, &["a:1"]);
    let (mut batches, _) = due(&mut backlog, FAR_US);
    change(&mut backlog, &["a:1", "b:1"]);
    let (others, groups) = due(&mut backlog, FAR_US);
    assert!(others.is_empty() && groups.is_empty());
    assert_eq!(backlog.next_due_us(), None, "nothing to do until the batch has ended");
    let clean = report(&mut backlog, batches.remove(0), Verdict::Written(Written::default()));
    assert!(clean.is_empty(), "it has changed again");
    assert_eq!(backlog.next_due_us(), Some(0));
    let (_, groups) = due(&mut backlog, FAR_US);
    assert_eq!(names(&groups.batches), ["a:1", "b:1"]);
}

#[test]
fn a_key_that_changed_in_flight_stays_with_those_of_its_last_transaction() {
    let mut backlog = two();
    change(&mut backlog, &["a:1", "b:1"]);
    let (_, groups) = due(&mut backlog, FAR_US);
    change(&mut backlog, &["a:1", "a:2"]);
    acknowledge(&mut backlog, groups);
    let (batches, groups) = due(&mut backlog, FAR_US);
    assert_eq!((batches.len(), names(&groups.batches)), (0, vec!["a:1".into(), "a:2".into()]));
}

#[test]
fn a_group_that_was_returned_is_sent_again_as_a_whole() {
    let mut backlog = two();
    change(&mut backlog, &["a:1", "b:1"]);
    let (_, groups) = due(&mut backlog, FAR_US);
    for batch in groups.batches {
        let error = "cut".to_owned();
        report(&mut backlog, batch, Verdict::Returned { error, hold_ms: 0, indeterminate: false });
    }
    let (_, groups) = due(&mut backlog, FAR_US);
    assert_eq!(names(&groups.batches), ["a:1", "b:1"]);
}

#[test]
fn a_held_group_is_tried_again_after_its_time_and_says_why() {
    let mut backlog = two();
    change(&mut backlog, &["a:1", "b:1"]);
    let (_, groups) = due(&mut backlog, FAR_US);
    for batch in groups.batches {
        let held = Held { items: vec![0], because: "it is locked".to_owned() };
        let held = Some(Box::new(held));
        report(
            &mut backlog,
            batch,
            Verdict::Written(Written { held, blocked_ms: 50, ..Written::default() }),
        );
    }
    backlog.in_flight.group_credits = 1;
    assert_eq!(backlog.error_of(RegistrationId(1)), "it is locked");
    assert_eq!(backlog.next_due_us(), Some(50_001));
    assert!(due(&mut backlog, 50_000).1.is_empty());
    change(&mut backlog, &["a:2"]);
    let (batches, groups) = due(&mut backlog, 50_001 + INTERVAL_US);
    assert_eq!(
        (names(&batches), names(&groups.batches)),
        (vec!["a:2".into()], vec!["a:1".into(), "b:1".into()])
    );
    assert_eq!(
        (groups.groups[0].attempts, groups.groups[0].failing_ms),
        (1, 50 + INTERVAL_US / 1000)
    );
}

#[test]
fn a_paused_registration_splits_a_group_or_holds_it() {
    for (atomic, written) in [(Atomic::Split, 2), (Atomic::Whole, 0)] {
        let mut backlog = linked(&[("a:", Atomic::Split), ("b:", atomic), ("c:", Atomic::Split)]);
        backlog.pause(Some(RegistrationId(0)));
        change(&mut backlog, &["a:1", "b:1", "c:1"]);
        let (batches, groups) = due(&mut backlog, FAR_US);
        assert_eq!((batches.len(), groups.keys()), (0, written), "{atomic:?}");
        assert_eq!(backlog.group_counts().split(Split::Paused), u64::from(written > 0));
        assert_eq!(backlog.dirty_unpaused(), written);
        acknowledge(&mut backlog, groups);
        backlog.resume(Some(RegistrationId(0)));
        let (batches, groups) = due(&mut backlog, FAR_US);
        assert_eq!(names(&batches).len() + groups.keys(), 3 - written, "{atomic:?}");
    }
}

#[test]
fn keys_of_a_registration_that_wants_them_apart_are_in_no_group() {
    let mut backlog = linked(&[("a:", Atomic::None), ("b:", Atomic::Split)]);
    change(&mut backlog, &["a:1", "b:1", "a:2", "b:2"]);
    let (batches, groups) = due(&mut backlog, FAR_US);
    assert_eq!(
        (names(&batches), names(&groups.batches)),
        (vec!["a:1".into(), "a:2".into()], vec!["b:1".into(), "b:2".into()])
    );
}

#[test]
fn without_a_registration_that_has_groups_nothing_is_asked_about_them() {
    let mut backlog = linked(&[("a:", Atomic::None)]);
    let mut asked = 0;
    let mut record = |backlog: &mut Backlog| {
        let joins = || {
            asked += 1;
            true
        };
        backlog.record((Db(0), b"a:1"), ChangeKind::Changed, joins, || 0);
        asked
    };
    assert_eq!(record(&mut backlog), 0);
    let with = |atomic| Registration { atomic, ..registration("a:") };
    backlog.register(with(Atomic::Split));
    assert_eq!(record(&mut backlog), 1);
    backlog.register(with(Atomic::None));
    assert_eq!(record(&mut backlog), 1);
    backlog.register(registration("b:"));
    assert_eq!(record(&mut backlog), 2);
    backlog.unregister(Db(0), b"b:", false, 0);
    assert_eq!(record(&mut backlog), 2);
}

#[test]
fn a_transaction_of_too_many_keys_is_split_and_counted() {
    let mut backlog = two();
    let keys: Vec<String> = (0..1400).map(|number| format!("a:{number}")).collect();
    let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
    change(&mut backlog, &keys);
    let (_, first) = due(&mut backlog, 2);
    assert_eq!((first.groups.len(), first.keys()), (1, 1000), "it is due before its interval");
    let (_, second) = due(&mut backlog, FAR_US);
    assert_eq!((second.groups.len(), second.keys()), (1, 400));
    assert_eq!(backlog.group_counts().split_total(), 1);
}

#[test]
fn a_new_epoch_keeps_groups_whole() {
    let mut backlog = two();
    change(&mut backlog, &["a:1", "b:1"]);
    change(&mut backlog, &["a:2", "b:2"]);
    let (_, groups) = due(&mut backlog, FAR_US);
    assert_eq!(groups.keys(), 4);
    backlog.role_changed(5);
    for batch in groups.batches {
        report(&mut backlog, batch, Verdict::Written(Written::default()));
    }
    assert_eq!((backlog.dirty_len(), backlog.groups_len()), (4, 2));
    let (batches, groups) = due(&mut backlog, FAR_US);
    assert_eq!((batches.len(), groups.groups.len(), groups.keys()), (0, 2, 4));
}

#[test]
fn groups_survive_saving_and_loading() {
    let mut backlog = two();
    change(&mut backlog, &["a:1", "b:1"]);
    change(&mut backlog, &["a:2"]);
    change(&mut backlog, &["a:3", "b:3"]);
    let _in_flight = due(&mut backlog, FAR_US);
    let mut loaded = linked(&[]);
    backlog.save(FAR_US, |record| loaded.load(record, FAR_US));
    loaded.data_loaded(FAR_US);
    assert_eq!((loaded.dirty_len(), loaded.groups_len()), (5, 2));
    let (batches, groups) = due(&mut loaded, FAR_US);
    assert_eq!((names(&batches), groups.groups.len(), groups.keys()), (vec!["a:2".into()], 2, 4));
}

#[test]
fn keys_that_are_discarded_leave_their_groups() {
    let mut backlog = two();
    change(&mut backlog, &["a:1", "b:1", "b:2"]);
    backlog.unregister(Db(0), b"a:", true, 1);
    let (batches, groups) = due(&mut backlog, FAR_US);
    assert_eq!((batches.len(), names(&groups.batches)), (0, vec!["b:1".into(), "b:2".into()]));
    // Also those that wait with their group already.
    let mut backlog = two();
    change(&mut backlog, &["a:1", "b:1"]);
    backlog.in_flight.group_credits = 0;
    while let Some(mut batch) = backlog.begin_batch(FAR_US) {
        while backlog.take(&mut batch, FAR_US).is_some() {}
    }
    assert_eq!(backlog.unregister(Db(0), b"a:", true, 1), Some(1));
    assert_eq!((backlog.dirty_len(), backlog.groups_len()), (1, 0));
}

#[test]
fn a_group_does_not_wait_for_a_key_that_waits_for_the_group() {
    for is_ready in [true, false] {
        let mut backlog = linked(&[("a:", Atomic::Split)]);
        let mut batches = Vec::new();
        for key in ["a:1", "a:4"] {
            change(&mut backlog, &[key]);
            batches.extend(due(&mut backlog, FAR_US).0);
        }
        change(&mut backlog, &["a:2", "a:3"]);
        while let Some(mut batch) = backlog.begin_batch(FAR_US) {
            while backlog.take(&mut batch, FAR_US).is_some() {}
        }
        if !is_ready {
            // The group waits already, for a key that is really in flight.
            change(&mut backlog, &["a:4", "a:3"]);
            assert_eq!(backlog.next_group(&GroupBatch::default(), FAR_US), None);
        }
        let refusal = Refusal { index: 0, code: 11000, reason: "taken".to_owned() };
        let contested = vec![refusal];
        let verdict = Verdict::Written(Written { contested, ..Written::default() });
        report(&mut backlog, batches.remove(0), verdict);
        change(&mut backlog, &["a:2", "a:1"]);
        for batch in batches {
            let written = Written { sent_bytes: 1, ..Written::default() };
            report(&mut backlog, batch, Verdict::Written(written));
        }
        let (_, groups) = due(&mut backlog, FAR_US);
        assert_eq!(groups.keys(), if is_ready { 3 } else { 4 }, "ready: {is_ready}");
    }
}

#[test]
fn the_numbers_of_groups_are_added_up() {
    let mut backlog = two();
    let mut counts = GroupCounts::default();
    counts.whole = 2;
    counts.count_split(Split::Refused, 1);
    let mut clean = Acknowledged::default();
    for _ in 0..2 {
        let report = Report::Groups(Box::new(counts));
        backlog.report(report, Now { us: 0, unix_ms: 0 }, &mut clean);
    }
    let all = backlog.group_counts();
    assert_eq!((all.whole, all.split(Split::Refused), all.split_total()), (4, 2, 2));
}
