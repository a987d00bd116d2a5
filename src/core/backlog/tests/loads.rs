//! Loads: which documents may be stored, and where a load goes on.

use super::*;
use crate::core::backlog::loads::LoadFigures;
use crate::core::delivery::batch::Link;
use crate::core::delivery::page::{Page, ReadFailure};
use crate::core::ids::LoadId;
use crate::core::registration::args::load::LoadOptions;
use crate::core::registration::{KeyType, OnRemoval};

const AT: Now = Now { us: 1, unix_ms: 0 };

/// `k:` with TYPE STRING and a load, while MongoDB is reached.
fn loading(options: LoadOptions) -> (Backlog, RegistrationId) {
    let mut backlog = backlog(&["any:"]);
    let registration = Registration { key_type: KeyType::String, ..registration("k:") };
    let id = backlog.register(registration).unwrap();
    backlog.report(Report::Link(Link::Up), AT, &mut Acknowledged::default());
    backlog.begin_load(id, options).unwrap();
    (backlog, id)
}

fn begin(backlog: &mut Backlog) -> LoadId {
    backlog.next_load(1).expect("a load is due").load
}

fn page(documents: u64, last: &[u8]) -> Page {
    Page { documents, last: last.to_vec(), ..Page::default() }
}

fn may_load(backlog: &mut Backlog, id: RegistrationId, key: &str) -> bool {
    backlog.may_load(id, Db(0), key.as_bytes(), 1)
}

fn written(key: &str) -> KeyList {
    let mut keys = KeyList::default();
    keys.push(Db(0), key.as_bytes());
    keys
}

#[test]
fn a_type_is_needed_and_mongodb() {
    let (mut backlog, id) = loading(LoadOptions::default());
    let any = backlog.registry.find_live(Db(0), b"any:").unwrap();
    assert!(backlog.begin_load(any, LoadOptions::default()).unwrap_err().contains("TYPE"));
    let down = Link::Down { error: "away".to_owned() };
    backlog.report(Report::Link(down), AT, &mut Acknowledged::default());
    assert!(backlog.next_load(1).is_none());
    assert_eq!(backlog.loads_due_us(), u64::MAX);
    backlog.report(Report::Link(Link::Up), AT, &mut Acknowledged::default());
    assert_eq!(backlog.loads_due_us(), 0);
    let load = begin(&mut backlog);
    assert_eq!(backlog.load_runs(load), Some(id));
    assert!(backlog.next_load(1).is_none(), "it runs");
}

#[test]
fn what_redis_has_to_write_is_newer_than_a_document() {
    let (mut backlog, id) = loading(LoadOptions::default());
    let load = begin(&mut backlog);
    assert!(may_load(&mut backlog, id, "k:1"));
    assert!(!may_load(&mut backlog, id, "any:1"));
    change(&mut backlog, "k:1", 1);
    assert!(!may_load(&mut backlog, id, "k:1"));
    // A key that became clean while pages were on their way: until they are stored.
    backlog.loads_see_written(&written("k:2"));
    for number in 1..=65 {
        assert!(!may_load(&mut backlog, id, "k:2"), "page {number}");
        assert_eq!(backlog.page_received(load), Some(id));
        backlog.page_stored(id, &page(1, b"last"), LoadFigures::default(), 2);
    }
    assert!(may_load(&mut backlog, id, "k:2"));
}

#[test]
fn a_load_goes_on_after_the_last_document_that_was_stored() {
    let options = LoadOptions { limit: 10, ..LoadOptions::default() };
    let (mut backlog, id) = loading(options.clone());
    let load = begin(&mut backlog);
    backlog.page_received(load);
    let mut counts = LoadFigures::default();
    (counts.loaded, counts.kept) = (3, 1);
    assert!(!backlog.page_stored(id, &page(4, b"fourth"), counts, 2));
    assert_eq!(backlog.load_failed(load, ReadFailure::transient("away"), 5), None);
    assert_eq!(backlog.load_runs(load), None);
    assert!(backlog.next_load(5).is_none(), "only after a pause");
    assert_eq!(backlog.loads.get(id).unwrap().figures.error, "away");
    let request = backlog.next_load(2_000_000).unwrap();
    assert_eq!((request.after.as_slice(), request.limit), (&b"fourth"[..], 6));
    backlog.page_received(request.load);
    assert_eq!(backlog.loads.get(id).unwrap().figures.error, "");
    // In another order it begins again.
    backlog.begin_load(id, LoadOptions { sort: b"{}".to_vec(), ..options }).unwrap();
    let load = begin(&mut backlog);
    backlog.page_received(load);
    backlog.page_stored(id, &page(4, b"fourth"), LoadFigures::default(), 2);
    backlog.role_changed(3);
    let request = backlog.next_load(4).unwrap();
    assert_eq!((request.after.as_slice(), request.limit), (&b""[..], 10));
}

