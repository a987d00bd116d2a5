use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::core::backlog::change_log::{Change, Log};
use crate::core::ids::{Db, RegistrationId, Version};
use crate::core::mapping::value::Content;

fn change(dirty: &mut Dirty, registration_id: RegistrationId, key: &[u8], now_us: u64) {
    let mut log = Log::default();
    log.push(Change { db: Db(0), registration_id, kind: ChangeKind::Changed, joins: false, key });
    dirty.fold(&mut log, now_us);
}

fn set(registrations: u16) -> Dirty {
    let mut dirty = Dirty::default();
    (0..registrations).for_each(|id| dirty.open_registration(RegistrationId(id)));
    dirty
}

fn take(dirty: &mut Dirty, registration_id: RegistrationId) -> Option<(Taken, Vec<u8>)> {
    let mut bytes = Vec::new();
    let taken = dirty.take(registration_id, |key| bytes.extend_from_slice(key))?;
    Some((taken, bytes))
}

#[test]
fn a_thousand_changes_of_a_key_make_one_dirty_key() {
    let mut dirty = set(1);
    for now_us in 1..=1_000 {
        change(&mut dirty, RegistrationId(0), b"k", now_us);
    }
    assert_eq!((dirty.len(), dirty.queue(RegistrationId(0)).coalesced_total), (1, 999));
    let (taken, key) = take(&mut dirty, RegistrationId(0)).unwrap();
    assert_eq!((&*key, taken.since_us), (&b"k"[..], 1));
    assert!(take(&mut dirty, RegistrationId(0)).is_none());
    assert_eq!(dirty.acknowledge(taken.entry, taken.version, |_, _| ()), Settled::Clean);
    assert!(dirty.is_empty());
}

#[test]
fn a_change_while_in_flight_keeps_the_key_dirty() {
    let mut dirty = set(1);
    change(&mut dirty, RegistrationId(0), b"k", 1);
    let (taken, _) = take(&mut dirty, RegistrationId(0)).unwrap();
    change(&mut dirty, RegistrationId(0), b"k", 5);
    assert!(
        take(&mut dirty, RegistrationId(0)).is_none(),
        "at most one write of a key is in flight"
    );
    let settled = dirty.acknowledge(taken.entry, taken.version, |_, _| panic!("not clean"));
    assert_eq!(settled, Settled::ChangedAgain(5));
    let (again, key) = take(&mut dirty, RegistrationId(0)).unwrap();
    assert_eq!((&*key, again.since_us), (&b"k"[..], 5));
}

#[test]
fn requeued_keys_are_due_immediately_and_oldest_first() {
    let mut dirty = set(1);
    change(&mut dirty, RegistrationId(0), b"a", 1);
    change(&mut dirty, RegistrationId(0), b"b", 2);
    change(&mut dirty, RegistrationId(0), b"c", 3);
    let (a, _) = take(&mut dirty, RegistrationId(0)).unwrap();
    let (b, _) = take(&mut dirty, RegistrationId(0)).unwrap();
    assert_eq!(dirty.due_us(RegistrationId(0), 100), Some(103));
    dirty.requeue_front(b.entry, b.since_us);
    dirty.requeue_front(a.entry, a.since_us);
    assert_eq!(dirty.due_us(RegistrationId(0), 100), Some(0));
    let keys: Vec<Vec<u8>> =
        std::iter::from_fn(|| take(&mut dirty, RegistrationId(0))).map(|t| t.1).collect();
    assert_eq!(keys, [b"a", b"b", b"c"]);
}

#[test]
fn a_flush_makes_dirty_keys_due_and_no_later_ones() {
    let mut dirty = set(1);
    change(&mut dirty, RegistrationId(0), b"a", 10);
    let watermark_us = dirty.watermark_us(10);
    dirty.flush(RegistrationId(0), watermark_us);
    change(&mut dirty, RegistrationId(0), b"b", 10);
    assert_eq!(dirty.due_us(RegistrationId(0), 1_000), Some(0));
    take(&mut dirty, RegistrationId(0)).unwrap();
    assert_eq!(dirty.due_us(RegistrationId(0), 1_000), Some(watermark_us + 1 + 1_000));
}

#[test]
fn a_key_moves_to_the_registration_of_its_last_change() {
    let mut dirty = set(2);
    change(&mut dirty, RegistrationId(0), b"k", 1);
    change(&mut dirty, RegistrationId(1), b"k", 2);
    let moved = dirty.moved();
    assert_eq!(
        moved.iter().map(|m| (m.registration_id, m.since_us)).collect::<Vec<_>>(),
        [(RegistrationId(0), 1)]
    );
    assert!(take(&mut dirty, RegistrationId(0)).is_none());
    let (taken, key) = take(&mut dirty, RegistrationId(1)).unwrap();
    assert_eq!(key, b"k");
    change(&mut dirty, RegistrationId(0), b"k", 3);
    assert_eq!(
        (dirty.queue(RegistrationId(0)).dirty(), dirty.queue(RegistrationId(1)).dirty()),
        (1, 0)
    );
    dirty.acknowledge(taken.entry, taken.version, |_, _| panic!("not clean"));
    assert_eq!(take(&mut dirty, RegistrationId(0)).unwrap().1, b"k");
}

