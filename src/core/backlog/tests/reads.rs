//! Read-through: which keys are asked for, and what their clients get.

use super::*;
use crate::core::backlog::reads::{Ended, Fate, Known, LoadEnd};
use crate::core::delivery::batch::Link;
use crate::core::delivery::page::{FindRequest, ReadFailure};
use crate::core::ids::{FindId, WaitId};
use crate::core::registration::{KeyType, OnRemoval, ReadThrough};

const AT: Now = Now { us: 1, unix_ms: 0 };

fn options() -> Registration {
    Registration {
        key_type: KeyType::String,
        read_through: Some(ReadThrough { ttl_s: 0, jitter_percent: 0, absent_ms: 10 }),
        ..registration("k:")
    }
}

/// `k:` with READTHROUGH, while MongoDB is reached.
fn reading() -> (Backlog, RegistrationId) {
    let mut backlog = backlog(&["any:"]);
    let id = backlog.register(options()).unwrap();
    backlog.report(Report::Link(Link::Up), AT, &mut Acknowledged::default());
    (backlog, id)
}

/// The clients whose waiting has ended, and whether with an error.
fn ended(backlog: &mut Backlog) -> Vec<(WaitId, bool)> {
    let ended = backlog.reads.take_ended().into_iter();
    ended.map(|Ended { wait, error, .. }| (wait, error.is_some())).collect()
}

/// A client that waits for these keys; what is known of each.
fn client(backlog: &mut Backlog, id: RegistrationId, keys: &[&str]) -> (WaitId, Vec<Known>) {
    let wait = backlog.reads.begin_wait();
    let want = |key: &&str| backlog.want(id, key.as_bytes(), Some(wait), 1);
    (wait, keys.iter().map(want).collect())
}

fn asked(find: &FindRequest) -> Vec<&str> {
    find.keys.iter().map(|key| std::str::from_utf8(key).unwrap()).collect()
}

fn fate(backlog: &mut Backlog, id: RegistrationId, find: FindId, key: &str) -> Fate {
    backlog.read_fate(id, find, key.as_bytes(), 2)
}

fn stored(backlog: &mut Backlog, id: RegistrationId, find: FindId, key: &str) {
    assert_eq!(fate(backlog, id, find, key), Fate::Store);
    backlog.end_read(id, key.as_bytes(), LoadEnd::Stored, 1_001);
}

fn written_keys(key: &str) -> KeyList {
    let mut keys = KeyList::default();
    keys.push(Db(0), key.as_bytes());
    keys
}

#[test]
fn one_find_serves_all_clients_and_the_next_one_what_was_asked_meanwhile() {
    let (mut backlog, id) = reading();
    let (first, known) = client(&mut backlog, id, &["k:1", "k:2"]);
    assert_eq!(known, [Known::Awaited, Known::Awaited]);
    let (second, _) = client(&mut backlog, id, &["k:1", "k:1"]);
    let find = backlog.next_find().unwrap();
    assert_eq!(asked(&find), ["k:1", "k:2"]);
    let (third, _) = client(&mut backlog, id, &["k:3", "k:2"]);
    assert!(backlog.next_find().is_none(), "one is under way");
    stored(&mut backlog, id, find.find, "k:1");
    assert_eq!(ended(&mut backlog), [(second, false)]);
    backlog.find_ended(find.find, true, 5);
    assert_eq!(ended(&mut backlog), [(first, false)], "k:2 has no document");
    let find = backlog.next_find().unwrap();
    assert_eq!(asked(&find), ["k:3"]);
    backlog.find_ended(find.find, true, 5);
    assert_eq!(ended(&mut backlog), [(third, false)]);
    let counts = backlog.reads.counts;
    assert_eq!((counts.loads, counts.absent), (1, 2));
    assert!(backlog.prefix_state(id, 5).unwrap().read_times.p50_us.abs_diff(1_000) <= 10);
    assert_eq!(backlog.reads.waiting(), 0);
}