#[test]
fn a_load_ends_with_its_last_page_an_error_or_its_registration() {
    let (mut backlog, id) = loading(LoadOptions::default());
    let load = begin(&mut backlog);
    backlog.page_received(load);
    let last = Page { is_last: true, ..page(2, b"") };
    assert!(backlog.page_stored(id, &last, LoadFigures::default(), 2));
    assert_eq!(backlog.loads.get(id).unwrap().figures.documents, 2);
    assert!(!backlog.cancel_load(id), "it has ended");
    backlog.begin_load(id, LoadOptions::default()).unwrap();
    let load = begin(&mut backlog);
    assert_eq!(backlog.load_failed(load, ReadFailure::permanent("no right"), 5), Some(id));
    assert_eq!(backlog.loads.get(id).unwrap().figures.error, "no right");
    backlog.begin_load(id, LoadOptions::default()).unwrap();
    assert!(backlog.cancel_load(id));
    backlog.begin_load(id, LoadOptions::default()).unwrap();
    let load = begin(&mut backlog);
    backlog.unregister(Db(0), b"k:", true, 3);
    assert_eq!((backlog.page_received(load), backlog.loads.pending().count()), (None, 0));
}

#[test]
fn a_load_is_saved_and_another_server_goes_on_with_it() {
    let options = LoadOptions { limit: 10, ..LoadOptions::default() };
    let (mut backlog, id) = loading(options);
    let load = begin(&mut backlog);
    backlog.page_received(load);
    backlog.page_stored(id, &page(4, b"fourth"), LoadFigures::default(), 2);
    let mut other = Backlog::default();
    backlog.save(3, |record| other.load(record, 3));
    other.report(Report::Link(Link::Up), AT, &mut Acknowledged::default());
    let request = other.next_load(4).unwrap();
    assert_eq!((request.after.as_slice(), request.limit), (&b"fourth"[..], 6));
}

#[test]
fn a_key_that_expires_while_documents_are_read_does_not_come_back() {
    let (mut backlog, id) = loading(LoadOptions::default());
    begin(&mut backlog);
    assert!(may_load(&mut backlog, id, "k:1"));
    backlog.removed((Db(0), b"k:1"), ChangeKind::Expired, || false, 1);
    assert!(!may_load(&mut backlog, id, "k:1"));
}

#[test]
fn a_load_follows_other_options_of_its_registration_from_the_beginning() {
    let (mut backlog, id) = loading(LoadOptions::default());
    let load = begin(&mut backlog);
    backlog.page_received(load);
    backlog.page_stored(id, &page(4, b"fourth"), LoadFigures::default(), 2);
    let same = Registration { key_type: KeyType::String, ..registration("k:") };
    backlog.register(same.clone()).unwrap();
    assert_eq!(backlog.load_runs(load), Some(id));
    backlog.register(Registration { key_type: KeyType::Hash, ..same }).unwrap();
    assert_eq!(backlog.load_runs(load), None);
    let request = backlog.next_load(3).unwrap();
    assert_eq!(
        (request.after.as_slice(), request.registration.key_type),
        (&b""[..], KeyType::Hash)
    );
}

#[test]
fn two_loads_run_at_a_time() {
    let (mut backlog, _) = loading(LoadOptions::default());
    for prefix in ["l:", "m:"] {
        let registration = Registration { key_type: KeyType::String, ..registration(prefix) };
        let id = backlog.register(registration).unwrap();
        backlog.begin_load(id, LoadOptions::default()).unwrap();
    }
    let loads = [begin(&mut backlog), begin(&mut backlog)];
    assert!(backlog.next_load(1).is_none());
    assert_eq!(backlog.loads_due_us(), u64::MAX);
    let id = backlog.load_runs(loads[0]).unwrap();
    backlog.end_load(id, None);
    begin(&mut backlog);
}

#[test]
fn a_time_to_live_that_would_delete_the_documents_is_refused() {
    let (mut backlog, _) = loading(LoadOptions::default());
    let registration = Registration {
        key_type: KeyType::String,
        on_expire: OnRemoval::Delete,
        ..registration("x:")
    };
    let id = backlog.register(registration).unwrap();
    let options = LoadOptions { ttl_s: 60, ..LoadOptions::default() };
    assert!(backlog.begin_load(id, options).unwrap_err().contains("ONEXPIRE DELETE"));
    backlog.begin_load(id, LoadOptions::default()).unwrap();
}
