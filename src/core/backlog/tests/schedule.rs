use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;
use crate::core::ids::{Db, RegistrationId};
use crate::core::now::Now;

const PREFIXES: [&str; 5] = ["a:", "b:", "c:", "d:", "a:b:"];

#[derive(Clone, Copy, Debug)]
enum Step {
    ChangeKind(usize, u8),
    Wait(u64),
    Batch,
    Return,
    Written,
    Postpone,
    Pause(Option<usize>),
    Resume(Option<usize>),
    Flush(Option<usize>),
    FlushKey(usize, u8),
    Forget(usize, u8),
    Register(usize, u64),
    Unregister(usize, bool),
    Interval(i64),
    Limit(i64),
    Epoch,
    Capture(usize, u8),
}

fn step() -> impl Strategy<Value = Step> {
    let prefix = 0..PREFIXES.len();
    let some = prop::option::of(prefix.clone());
    let key = 0..6u8;
    prop_oneof![
        6 => (prefix.clone(), key.clone()).prop_map(|(prefix, key)| Step::ChangeKind(prefix, key)),
        4 => (0..200_000u64).prop_map(Step::Wait),
        6 => Just(Step::Batch),
        2 => Just(Step::Return),
        3 => Just(Step::Written),
        1 => Just(Step::Postpone),
        1 => some.clone().prop_map(Step::Pause),
        2 => some.clone().prop_map(Step::Resume),
        1 => some.prop_map(Step::Flush),
        1 => (prefix.clone(), key.clone()).prop_map(|(prefix, key)| Step::FlushKey(prefix, key)),
        1 => (prefix.clone(), key.clone()).prop_map(|(prefix, key)| Step::Forget(prefix, key)),
        1 => (prefix.clone(), 0..500u64).prop_map(|(prefix, ms)| Step::Register(prefix, ms)),
        1 => (prefix.clone(), any::<bool>()).prop_map(|(prefix, drop)| Step::Unregister(prefix, drop)),
        1 => (0..300i64).prop_map(Step::Interval),
        1 => prop_oneof![Just(0), Just(1i64)].prop_map(Step::Limit),
        1 => Just(Step::Epoch),
        1 => (prefix, key).prop_map(|(prefix, key)| Step::Capture(prefix, key)),
    ]
}

fn key(prefix: usize, key: u8) -> Vec<u8> {
    format!("{}{key}", PREFIXES[prefix]).into_bytes()
}

fn run(backlog: &mut Backlog, flights: &mut Vec<Batch>, step: Step, now_us: &mut u64) {
    let now = *now_us;
    let id = |backlog: &Backlog, prefix: Option<usize>| {
        let prefix = prefix?;
        backlog.registry.find(Db(0), PREFIXES[prefix].as_bytes())
    };
    match step {
        Step::ChangeKind(prefix, number) => {
            backlog.record((Db(0), &key(prefix, number)), ChangeKind::Changed, || false, || 0);
            backlog.fold(now);
        }
        Step::Wait(us) => *now_us += us,
        Step::Batch => flights.extend(batch(backlog, now)),
        Step::Return if !flights.is_empty() => {
            drop(done(backlog, flights.remove(0), returned(100), now));
        }
        Step::Written if !flights.is_empty() => {
            drop(done(backlog, flights.remove(0), written(), now));
        }
        Step::Postpone => {
            if let Some(mut batch) = backlog.begin_batch(now)
                && let Some((taken, _)) = backlog.take_key(&mut batch, now)
            {
                backlog.postpone(&batch, &taken, now + 10_000);
            }
        }
        Step::Pause(prefix) => backlog.pause(id(backlog, prefix)),
        Step::Resume(prefix) => backlog.resume(id(backlog, prefix)),
        Step::Flush(prefix) => {
            let scope = id(backlog, prefix).map_or(FlushScope::All, FlushScope::Registration);
            backlog.flush(scope, now);
        }
        Step::FlushKey(prefix, number) => {
            backlog.flush(FlushScope::Keys(Db(0), &[&key(prefix, number)]), now);
        }
        Step::Forget(prefix, number) => backlog.forget(Db(0), &key(prefix, number)),
        Step::Register(prefix, ms) => {
            let registration = registration(PREFIXES[prefix]);
            let interval_ms = (ms % 2 == 0).then_some(ms);
            backlog.register(Registration { interval_ms, ..registration }).unwrap();
        }
        Step::Unregister(prefix, discard) => {
            backlog.unregister(Db(0), PREFIXES[prefix].as_bytes(), discard, now);
        }
        Step::Interval(ms) => backlog.settings.flush_interval_ms = ms,
        Step::Limit(bytes) => {
            backlog.settings.dirty_max_bytes = bytes;
            backlog.fold(now);
        }
        Step::Epoch => backlog.begin_epoch(),
        Step::Capture(prefix, number) => {
            let bytes = b"v".as_slice().into();
            let value = crate::core::backlog::table::RetainedValue {
                content: Content::String,
                expire_ms: -1,
                bytes,
            };
            backlog.retain_value(Db(0), &key(prefix, number), value, || 0);
        }
        Step::Return | Step::Written => {}
    }
}

/// The result of computing the due times of all registrations.
struct Asked {
    /// When the first registration is due.
    first_us: Option<u64>,
    /// When the first registration is due of those that are not due now.
    later_us: Option<u64>,
    /// Registrations that are due now and have a credit.
    now: BTreeSet<RegistrationId>,
    /// True if a registration that is due now has none.
    starves: bool,
}