#[test]
fn an_absent_key_is_remembered_until_its_time_or_a_write() {
    let (mut backlog, id) = reading();
    let absent = |backlog: &mut Backlog| {
        client(backlog, id, &["k:1"]);
        let find = backlog.next_find().unwrap();
        backlog.find_ended(find.find, true, 5);
    };
    absent(&mut backlog);
    assert_eq!(backlog.want(id, b"k:1", None, 10_004), Known::Absent);
    assert_eq!(backlog.want(id, b"k:1", None, 10_005), Known::Awaited);
    let find = backlog.next_find().unwrap();
    backlog.find_ended(find.find, true, 10_005);
    backlog.see_written(&written_keys("k:1"));
    assert_eq!(backlog.want(id, b"k:1", None, 10_006), Known::Awaited);
    let find = backlog.next_find().unwrap();
    backlog.find_ended(find.find, true, 10_007);
    backlog.reads_see_flushed();
    assert_eq!(backlog.want(id, b"k:1", None, 10_008), Known::Awaited);
}

#[test]
fn a_pending_deletion_is_the_answer_and_a_pending_value_is_written_first() {
    let (mut backlog, id) = reading();
    backlog.record((Db(0), b"k:1"), ChangeKind::Deleted, || false, || 1);
    assert_eq!(backlog.want(id, b"k:1", None, 1), Known::Absent);
    // Evicted before it was written.
    change(&mut backlog, "k:2", 1);
    let value =
        RetainedValue { content: Content::String, expire_ms: NO_EXPIRY, bytes: b"2"[..].into() };
    assert!(backlog.retain_value(Db(0), b"k:2", value, || 1));
    let (wait, known) = client(&mut backlog, id, &["k:2"]);
    assert_eq!(known, [Known::Awaited]);
    backlog.release_reads(2);
    assert!(backlog.next_find().is_none(), "its document is not written yet");
    let batch = batch(&mut backlog, 2).expect("the key does not wait for its interval");
    done(&mut backlog, batch, written(), 3);
    backlog.see_written(&written_keys("k:2"));
    backlog.release_reads(4);
    let find = backlog.next_find().unwrap();
    assert_eq!(asked(&find), ["k:2"]);
    stored(&mut backlog, id, find.find, "k:2");
    assert_eq!(ended(&mut backlog), [(wait, false)]);
}

#[test]
fn a_document_that_was_read_before_a_change_is_read_again() {
    let (mut backlog, id) = reading();
    let (wait, _) = client(&mut backlog, id, &["k:1"]);
    let find = backlog.next_find().unwrap();
    // Written, acknowledged and evicted while the find was under way.
    backlog.see_written(&written_keys("k:1"));
    assert_eq!(fate(&mut backlog, id, find.find, "k:1"), Fate::Drop);
    backlog.find_ended(find.find, true, 3);
    let find = backlog.next_find().unwrap();
    // FLUSHALL.
    backlog.reads_see_flushed();
    backlog.find_ended(find.find, true, 4);
    let find = backlog.next_find().unwrap();
    // Deleted meanwhile.
    backlog.record((Db(0), b"k:1"), ChangeKind::Deleted, || false, || 1);
    assert_eq!(fate(&mut backlog, id, find.find, "k:1"), Fate::Drop);
    assert_eq!(ended(&mut backlog), [(wait, false)]);
    assert_eq!(backlog.reads.counts.loads, 0);
    backlog.find_ended(find.find, true, 5);
    assert_eq!(fate(&mut backlog, id, find.find, "k:1"), Fate::Drop, "no client waits");
}

#[test]
fn what_was_not_read_is_asked_for_again() {
    let (mut backlog, id) = reading();
    client(&mut backlog, id, &["k:1", "k:2"]);
    let find = backlog.next_find().unwrap();
    stored(&mut backlog, id, find.find, "k:2");
    backlog.find_ended(find.find, false, 3);
    assert_eq!(asked(&backlog.next_find().unwrap()), ["k:1"]);
}