#[test]
fn keys_of_different_databases_are_separate() {
    let mut dirty = set(1);
    let mut log = Log::default();
    for db in [0, 1] {
        log.push(Change {
            db: Db(db),
            registration_id: RegistrationId(0),
            kind: ChangeKind::Changed,
            joins: false,
            key: b"k",
        });
    }
    dirty.fold(&mut log, 1);
    assert_eq!(dirty.len(), 2);
    assert_eq!(dirty.forget(Db(1), b"k"), Some(RegistrationId(0)));
    assert_eq!(dirty.forget(Db(1), b"k"), None);
    assert_eq!(take(&mut dirty, RegistrationId(0)).unwrap().0.db, Db(0));
}

#[test]
fn a_forgotten_key_in_flight_is_unknown_at_its_acknowledgement() {
    let mut dirty = set(1);
    change(&mut dirty, RegistrationId(0), b"k", 1);
    let (taken, _) = take(&mut dirty, RegistrationId(0)).unwrap();
    assert!(dirty.forget(Db(0), b"k").is_some());
    assert_eq!((dirty.len(), dirty.in_flight()), (0, 0));
    let settled = dirty.acknowledge(taken.entry, taken.version, |_, _| panic!("unknown"));
    assert_eq!(settled, Settled::Unknown);
}

#[test]
fn a_dirty_key_takes_at_most_its_length_and_64_bytes() {
    let mut dirty = set(1);
    let mut log = Log::default();
    let keys = 1_000_000;
    for i in 0..keys {
        let key = format!("movie:{i:014}");
        if log.push(Change {
            db: Db(0),
            registration_id: RegistrationId(0),
            kind: ChangeKind::Changed,
            joins: false,
            key: key.as_bytes(),
        }) {
            dirty.fold(&mut log, i);
        }
    }
    dirty.fold(&mut log, keys);
    assert_eq!(dirty.len() as u64, keys);
    let each = dirty.memory_bytes() as u64 / keys;
    assert!(each <= 20 + 64, "{each} bytes a key");
}

#[test]
fn a_key_with_the_hash_of_a_dirty_key_is_marked_too() {
    let mut dirty = set(1);
    let mut first = BTreeMap::new();
    let (a, b) = (0u32..)
        .find_map(|number| {
            let index = dirty.hashes.of(Db(0), &number.to_be_bytes()).index;
            first.insert(index, number).map(|other| (other.to_be_bytes(), number.to_be_bytes()))
        })
        .expect("two of some 80,000 keys");
    for now_us in 1..3 {
        change(&mut dirty, RegistrationId(0), &a, now_us);
    }
    for now_us in 3..6 {
        change(&mut dirty, RegistrationId(0), &b, now_us);
    }
    assert_eq!((dirty.len(), dirty.queue(RegistrationId(0)).coalesced_total), (2, 3));
    let keys: Vec<Vec<u8>> =
        std::iter::from_fn(|| take(&mut dirty, RegistrationId(0))).map(|t| t.1).collect();
    assert_eq!(keys, [a, b]);
}

#[derive(Clone, Debug)]
enum Step {
    /// Several changes at once: key, registration and kind.
    Change(Vec<(u8, RegistrationId, ChangeKind)>),
    Capture(u8),
    Take(RegistrationId),
    Acknowledge(usize),
    GiveBack(usize),
    Forget(u8),
    Hasten(u8),
    Discard(RegistrationId),
}

fn any_change() -> impl Strategy<Value = (u8, RegistrationId, ChangeKind)> {
    let how = prop_oneof![
        6 => Just(ChangeKind::Changed),
        1 => Just(ChangeKind::Deleted),
        1 => Just(ChangeKind::ExpiryMayHaveChanged),
        1 => Just(ChangeKind::Expired),
        1 => Just(ChangeKind::MaybeDeleted),
        1 => Just(ChangeKind::ExpiryOnly),
    ];
    (0u8..12, prop_oneof![4 => Just(RegistrationId(0)), 1 => Just(RegistrationId(1))], how)
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => prop::collection::vec(any_change(), 1..6).prop_map(Step::Change),
        1 => prop::collection::vec(any_change(), 60..140).prop_map(Step::Change),
        1 => (0u8..12).prop_map(Step::Capture),
        3 => (0u16..2).prop_map(|id| Step::Take(RegistrationId(id))),
        2 => any::<usize>().prop_map(Step::Acknowledge),
        1 => any::<usize>().prop_map(Step::GiveBack),
        1 => (0u8..12).prop_map(Step::Forget),
        1 => (0u8..12).prop_map(Step::Hasten),
        1 => (0u16..2).prop_map(|id| Step::Discard(RegistrationId(id))),
    ]
}

/// The expected state of a key: its registration, its version, the last kind of change, and whether
/// it is in flight.
#[derive(Clone, Copy, Debug)]
struct Known {
    registration_id: RegistrationId,
    version: Version,
    kind: ChangeKind,
    in_flight: bool,
}

