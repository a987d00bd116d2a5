//! Keys that other nodes take over.

use super::*;
use crate::core::ids::EntryId;
use crate::core::mapping::value::Content;
use crate::core::registration::{Namespace, Registration};

fn backlog() -> Backlog {
    let mut backlog = Backlog::default();
    let namespace = Namespace { database: "d".to_owned(), collection: "c".to_owned() };
    backlog.register(Registration::new(Db(0), b"k:", namespace));
    backlog
}

fn removal(version: u32) -> Taken {
    let (entry, version) = (EntryId(0), Version(version));
    Taken { entry, version, since_us: 1, db: Db(0), kind: ChangeKind::Deleted }
}

fn changed(backlog: &mut Backlog, key: &[u8]) {
    backlog.record((Db(0), key), ChangeKind::Changed, || false, || 0);
    backlog.fold(1);
}

fn names(parts: &[(Db, Vec<Handed>)]) -> Vec<Vec<u8>> {
    let keys = parts.iter().flat_map(|(_, keys)| keys);
    let mut names: Vec<_> = keys.map(|handed| handed.key.clone()).collect();
    names.sort();
    names
}

#[test]
fn a_removal_is_sent_until_it_is_confirmed_and_then_needs_no_write() {
    let mut backlog = backlog();
    changed(&mut backlog, b"k:1");
    for _ in 0..2 {
        assert!(!backlog.hand_over(&removal(1), b"k:1", None));
        assert_eq!(names(&backlog.handed_over(1, |_| false)), [b"k:1"]);
    }
    backlog.handed_over_to(Db(0), vec![b"k:1".to_vec(), b"k:unknown".to_vec()]);
    assert!(backlog.handed_over(1, |_| false).is_empty());
    // A later removal is another one.
    assert!(!backlog.hand_over(&removal(2), b"k:1", None));
    backlog.handed_over_to(Db(0), vec![b"k:1".to_vec()]);
    assert!(backlog.hand_over(&removal(2), b"k:1", None));
    assert!(backlog.handovers.is_empty());
}

#[test]
fn a_confirmed_removal_that_was_written_by_other_means_is_forgotten() {
    let mut backlog = backlog();
    backlog.hand_over(&removal(1), b"k:1", None);
    backlog.handed_over_to(Db(0), vec![b"k:1".to_vec()]);
    assert!(backlog.handed_over(1, |_| false).is_empty());
    assert!(backlog.handovers.is_empty());
}

#[test]
fn a_master_that_becomes_a_replica_hands_over_what_it_has_not_written_of_given_slots() {
    let mut backlog = backlog();
    for key in [&b"k:gone"[..], b"k:here", b"k:own"] {
        changed(&mut backlog, key);
    }
    for key in [&b"k:gone"[..], b"k:own"] {
        backlog.record((Db(0), key), ChangeKind::Deleted, || false, || 0);
    }
    backlog.hand_over(&removal(1), b"k:waits", None);
    backlog.hand_over(&removal(1), b"k:confirmed", None);
    backlog.handed_over_to(Db(0), vec![b"k:confirmed".to_vec()]);
    backlog.leave_given_to_others(|key| key != b"k:own", 1);
    backlog.role_changed(1);
    backlog.clear();
    for _ in 0..2 {
        assert_eq!(names(&backlog.handed_over(1, |_| false)), [&b"k:gone"[..], b"k:waits"]);
    }
    backlog.handed_over_to(Db(0), vec![b"k:gone".to_vec(), b"k:waits".to_vec()]);
    assert!(backlog.handovers.is_empty());
}

