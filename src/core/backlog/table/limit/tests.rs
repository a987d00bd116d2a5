use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::core::backlog::change_log::{Change, Log};
use crate::core::backlog::table::RetainedValue;
use crate::core::backlog::table::{Settled, Taken};
use crate::core::ids::{Db, RegistrationId};
use crate::core::mapping::value::Content;

fn change(dirty: &mut Dirty, key: &[u8], kind: ChangeKind, now_us: u64) {
    let mut log = Log::default();
    log.push(Change { db: Db(0), registration_id: RegistrationId(0), kind, joins: false, key });
    dirty.fold(&mut log, now_us);
}

/// A table whose registration has as many keys as it may always have, all in flight.
fn filled() -> Dirty {
    let mut dirty = Dirty::default();
    dirty.open_registration(RegistrationId(0));
    for i in 0..ALWAYS {
        change(&mut dirty, format!("filler{i}").as_bytes(), ChangeKind::Changed, 1);
        dirty.take(RegistrationId(0), |_| ()).unwrap();
    }
    dirty
}

fn full() -> Dirty {
    let mut dirty = filled();
    dirty.set_limit(1);
    dirty
}

#[test]
fn a_full_table_misses_new_keys_and_still_coalesces_changes_of_its_keys() {
    let mut dirty = full();
    let len = dirty.len();
    change(&mut dirty, b"filler0", ChangeKind::Changed, 5);
    assert_eq!(dirty.missed(RegistrationId(0)), Missed::default());
    change(&mut dirty, b"new", ChangeKind::Changed, 6);
    change(&mut dirty, b"other", ChangeKind::ExpiryMayHaveChanged, 7);
    assert_eq!(dirty.missed(RegistrationId(0)), Missed { since_us: Some(6), scanned_us: None });
    assert_eq!(dirty.len(), len);
}

#[test]
fn removals_are_never_missed() {
    let mut dirty = full();
    for (key, kind) in
        [(b"a", ChangeKind::Deleted), (b"b", ChangeKind::Expired), (b"c", ChangeKind::Evicted)]
    {
        change(&mut dirty, key, kind, 5);
        assert_eq!(dirty.kind_of(Db(0), key), Some(kind));
    }
    assert!(!dirty.has_missed(RegistrationId(0)));
}

#[test]
fn changes_missed_during_a_scan_need_another_one() {
    let mut dirty = full();
    change(&mut dirty, b"early", ChangeKind::Changed, 5);
    dirty.begin_scan(RegistrationId(0));
    assert_eq!(dirty.missed(RegistrationId(0)), Missed { since_us: None, scanned_us: Some(5) });
    change(&mut dirty, b"behind the cursor", ChangeKind::Changed, 7);
    dirty.end_scan(RegistrationId(0));
    assert_eq!(dirty.missed(RegistrationId(0)), Missed { since_us: Some(7), scanned_us: None });
    dirty.begin_scan(RegistrationId(0));
    dirty.end_scan(RegistrationId(0));
    assert!(!dirty.has_missed(RegistrationId(0)) && !dirty.has_missed_any());
}

#[test]
fn a_restarted_scan_finds_all_changes_missed_before_it() {
    let mut dirty = full();
    change(&mut dirty, b"a", ChangeKind::Changed, 5);
    dirty.begin_scan(RegistrationId(0));
    change(&mut dirty, b"b", ChangeKind::Changed, 7);
    dirty.begin_scan(RegistrationId(0));
    assert_eq!(dirty.missed(RegistrationId(0)), Missed { since_us: None, scanned_us: Some(5) });
}

#[test]
fn no_key_waits_for_its_interval_under_memory_pressure() {
    let mut dirty = filled();
    change(&mut dirty, b"new", ChangeKind::Changed, 5);
    assert_eq!(dirty.due_us(RegistrationId(0), 1_000), Some(1_005));
    dirty.set_limit(1);
    assert_eq!(dirty.due_us(RegistrationId(0), 1_000), Some(5));
    change(&mut dirty, b"missed", ChangeKind::Changed, 6);
    dirty.set_limit(0);
    assert_eq!(dirty.due_us(RegistrationId(0), 1_000), Some(5));
}

