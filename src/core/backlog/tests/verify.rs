//! WB.VERIFY: which differences count.

use std::sync::Arc;

use super::*;
use crate::core::backlog::verify::Running;
use crate::core::delivery::batch::{Item, Link};
use crate::core::delivery::comparison::{CompareRequest, Compared, Difference};
use crate::core::ids::{EntryId, RunId, Version};
use crate::core::registration::args::verify::{Verification, VerifyOptions};

const AT: Now = Now { us: 1, unix_ms: 0 };

fn verifying(options: VerifyOptions) -> (Backlog, RegistrationId, Running) {
    let mut backlog = backlog(&["k:"]);
    let id = backlog.registry.find_live(Db(0), b"k:").unwrap();
    backlog.report(Report::Link(Link::Up), AT, &mut Acknowledged::default());
    backlog.begin_verify(id, Verification::Once(options), 1);
    let running = backlog.next_run(1).unwrap();
    (backlog, id, running)
}

fn compared(
    backlog: &Backlog,
    run: RunId,
    is_again: bool,
    keys: &[(&str, Option<Difference>)],
) -> Compared {
    let id = backlog.registry.find_live(Db(0), b"k:").unwrap();
    let mut batch = Batch {
        registration: Arc::clone(&backlog.registry.at(id).unwrap().registration),
        registration_id: id,
        epoch: 0,
        slow: false,
        retry: 0,
        items: Vec::new(),
        groups: Vec::new(),
        bytes: Vec::new(),
    };
    let mut differences = Vec::new();
    for (at, (key, how)) in keys.iter().enumerate() {
        let start = batch.bytes.len();
        batch.bytes.extend_from_slice(key.as_bytes());
        let key = Span { start, end: batch.bytes.len() };
        let value = Span { start: key.end, end: key.end };
        let (entry, version, since_us, expire_ms) = (EntryId(0), Version(0), 0, NO_EXPIRY);
        let content = Content::String;
        batch.items.push(Item { entry, version, since_us, key, content, value, expire_ms });
        differences.extend(how.map(|how| (at, how)));
    }
    let request = CompareRequest { run, is_again, batch };
    Compared { request, differences, uncomparable: 0 }
}

fn counts(backlog: &Backlog, id: RegistrationId) -> [u64; 5] {
    let figures = backlog.prefix_state(id, 5).unwrap().verify;
    [figures.checked, figures.missing, figures.different, figures.extra, figures.repaired]
}

const SAME: Option<Difference> = None;
const MISSING: Option<Difference> = Some(Difference::Missing);
const DIFFERENT: Option<Difference> = Some(Difference::Different);

#[test]
fn a_difference_counts_when_it_is_found_again() {
    let (mut backlog, id, Running { run, .. }) =
        verifying(VerifyOptions { repairs: true, full: false });
    let keys = [("k:1", MISSING), ("k:2", DIFFERENT), ("k:3", SAME), ("k:4", DIFFERENT)];
    let first = compared(&backlog, run, false, &keys);
    assert!(backlog.compared(&first, 2).is_empty());
    assert_eq!(counts(&backlog, id), [4, 0, 0, 0, 0]);
    assert!(backlog.compares_again() && !backlog.verifies.is_settled());
    assert!(backlog.compare_again(Db(0), 2).is_empty(), "what is dirty is written first");
    let mut again = backlog.compare_again(Db(0), 2);
    again.sort();
    assert_eq!(again, [b"k:1", b"k:2", b"k:4"]);
    // One was written meanwhile, and one equals its document now.
    let mut written = KeyList::default();
    written.push(Db(0), b"k:2");
    backlog.see_written(&written);
    let second =
        compared(&backlog, run, true, &[("k:1", MISSING), ("k:2", DIFFERENT), ("k:4", SAME)]);
    assert_eq!(backlog.compared(&second, 3), [b"k:1"]);
    assert_eq!(counts(&backlog, id), [4, 1, 0, 0, 1]);
    backlog.compare_again(Db(0), 4);
    assert_eq!(backlog.compare_again(Db(0), 4), [b"k:2"]);
    let third = compared(&backlog, run, true, &[("k:2", DIFFERENT)]);
    assert_eq!(backlog.compared(&third, 5), [b"k:2"]);
    assert_eq!(counts(&backlog, id), [4, 1, 1, 0, 2]);
    assert!(backlog.verifies.is_settled());
    let state = backlog.prefix_state(id, 5).unwrap();
    assert_eq!(state.verify.keys[0], [b"k:1"]);
    assert_eq!((state.verified_total, state.different_total), (4, 2));
    assert!(state.verify_pending);
    backlog.end_run(run, None, 1_000_000);
    let state = backlog.prefix_state(id, 3_000_000).unwrap();
    assert_eq!((state.verify_pending, state.verify_age_ms), (false, 2_000));
    assert!(backlog.next_run(3_000_000).is_none());
}