#[test]
fn only_so_many_keys_are_asked_for_at_a_time() {
    let (mut backlog, id) = reading();
    backlog.settings.read_max_loads = 3;
    let other = backlog.register(Registration { prefix: b"o:".to_vec(), ..options() }).unwrap();
    client(&mut backlog, id, &["k:1", "k:2"]);
    client(&mut backlog, other, &["o:1", "o:2"]);
    let [first, second] = [(); 2].map(|()| backlog.next_find().unwrap());
    let mut lens = [first.keys.len(), second.keys.len()];
    lens.sort_unstable();
    assert_eq!(lens, [1, 2]);
    assert!(backlog.next_find().is_none());
    backlog.find_ended(first.find, true, 2);
    backlog.find_ended(second.find, true, 2);
    assert_eq!(backlog.next_find().unwrap().keys.len(), 1, "the one that has waited");
}

#[test]
fn loads_fail_at_once_while_mongodb_is_away() {
    let (mut backlog, id) = reading();
    let (wait, _) = client(&mut backlog, id, &["k:1"]);
    let find = backlog.next_find().unwrap();
    let down = Link::Down { error: "away".to_owned() };
    backlog.report(Report::Link(down), AT, &mut Acknowledged::default());
    let ended = backlog.reads.take_ended();
    assert_eq!(ended.len(), 1);
    assert_eq!(ended[0].wait, wait);
    assert!(ended[0].error.as_ref().unwrap().starts_with("WBDOWN "), "{ended:?}");
    let (_, known) = client(&mut backlog, id, &["k:1"]);
    assert!(
        matches!(&known[0], Known::Refused(error) if error.starts_with("WBDOWN ") && error.contains("away"))
    );
    backlog.find_failed(find.find, &ReadFailure::transient("no server"), 2);
    assert!(backlog.reads.take_ended().is_empty());
    backlog.report(Report::Link(Link::Up), AT, &mut Acknowledged::default());
    client(&mut backlog, id, &["k:1"]);
    let find = backlog.next_find().unwrap();
    backlog.find_failed(find.find, &ReadFailure::transient("no server"), 2);
    assert!(backlog.reads.take_ended()[0].error.as_ref().unwrap().contains("no server"));
    assert_eq!(backlog.reads.counts.failed, 2);
}

#[test]
fn a_dead_letter_is_an_error() {
    let (mut backlog, id) = reading();
    change(&mut backlog, "k:1", 1);
    let batch = batch(&mut backlog, 200_000).unwrap();
    let refused = Refusal { index: 0, code: 121, reason: "invalid".to_owned() };
    let verdict = Verdict::Written(Written { refused: vec![refused], ..Written::default() });
    done(&mut backlog, batch, verdict, 200_001);
    let known = backlog.want(id, b"k:1", None, 200_002);
    assert!(matches!(known, Known::Refused(error) if error.starts_with("WBREFUSED ")));
}

#[test]
fn clients_of_a_prefix_that_is_unregistered_or_of_other_data_do_not_wait() {
    let (mut backlog, id) = reading();
    let (wait, _) = client(&mut backlog, id, &["k:1"]);
    let find = backlog.next_find().unwrap();
    backlog.unregister(Db(0), b"k:", false, 2).unwrap();
    assert_eq!(ended(&mut backlog), [(wait, false)]);
    assert_eq!(fate(&mut backlog, id, find.find, "k:1"), Fate::Drop);
    backlog.find_ended(find.find, true, 3);
    let id = backlog.register(options()).unwrap();
    let (wait, _) = client(&mut backlog, id, &["k:1"]);
    backlog.role_changed(4);
    assert_eq!(ended(&mut backlog), [(wait, true)]);
    assert!(backlog.next_find().is_none());
    // Other options: what was read is read again.
    client(&mut backlog, id, &["k:1"]);
    let find = backlog.next_find().unwrap();
    backlog.register(Registration { on_delete: OnRemoval::Keep, ..options() }).unwrap();
    assert_eq!(fate(&mut backlog, id, find.find, "k:1"), Fate::Drop);
    backlog.find_ended(find.find, true, 5);
    assert_eq!(backlog.next_find().unwrap().registration.on_delete, OnRemoval::Keep);
}

#[test]
fn a_client_that_is_gone_gets_no_answer() {
    let (mut backlog, id) = reading();
    let (wait, _) = client(&mut backlog, id, &["k:1"]);
    let find = backlog.next_find().unwrap();
    backlog.reads.end_wait(wait);
    stored(&mut backlog, id, find.find, "k:1");
    assert!(backlog.reads.take_ended().is_empty());
    assert_eq!(backlog.reads.counts.loads, 1);
}