#[test]
fn memory_stays_below_the_limit_and_every_clean_key_makes_room() {
    let limit = 4 << 20;
    let mut dirty = Dirty::default();
    dirty.open_registration(RegistrationId(0));
    dirty.set_limit(limit);
    for i in 0..200_000 {
        change(&mut dirty, format!("movie:{i:014}").as_bytes(), ChangeKind::Changed, 1);
    }
    let (held, keys) = (dirty.memory_bytes(), dirty.len());
    assert!(held <= limit, "{held}");
    assert!(keys > limit / 100, "{keys}");
    assert!(dirty.has_missed(RegistrationId(0)) && !dirty.has_room_to_scan(RegistrationId(0)));
    // A third becomes clean. Its memory is not freed before the last key is, but can be reused.
    for _ in 0..keys / 3 {
        let taken = dirty.take(RegistrationId(0), |_| ()).unwrap();
        dirty.acknowledge(taken.entry, taken.version, |_, _| ());
    }
    assert!(dirty.has_room_to_scan(RegistrationId(0)) && dirty.room_bytes() > 0);
    for i in 0..200_000 {
        change(&mut dirty, format!("other:{i:014}").as_bytes(), ChangeKind::Changed, 1);
    }
    assert!(dirty.memory_bytes() <= limit, "{}", dirty.memory_bytes());
    assert!(dirty.len() > keys / 10 * 9, "{} of {keys}", dirty.len());
}

#[derive(Clone, Debug)]
enum Step {
    Write(u8),
    Delete(u8),
    /// Expiration or eviction of a key whose document is kept.
    Vanish(u8),
    Limit(bool),
    Take,
    Acknowledge(usize),
    GiveBack(usize),
    Scan(u8),
    /// The scan is aborted, and another one begins from the first key.
    Abort,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0u8..20).prop_map(Step::Write),
        1 => (0u8..20).prop_map(Step::Delete),
        1 => (0u8..20).prop_map(Step::Vanish),
        2 => any::<bool>().prop_map(Step::Limit),
        4 => Just(Step::Take),
        3 => any::<usize>().prop_map(Step::Acknowledge),
        1 => any::<usize>().prop_map(Step::GiveBack),
        4 => (1u8..8).prop_map(Step::Scan),
        1 => Just(Step::Abort),
    ]
}

/// A model of Redis, the table and MongoDB, with numbers as values.
struct Model {
    dirty: Dirty,
    redis: BTreeMap<u8, u64>,
    mongodb: BTreeMap<u8, u64>,
    /// The expected state of MongoDB; `None` for a key that was deleted.
    wanted: BTreeMap<u8, Option<u64>>,
    flights: Vec<(u8, Taken, Option<u64>)>,
    cursor: Option<u8>,
    now_us: u64,
}

impl Model {
    fn take(&mut self) {
        let mut key = 0;
        let Some(taken) = self.dirty.take(RegistrationId(0), |bytes| key = bytes[0]) else {
            return;
        };
        let retained = self.dirty.retained(taken.entry);
        let retained = retained.map(|value| u64::from_le_bytes((*value.bytes).try_into().unwrap()));
        let read = self.redis.get(&key).copied().or(retained);
        self.flights.push((key, taken, read));
    }

    fn acknowledge(&mut self, which: usize) {
        if self.flights.is_empty() {
            return;
        }
        let (key, taken, read) = self.flights.swap_remove(which % self.flights.len());
        match read {
            Some(value) => self.mongodb.insert(key, value),
            None => self.mongodb.remove(&key),
        };
        let settled = self.dirty.acknowledge(taken.entry, taken.version, |_, _| ());
        assert_ne!(settled, Settled::Unknown);
    }