#[test]
fn a_key_that_is_dirty_by_then_does_not_count() {
    let (mut backlog, id, Running { run, .. }) = verifying(VerifyOptions::default());
    let first = compared(&backlog, run, false, &[("k:1", DIFFERENT)]);
    backlog.compared(&first, 2);
    change(&mut backlog, "k:1", 2);
    assert!(backlog.compare_again(Db(0), 2).is_empty());
    assert!(!backlog.compares_again(), "the flush has not ended");
    let batch = batch(&mut backlog, 3).expect("it is written at once");
    done(&mut backlog, batch, written(), 4);
    assert_eq!(backlog.compare_again(Db(0), 5), [b"k:1"]);
    change(&mut backlog, "k:1", 6);
    assert!(!backlog.is_clean(id, Db(0), b"k:1", 6));
    let second = compared(&backlog, run, true, &[("k:1", DIFFERENT)]);
    assert!(backlog.compared(&second, 7).is_empty());
    assert_eq!(counts(&backlog, id), [1, 0, 0, 0, 0]);
    // Nothing is repaired that was not asked for.
    assert_eq!(counts(&backlog, id)[4], 0);
}

#[test]
fn a_key_that_is_written_again_and_again_is_left_out() {
    let (mut backlog, id, Running { run, .. }) = verifying(VerifyOptions::default());
    let first = compared(&backlog, run, false, &[("k:1", DIFFERENT)]);
    backlog.compared(&first, 2);
    let mut written = KeyList::default();
    written.push(Db(0), b"k:1");
    let mut times = 0;
    while !backlog.verifies.is_settled() {
        backlog.compare_again(Db(0), 2);
        assert_eq!(backlog.compare_again(Db(0), 2), [b"k:1"]);
        backlog.see_written(&written);
        let again = compared(&backlog, run, true, &[("k:1", DIFFERENT)]);
        backlog.compared(&again, 3);
        times += 1;
        assert!(times <= 20);
    }
    assert_eq!((times, backlog.prefix_state(id, 3).unwrap().verify.skipped), (20, 1));
}

#[test]
fn rounds_begin_every_so_often_and_one_run_is_under_way() {
    let mut backlog = backlog(&["k:", "o:"]);
    let [id, other] =
        ["k:", "o:"].map(|prefix| backlog.registry.find_live(Db(0), prefix.as_bytes()).unwrap());
    backlog.begin_verify(id, Verification::Every(10), 0);
    assert_eq!(backlog.verifies_due_us(), u64::MAX, "MongoDB is not reached");
    assert!(backlog.next_run(0).is_none());
    backlog.report(Report::Link(Link::Up), AT, &mut Acknowledged::default());
    assert_eq!(backlog.verifies_due_us(), 0);
    let running = backlog.next_run(5).unwrap();
    assert_eq!((running.id, running.round_us), (id, 10_000_000));
    backlog.begin_verify(other, Verification::Once(VerifyOptions::default()), 6);
    assert!(backlog.next_run(6).is_none());
    backlog.end_run(running.run, None, 7);
    assert_eq!(backlog.next_run(8).unwrap().id, other, "what was asked for once is first");
    assert!(backlog.cancel_verify(other) && !backlog.cancel_verify(other));
    assert_eq!(
        backlog.prefix_state(other, 9).unwrap().verify.error,
        "the verification was cancelled"
    );
    assert_eq!(backlog.verifies_due_us(), 10_000_005);
    let running = backlog.next_run(10_000_005).unwrap();
    backlog.end_run(running.run, Some("no server".to_owned()), 10_000_006);
    assert_eq!(backlog.verifies_due_us(), 11_000_006, "a round that has failed begins again soon");
    backlog.begin_verify(id, Verification::Every(0), 10_000_007);
    assert_eq!(backlog.verifies_due_us(), u64::MAX);
}

#[test]
fn every_is_saved_and_a_run_ends_with_its_registration_and_the_role() {
    let (mut backlog, id, Running { run, .. }) = verifying(VerifyOptions::default());
    backlog.begin_verify(id, Verification::Every(60), 1);
    assert_eq!(backlog.verifies.running(), None, "the run begins again");
    let running = backlog.next_run(2).unwrap();
    assert_ne!(running.run, run);
    let late = compared(&backlog, run, false, &[("k:1", DIFFERENT)]);
    backlog.compared(&late, 3);
    assert_eq!(counts(&backlog, id)[0], 0, "of a former run");
    backlog.role_changed(4);
    assert_eq!(backlog.verifies.running(), None);
    let mut saved = Vec::new();
    backlog.save(5, |record| saved.push(format!("{record:?}")));
    assert!(saved.iter().any(|record| record.starts_with("Verify") && record.contains("60")));
    backlog.next_run(6).unwrap();
    backlog.unregister(Db(0), b"k:", false, 7);
    assert_eq!(backlog.verifies.running(), None);
}
