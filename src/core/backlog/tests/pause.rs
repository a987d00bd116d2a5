//! Pauses: no batches are sent, and changes are captured.

use super::*;
use crate::core::ids::{Db, RegistrationId};

#[test]
fn nothing_is_sent_or_due_while_all_registrations_are_paused() {
    let mut backlog = backlog(&["a:", "b:"]);
    change(&mut backlog, "a:1", 1);
    backlog.pause(None);
    backlog.pause(None);
    change(&mut backlog, "b:1", 2);
    backlog.flush(FlushScope::All, 3);
    assert_eq!(backlog.next_due_us(), None);
    assert!(backlog.begin_batch(u64::MAX).is_none());
    let state = backlog.state(5);
    assert_eq!((state.paused, state.dirty_keys), (true, 2));
    assert!(backlog.prefix_state(RegistrationId(0), 5).unwrap().paused);
    backlog.resume(None);
    assert_eq!(keys(&batch(&mut backlog, 3).unwrap()), ["a:1"]);
}

#[test]
fn a_paused_prefix_delays_no_other() {
    let mut backlog = backlog(&["a:", "b:"]);
    change(&mut backlog, "a:1", 1);
    change(&mut backlog, "b:1", 1);
    backlog.pause(Some(RegistrationId(0)));
    assert!(!backlog.state(5).paused);
    assert!(backlog.prefix_state(RegistrationId(0), 5).unwrap().paused);
    assert!(!backlog.prefix_state(RegistrationId(1), 5).unwrap().paused);
    assert_eq!(backlog.dirty_unpaused(), 1);
    let flight = batch(&mut backlog, u64::MAX).unwrap();
    assert_eq!(keys(&flight), ["b:1"]);
    assert!(backlog.begin_batch(u64::MAX).is_none());
    done(&mut backlog, flight, written(), 9);
    assert_eq!((backlog.dirty_unpaused(), backlog.dirty_len()), (0, 1));
    backlog.resume(Some(RegistrationId(0)));
    assert_eq!(keys(&batch(&mut backlog, u64::MAX).unwrap()), ["a:1"]);
}

#[test]
fn batches_in_flight_end_normally_and_returned_keys_wait() {
    let mut backlog = backlog(&["a:"]);
    change(&mut backlog, "a:1", 1);
    let flight = batch(&mut backlog, u64::MAX).unwrap();
    backlog.pause(Some(RegistrationId(0)));
    assert_eq!(backlog.dirty_unpaused(), 1);
    done(&mut backlog, flight, returned(0), 5);
    assert_eq!((backlog.next_due_us(), backlog.dirty_unpaused()), (None, 0));
    backlog.resume(Some(RegistrationId(0)));
    let flight = batch(&mut backlog, 5).unwrap();
    backlog.pause(None);
    assert_eq!(done(&mut backlog, flight, written(), 9), ["a:1"]);
}

#[test]
fn resuming_all_resumes_each_prefix_and_resuming_one_only_that() {
    let mut backlog = backlog(&["a:", "b:"]);
    backlog.pause(None);
    backlog.pause(Some(RegistrationId(0)));
    backlog.resume(Some(RegistrationId(0)));
    assert!(backlog.is_paused(RegistrationId(0)) && backlog.is_paused(RegistrationId(1)));
    backlog.pause(Some(RegistrationId(0)));
    backlog.pause(Some(RegistrationId(1)));
    backlog.resume(None);
    assert!(!backlog.is_paused(RegistrationId(0)) && !backlog.is_paused(RegistrationId(1)));
    assert_eq!(backlog.pause_warning(), None);
}

#[test]
fn a_pause_is_kept_with_new_options_but_not_after_unregistering() {
    let mut backlog = backlog(&["a:"]);
    backlog.pause(Some(RegistrationId(0)));
    backlog.register(registration("a:")).unwrap();
    assert!(backlog.is_paused(RegistrationId(0)));
    change(&mut backlog, "a:1", 1);
    assert_eq!(backlog.unregister(Db(0), b"a:", false, 2), Some(1));
    assert!(backlog.is_paused(RegistrationId(0)) && backlog.begin_batch(u64::MAX).is_none());
    backlog.register(registration("a:")).unwrap();
    assert!(!backlog.is_paused(RegistrationId(0)));
}

#[test]
fn pauses_are_saved_and_replaced_when_data_is_loaded() {
    let mut backlog = backlog(&["a:", "b:"]);
    backlog.pause(Some(RegistrationId(1)));
    let saved = |backlog: &mut Backlog| {
        let mut records = Vec::new();
        let mut packer =
            crate::core::backlog::record::Packer::new(|block: &[u8]| records.push(block.to_vec()));
        backlog.save(9, |record| packer.push(&record));
        packer.end();
        drop(packer);
        records
    };
    let load = |blocks: &[Vec<u8>], backlog: &mut Backlog| {
        backlog.clear();
        for block in blocks {
            crate::core::backlog::record::unpack(block, |record| backlog.load(record, u64::MAX))
                .unwrap();
        }
    };
    let mut loaded = Backlog::default();
    load(&saved(&mut backlog), &mut loaded);
    assert_eq!(
        (loaded.is_paused(RegistrationId(0)), loaded.is_paused(RegistrationId(1))),
        (false, true)
    );
    backlog.resume(None);
    backlog.pause(None);
    load(&saved(&mut backlog), &mut loaded);
    let all = "writing is paused: WB.RESUME restarts it".to_owned();
    assert_eq!(loaded.pause_warning(), Some(all));
    loaded.resume(None);
    assert_eq!(loaded.pause_warning(), None);
    load(&[], &mut loaded);
    assert!(loaded.pause_warning().is_none() && loaded.is_blank());
    loaded.pause(None);
    assert!(!loaded.is_blank(), "a pause of all registrations must be saved");
}