    fn scan(&mut self, count: u8) {
        if self.cursor.is_none() && self.dirty.has_missed(RegistrationId(0)) {
            self.dirty.begin_scan(RegistrationId(0));
            self.cursor = Some(0);
        }
        for _ in 0..count {
            let Some(at) = self.cursor else { return };
            if self.redis.contains_key(&at) {
                change(&mut self.dirty, &[at], ChangeKind::Found, self.now_us);
            }
            self.cursor = (at < 19).then_some(at + 1);
            if self.cursor.is_none() {
                self.dirty.end_scan(RegistrationId(0));
            }
        }
    }

    fn run(&mut self, step: Step) {
        self.now_us += 1;
        match step {
            Step::Write(key) => {
                self.redis.insert(key, self.now_us);
                self.wanted.insert(key, Some(self.now_us));
                change(&mut self.dirty, &[key], ChangeKind::Changed, self.now_us);
            }
            Step::Delete(key) if self.redis.remove(&key).is_some() => {
                self.wanted.insert(key, None);
                change(&mut self.dirty, &[key], ChangeKind::Deleted, self.now_us);
            }
            Step::Vanish(key) if self.redis.contains_key(&key) => {
                let value = self.redis.remove(&key).unwrap();
                let bytes = value.to_le_bytes().into();
                let value = RetainedValue { content: Content::String, expire_ms: -1, bytes };
                match self.dirty.kind_of(Db(0), &[key]) {
                    Some(_) => assert!(self.dirty.retain_value(Db(0), &[key], value)),
                    None if self.dirty.has_missed(RegistrationId(0)) => {
                        self.dirty.retain_missed(Db(0), RegistrationId(0), &[key], &value);
                    }
                    None => {}
                }
            }
            Step::Limit(on) => self.dirty.set_limit(usize::from(on)),
            Step::Take => self.take(),
            Step::Acknowledge(which) => self.acknowledge(which),
            Step::GiveBack(which) if !self.flights.is_empty() => {
                let (_, taken, _) = self.flights.swap_remove(which % self.flights.len());
                self.dirty.requeue_front(taken.entry, taken.since_us);
            }
            Step::Scan(count) => self.scan(count),
            Step::Abort => self.cursor = None,
            _ => {}
        }
    }

    /// The keys whose documents are not as expected.
    fn behind(&self) -> Vec<u8> {
        let behind = |(key, value): &(&u8, &Option<u64>)| self.mongodb.get(key) != value.as_ref();
        self.wanted.iter().filter(behind).map(|(key, _)| *key).collect()
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// After every step, a key whose document is not as expected is in the table, or its
    /// registration has missed changes. Complete scans find all missed changes.
    #[test]
    fn nothing_is_forgotten(steps in prop::collection::vec(step(), 1..120)) {
        let mut model = Model {
            dirty: full(),
            redis: BTreeMap::new(),
            mongodb: BTreeMap::new(),
            wanted: BTreeMap::new(),
            flights: Vec::new(),
            cursor: None,
            now_us: 10,
        };
        for step in steps {
            model.run(step);
            for key in model.behind() {
                let known = model.dirty.kind_of(Db(0), &[key]).is_some();
                prop_assert!(known || model.dirty.has_missed(RegistrationId(0)), "{key} is forgotten");
            }
        }
        // The limit is still set; MongoDB is reachable again.
        model.dirty.set_limit(1);
        for _ in 0..3 {
            while model.dirty.has_missed(RegistrationId(0)) {
                model.run(Step::Scan(3));
            }
            while model.dirty.queue(RegistrationId(0)).waiting() > 0 || !model.flights.is_empty() {
                model.take();
                model.acknowledge(0);
            }
        }
        prop_assert_eq!(model.behind(), Vec::<u8>::new());
        prop_assert_eq!(model.dirty.len(), ALWAYS);
        let held = model.dirty.arenas.iter().map(|arena| arena.memory_bytes()).sum::<usize>();
        prop_assert_eq!(model.dirty.key_bytes, held);
    }
}