/// The name of a key. One is long, so that its changes are never no-ops.
fn key_bytes(key: u8) -> Vec<u8> {
    vec![key; [300, 256, 255, 2, 1, 7, 8, 9, 16, 17, 20, 64][usize::from(key)]]
}

proptest! {
    /// Compares the table with a simple model.
    #[test]
    fn behaves_like_a_plain_map(steps in prop::collection::vec(step(), 1..200)) {
        let mut dirty = set(2);
        let mut model: BTreeMap<u8, Known> = BTreeMap::new();
        // Key, its entry when taken, and the version in the model at that time.
        let mut flights: Vec<(u8, Taken, Version)> = Vec::new();
        let mut changed = [0; 2];
        for (at, step) in steps.into_iter().enumerate() {
            let now_us = at as u64 + 1;
            match step {
                Step::Change(changes) => {
                    let mut log = Log::default();
                    for (key, registration_id, kind) in &changes {
                        let bytes = key_bytes(*key);
                        log.push(Change { db: Db(0), registration_id: *registration_id, kind: *kind, joins: false, key: &bytes });
                    }
                    dirty.fold(&mut log, now_us);
                    for (key, registration_id, kind) in changes {
                        if kind == ChangeKind::ExpiryOnly {
                            continue;
                        }
                        let kind = if kind == ChangeKind::ExpiryMayHaveChanged { ChangeKind::Changed } else { kind };
                        let known = model.entry(key).or_insert(Known {
                            registration_id,
                            version: Version(0),
                            kind,
                            in_flight: false,
                        });
                        known.version = known.version.next();
                        (known.registration_id, known.kind) = (registration_id, kind);
                        changed[usize::from(registration_id)] += 1;
                    }
                }
                Step::Capture(key) => {
                    let (content, bytes) = (Content::Tombstone, Box::default());
                    let value = RetainedValue { content, expire_ms: -1, bytes };
                    let known = model.get_mut(&key);
                    prop_assert_eq!(dirty.retain_value(Db(0), &key_bytes(key), value), known.is_some());
                    known.into_iter().for_each(|known| known.kind = ChangeKind::Retained);
                }
                Step::Take(registration_id) => match take(&mut dirty, registration_id) {
                    Some((taken, key)) => {
                        let known = model.get_mut(&key[0]).expect("taken, so known");
                        prop_assert!(!known.in_flight && known.registration_id == registration_id);
                        known.in_flight = true;
                        flights.push((key[0], taken, known.version));
                    }
                    None => prop_assert!(model.values().all(|k| k.in_flight || k.registration_id != registration_id)),
                },
                Step::Acknowledge(which) if !flights.is_empty() => {
                    let (key, taken, version) = flights.swap_remove(which % flights.len());
                    let settled = dirty.acknowledge(taken.entry, taken.version, |_, clean| {
                        assert_eq!(clean, key_bytes(key));
                    });
                    let known = model.get_mut(&key).expect("in flight, so known");
                    prop_assert_eq!(settled == Settled::Clean, known.version == version);
                    known.in_flight = false;
                    if known.version == version {
                        model.remove(&key);
                    }
                }
                Step::GiveBack(which) if !flights.is_empty() => {
                    let (key, taken, _) = flights.swap_remove(which % flights.len());
                    let settled = dirty.requeue_front(taken.entry, taken.since_us);
                    prop_assert_eq!(settled, Settled::ChangedAgain(taken.since_us));
                    model.get_mut(&key).expect("in flight, so known").in_flight = false;
                }
                Step::Forget(key) => {
                    prop_assert_eq!(
                        dirty.forget(Db(0), &key_bytes(key)).is_some(),
                        model.remove(&key).is_some()
                    );
                    flights.retain(|flight| flight.0 != key);
                }
                Step::Hasten(key) => {
                    prop_assert_eq!(
                        dirty.hasten(Db(0), &key_bytes(key)).is_some(),
                        model.contains_key(&key)
                    );
                }
                Step::Discard(registration_id) => {
                    dirty.discard(registration_id, |_, _| ());
                    model.retain(|_, known| known.in_flight || known.registration_id != registration_id);
                }
                _ => {}
            }
            let in_flight = model.values().filter(|known| known.in_flight).count();
            prop_assert_eq!((dirty.len(), dirty.in_flight()), (model.len(), in_flight));
            for (key, known) in &model {
                let standing = dirty.standing(Db(0), &key_bytes(*key)).expect("the key is dirty");
                prop_assert_eq!((standing.kind, standing.registration_id), (known.kind, known.registration_id));
                prop_assert_eq!(standing.in_flight, known.in_flight);
                prop_assert_eq!(standing.retained.is_some(), known.kind == ChangeKind::Retained);
            }
            for registration_id in 0..2 {
                let expected = model.values().filter(|known| known.registration_id == RegistrationId(registration_id)).count();
                prop_assert_eq!(dirty.queue(RegistrationId(registration_id)).dirty(), expected);
                prop_assert_eq!(dirty.queue(RegistrationId(registration_id)).captured_total, changed[usize::from(registration_id)]);
            }
        }
    }
}