fn asked(backlog: &Backlog, now_us: u64) -> Asked {
    let due: Vec<(u64, RegistrationId)> = backlog
        .registry
        .ids()
        .filter_map(|id| Some((backlog.registration_due_us(id)?, id)))
        .collect();
    let times = due.iter().map(|(due_us, _)| *due_us);
    let now = due.iter().filter(|(due_us, _)| *due_us <= now_us).map(|(_, id)| *id);
    Asked {
        first_us: times.clone().min(),
        later_us: times.filter(|due_us| *due_us > now_us).min(),
        now: now.clone().filter(|id| backlog.in_flight.has_credit(*id, false)).collect(),
        starves: now.clone().any(|id| !backlog.in_flight.has_credit(id, false)),
    }
}

proptest! {
    #[test]
    fn the_schedule_agrees_with_the_due_times_of_all_registrations(
        steps in prop::collection::vec(step(), 0..120),
    ) {
        let mut backlog = backlog(&PREFIXES);
        let (mut flights, mut now_us) = (Vec::new(), 1_000_000);
        for step in steps {
            run(&mut backlog, &mut flights, step, &mut now_us);
            if !backlog.in_flight.may_send() {
                prop_assert_eq!(backlog.next_due_us(), None);
                continue;
            }
            let Asked { first_us, later_us, now: due_now, starves } = asked(&backlog, now_us);
            let found = backlog.next_due_us();
            if due_now.is_empty() && !starves {
                prop_assert_eq!(found, first_us, "after {:?}", step);
            } else if !due_now.is_empty() {
                prop_assert!(found.is_some_and(|due_us| due_us <= now_us), "after {:?}", step);
            }
            let next = backlog.next_registration(now_us);
            prop_assert_eq!(next.is_some(), !due_now.is_empty(), "after {:?}", step);
            prop_assert!(next.is_none_or(|id| due_now.contains(&id)), "after {:?}", step);
            if next.is_none() && starves {
                // A registration without a credit must not cause another wake-up.
                prop_assert_eq!(backlog.next_due_us(), later_us, "after {:?}", step);
            }
            let oldest = backlog.registry.ids().filter_map(|id| backlog.oldest_us(id)).min();
            prop_assert_eq!(backlog.oldest_of_all_us(), oldest, "after {:?}", step);
        }
    }
}

#[test]
fn registrations_that_are_due_take_turns() {
    let mut backlog = backlog(&["a:", "b:", "c:"]);
    backlog.report(Report::Credit(9), Now { us: 0, unix_ms: 0 }, &mut Acknowledged::default());
    backlog.settings.batch_max_keys = 1;
    for key in ["a:1", "a:2", "b:1", "b:2", "c:1"] {
        change(&mut backlog, key, 1);
    }
    backlog.flush(FlushScope::All, 2);
    let order: Vec<String> =
        std::iter::from_fn(|| Some(keys(&batch(&mut backlog, 3)?)[0].to_owned())).collect();
    assert_eq!(order, ["a:1", "b:1", "c:1", "a:2", "b:2"]);
}

#[test]
fn statistics_of_the_module_are_the_sums_of_its_registrations() {
    let mut backlog = backlog(&["a:", "b:"]);
    for key in ["a:1", "a:1", "b:1"] {
        change(&mut backlog, key, 1);
    }
    let flight = batch(&mut backlog, 200_000).unwrap();
    done(&mut backlog, flight, written(), 300_000);
    let of = |backlog: &Backlog, id| backlog.prefix_state(id, 0).map(|state| state.counters);
    let (a, b) =
        (of(&backlog, RegistrationId(0)).unwrap(), of(&backlog, RegistrationId(1)).unwrap());
    let all = backlog.state(0).counters;
    assert_eq!((all.captured_total, a.captured_total, b.captured_total), (3, 2, 1));
    assert_eq!((all.coalesced_total, all.written_total), (1, 1));
    backlog.unregister(Db(0), b"a:", true, 400_000);
    assert_eq!(backlog.state(0).counters, all, "including a removed registration");
    assert_eq!(backlog.register(registration("c:")), Some(RegistrationId(0)));
    assert_eq!(of(&backlog, RegistrationId(0)).unwrap(), Counters::default());
}

#[test]
fn every_change_of_the_schedule_is_reported_by_take_changed() {
    type Change = fn(&mut Backlog);
    let changes: [(&str, Change); 9] = [
        ("register", |backlog| _ = backlog.register(registration("new:"))),
        ("unregister", |backlog| _ = backlog.unregister(Db(0), b"k:", false, 10)),
        ("pause", |backlog| backlog.pause(Some(RegistrationId(0)))),
        ("resume", |backlog| backlog.resume(None)),
        ("flush", |backlog| _ = backlog.flush(FlushScope::All, 10)),
        ("sync", |backlog| backlog.begin_sync(RegistrationId(0))),
        ("epoch", Backlog::begin_epoch),
        ("settings", |backlog| backlog.change_settings(|settings| settings.batch_max_keys = 7)),
        ("change", |backlog| {
            backlog.record((Db(0), b"k:1"), ChangeKind::Changed, || false, || 0);
            backlog.fold(10);
        }),
    ];
    let silent = changes.iter().filter(|(_, change)| {
        let mut backlog = Backlog::default();
        backlog.register(registration("k:"));
        backlog.take_changed(10);
        change(&mut backlog);
        !backlog.take_changed(10)
    });
    let silent: Vec<&str> = silent.map(|(name, _)| *name).collect();
    assert!(silent.is_empty(), "{silent:?} would be noticed with the next change only");
}