#[test]
fn a_client_learns_which_keys_have_no_document() {
    let (mut backlog, id) = reading();
    let (wait, _) = client(&mut backlog, id, &["k:1", "k:2"]);
    let find = backlog.next_find().unwrap();
    stored(&mut backlog, id, find.find, "k:1");
    backlog.find_ended(find.find, true, 5);
    let ended = backlog.reads.take_ended();
    assert_eq!(ended, [Ended { wait, error: None, absent: vec![b"k:2"[..].into()] }]);
}

#[test]
fn keys_without_waiting_clients_are_not_asked_for() {
    let (mut backlog, id) = reading();
    let (gone, _) = client(&mut backlog, id, &["k:1", "k:2"]);
    let (_, _) = client(&mut backlog, id, &["k:2"]);
    backlog.reads.end_wait(gone);
    assert_eq!(backlog.want(id, b"k:3", None, 1), Known::Awaited);
    let find = backlog.next_find().unwrap();
    assert_eq!(asked(&find), ["k:2", "k:3"]);
    // Loads behind commands that do not wait are limited.
    backlog.settings.read_max_loads = 2;
    assert_eq!(backlog.want(id, b"k:4", None, 1), Known::Awaited);
    backlog.find_ended(find.find, true, 2);
    assert!(backlog.next_find().is_none());
    assert_eq!(backlog.want(id, b"k:4", None, 3), Known::Awaited);
    assert_eq!(asked(&backlog.next_find().unwrap()), ["k:4"]);
}

#[test]
fn a_load_behind_a_command_that_fails_is_known() {
    let (mut backlog, id) = reading();
    backlog.want(id, b"k:1", None, 1);
    let find = backlog.next_find().unwrap();
    backlog.find_failed(find.find, &ReadFailure::transient("no server"), 2);
    assert_eq!(backlog.take_unloaded().map(|(_, key)| key.to_vec()), Some(b"k:1".to_vec()));
    assert!(backlog.take_unloaded().is_none());
}

#[test]
fn a_held_key_is_looked_at_when_it_is_refused_and_now_and_then() {
    let (mut backlog, id) = reading();
    change(&mut backlog, "k:1", 1);
    let (wait, _) = client(&mut backlog, id, &["k:1"]);
    assert_eq!(backlog.reads_due_us(), 1_000_001);
    let batch = batch(&mut backlog, 2).unwrap();
    let refused = Refusal { index: 0, code: 121, reason: "invalid".to_owned() };
    let verdict = Verdict::Written(Written { refused: vec![refused], ..Written::default() });
    done(&mut backlog, batch, verdict, 3);
    assert_eq!(backlog.reads_due_us(), 0);
    backlog.release_reads(4);
    assert_eq!(ended(&mut backlog), [(wait, true)]);
    // One that waits for nothing that is reported.
    change(&mut backlog, "k:2", 5);
    let (wait, _) = client(&mut backlog, id, &["k:2"]);
    backlog.release_reads(1_000_000);
    assert_eq!(backlog.reads_due_us(), 1_000_001);
    backlog.release_reads(1_000_001);
    assert!(ended(&mut backlog).is_empty());
    assert_eq!(backlog.reads_due_us(), 2_000_001, "it is still dirty");
    backlog.reads.end_wait(wait);
    backlog.release_reads(2_000_001);
    assert_eq!(backlog.reads_due_us(), u64::MAX, "no client waits for it");
}

#[test]
fn a_key_of_another_registration_with_this_id_is_asked_for() {
    let (mut backlog, id) = reading();
    client(&mut backlog, id, &["k:1"]);
    let find = backlog.next_find().unwrap();
    backlog.find_ended(find.find, true, 2);
    assert_eq!(backlog.want(id, b"k:1", None, 3), Known::Absent);
    backlog.unregister(Db(0), b"k:", false, 4).unwrap();
    let id = backlog.register(options()).unwrap();
    assert_eq!(backlog.want(id, b"k:1", None, 5), Known::Awaited);
}
