//! Pauses: nothing is sent, everything is captured.

use super::*;

#[test]
fn nothing_is_sent_and_nothing_is_due_while_everything_is_paused() {
    let mut engine = engine(&["a:", "b:"]);
    touch(&mut engine, "a:1", 1);
    engine.pause(None);
    engine.pause(None);
    touch(&mut engine, "b:1", 2);
    engine.flush(FlushScope::All, 3);
    assert_eq!(engine.next_due_us(), None);
    assert!(engine.begin_batch(u64::MAX).is_none());
    let state = engine.state(5);
    assert_eq!((state.paused, state.dirty_keys), (true, 2));
    assert!(engine.prefix_state(0, 5).unwrap().paused);
    engine.resume(None);
    assert_eq!(keys(&batch(&mut engine, 3).unwrap()), ["a:1"]);
}

#[test]
fn a_paused_prefix_holds_up_no_other() {
    let mut engine = engine(&["a:", "b:"]);
    touch(&mut engine, "a:1", 1);
    touch(&mut engine, "b:1", 1);
    engine.pause(Some(0));
    assert!(!engine.state(5).paused);
    assert!(engine.prefix_state(0, 5).unwrap().paused);
    assert!(!engine.prefix_state(1, 5).unwrap().paused);
    assert_eq!(engine.dirty_unpaused(), 1);
    let flight = batch(&mut engine, u64::MAX).unwrap();
    assert_eq!(keys(&flight), ["b:1"]);
    assert!(engine.begin_batch(u64::MAX).is_none());
    done(&mut engine, flight, written(), 9);
    assert_eq!((engine.dirty_unpaused(), engine.dirty_len()), (0, 1));
    engine.resume(Some(0));
    assert_eq!(keys(&batch(&mut engine, u64::MAX).unwrap()), ["a:1"]);
}

#[test]
fn what_is_in_flight_ends_normally_and_what_returns_waits() {
    let mut engine = engine(&["a:"]);
    touch(&mut engine, "a:1", 1);
    let flight = batch(&mut engine, u64::MAX).unwrap();
    engine.pause(Some(0));
    assert_eq!(engine.dirty_unpaused(), 1);
    done(&mut engine, flight, returned(0), 5);
    assert_eq!((engine.next_due_us(), engine.dirty_unpaused()), (None, 0));
    engine.resume(Some(0));
    let flight = batch(&mut engine, 5).unwrap();
    engine.pause(None);
    assert_eq!(done(&mut engine, flight, written(), 9), ["a:1"]);
}

#[test]
fn resuming_everything_resumes_each_prefix_and_resuming_one_only_that() {
    let mut engine = engine(&["a:", "b:"]);
    engine.pause(None);
    engine.pause(Some(0));
    engine.resume(Some(0));
    assert!(engine.is_paused(0) && engine.is_paused(1));
    engine.pause(Some(0));
    engine.pause(Some(1));
    engine.resume(None);
    assert!(!engine.is_paused(0) && !engine.is_paused(1));
    assert_eq!(engine.pause_warning(), None);
}

#[test]
fn a_pause_outlives_new_options_and_not_the_registration() {
    let mut engine = engine(&["a:"]);
    engine.pause(Some(0));
    engine.register(registration("a:")).unwrap();
    assert!(engine.is_paused(0));
    touch(&mut engine, "a:1", 1);
    assert_eq!(engine.unregister(0, b"a:", false, 2), Some(1));
    assert!(engine.is_paused(0) && engine.begin_batch(u64::MAX).is_none());
    engine.register(registration("a:")).unwrap();
    assert!(!engine.is_paused(0));
}

#[test]
fn pauses_are_saved_and_what_is_loaded_replaces_them() {
    let mut engine = engine(&["a:", "b:"]);
    engine.pause(Some(1));
    let saved = |engine: &mut Engine| {
        let mut records = Vec::new();
        let mut packer =
            crate::core::backlog::record::Packer::new(|block: &[u8]| records.push(block.to_vec()));
        engine.save(9, |record| packer.push(&record));
        packer.end();
        drop(packer);
        records
    };
    let load = |blocks: &[Vec<u8>], engine: &mut Engine| {
        engine.clear();
        for block in blocks {
            crate::core::backlog::record::unpack(block, |record| engine.load(record, u64::MAX))
                .unwrap();
        }
    };
    let mut loaded = Engine::default();
    load(&saved(&mut engine), &mut loaded);
    assert_eq!((loaded.is_paused(0), loaded.is_paused(1)), (false, true));
    engine.resume(None);
    engine.pause(None);
    load(&saved(&mut engine), &mut loaded);
    let all = "writing is paused: WB.RESUME restarts it".to_owned();
    assert_eq!(loaded.pause_warning(), Some(all));
    loaded.resume(None);
    assert_eq!(loaded.pause_warning(), None);
    load(&[], &mut loaded);
    assert!(loaded.pause_warning().is_none() && loaded.is_blank());
    loaded.pause(None);
    assert!(!loaded.is_blank(), "a pause of everything is worth saving");
}