#[test]
fn removals_of_a_slot_that_has_left_are_handed_over_before_they_are_due() {
    let mut backlog = backlog();
    for number in 0..2_000 {
        let key = format!("k:{number}").into_bytes();
        changed(&mut backlog, &key);
        if number % 2 == 0 {
            backlog.record((Db(0), &key), ChangeKind::Deleted, || false, || 0);
        }
    }
    backlog.up_to_date(1);
    assert!(!backlog.handovers.is_looking());
    backlog.look_for_removals();
    while backlog.handovers.is_looking() {
        backlog.find_removals(|key| key.ends_with(b"0"), 1);
    }
    assert_eq!(backlog.handovers.unconfirmed(), 200);
    assert_eq!(names(&backlog.handed_over(1, |_| false)).len(), 200);
    // The same removals are not new.
    backlog.handovers.again_us = 7;
    backlog.look_for_removals();
    while backlog.handovers.is_looking() {
        backlog.find_removals(|key| key.ends_with(b"0"), 1);
    }
    assert_eq!((backlog.handovers.unconfirmed(), backlog.handovers.again_us), (200, 7));
}

#[test]
fn a_key_whose_slot_comes_back_is_not_sent() {
    let mut backlog = backlog();
    for key in [&b"k:1"[..], b"k:2"] {
        backlog.hand_over(&removal(1), key, None);
    }
    assert_eq!(names(&backlog.handed_over(1, |key| key == b"k:1")), [b"k:2"]);
    assert_eq!(names(&backlog.handed_over(1, |_| false)), [b"k:2"]);
}

#[test]
fn large_values_are_sent_in_messages_of_their_own() {
    let mut backlog = backlog();
    for number in 0..600 {
        let len = if number % 200 == 0 { MESSAGE_BYTES } else { 1 };
        let bytes = vec![b'x'; len].into();
        let retained = RetainedValue { content: Content::String, expire_ms: NO_EXPIRY, bytes };
        backlog.hand_over(&removal(1), format!("k:{number}").as_bytes(), Some(retained));
    }
    let parts = backlog.handed_over(1, |_| false);
    assert_eq!(names(&parts).len(), 600);
    let len = |handed: &Handed| handed.value.as_ref().map_or(0, |value| value.bytes.len());
    for (_, keys) in &parts {
        let bytes: usize = keys.iter().map(len).sum();
        assert!(keys.len() == 1 || bytes <= MESSAGE_BYTES, "{bytes} bytes");
    }
}

#[test]
fn the_new_node_deletes_what_it_does_not_have_and_writes_what_it_has() {
    let mut backlog = backlog();
    let handed = |key: &[u8], kind| Handed { key: key.to_vec(), kind: kind as u8, value: None };
    let mut take = |key: &[u8], kind, exists| {
        backlog.take_over(Db(0), &handed(key, kind), exists, 1);
        backlog.dirty.kind_of(Db(0), key)
    };
    assert_eq!(take(b"k:1", ChangeKind::Deleted, false), Some(ChangeKind::Deleted));
    assert_eq!(take(b"k:2", ChangeKind::Deleted, true), Some(ChangeKind::Changed));
    assert_eq!(take(b"k:1", ChangeKind::Expired, false), Some(ChangeKind::Deleted), "is dirty");
    assert_eq!(take(b"other", ChangeKind::Deleted, true), None);
    let (content, bytes) = (Content::String, b"v".to_vec());
    let value = Some(LastValue { content, expire_ms: NO_EXPIRY, bytes });
    let with = Handed { value, ..handed(b"k:3", ChangeKind::Retained) };
    backlog.take_over(Db(0), &with, false, 1);
    assert_eq!(backlog.dirty.kind_of(Db(0), b"k:3"), Some(ChangeKind::Retained));
}

#[test]
fn a_key_that_is_in_flight_on_its_new_node_is_written_once_more() {
    let mut backlog = backlog();
    backlog.in_flight.credits = 1;
    changed(&mut backlog, b"k:1");
    let mut batch = backlog.begin_batch(u64::MAX).unwrap();
    backlog.take_key(&mut batch, u64::MAX).unwrap();
    let handed = Handed { key: b"k:1".to_vec(), kind: ChangeKind::Deleted as u8, value: None };
    assert!(backlog.take_over(Db(0), &handed, true, 2).is_some());
    assert!(backlog.dirty.standing(Db(0), b"k:1").unwrap().again);
}
