use super::*;
use crate::core::backlog::KeyState;
use crate::core::ids::Db;
use crate::core::registration::args;

/// `b:` excludes keys that end with `x`; the empty prefix is registered, too.
fn excluding() -> Backlog {
    let mut backlog = backlog(&["", "a:"]);
    let words: [&[u8]; 5] = [b"b:", b"d.b", b"EXCLUDE", b"1", b"*x"];
    backlog.register(args::register(Db(0), &words).unwrap().0).unwrap();
    backlog
}

#[test]
fn an_excluded_key_belongs_to_no_registration() {
    let mut backlog = excluding();
    let id = backlog.registry.find_live(Db(0), b"b:").unwrap();
    assert_eq!(backlog.registry.route(Db(0), b"b:1"), Some(id));
    assert_eq!(backlog.registry.route(Db(0), b"b:x"), None);
    assert_eq!(backlog.registry.route(Db(0), b"a:x"), backlog.registry.find_live(Db(0), b"a:"));
    assert!(
        backlog.registry.is_excluded(Db(0), b"b:x") && !backlog.registry.is_excluded(Db(0), b"b:1")
    );
    for key in ["b:1", "b:x", "b:1x"] {
        change(&mut backlog, key, 1);
        assert!(!backlog.must_retain(Db(0), b"b:x", ChangeKind::Expired, 1));
        assert!(!backlog.removed((Db(0), b"b:x"), ChangeKind::Expired, || false, 1));
    }
    assert_eq!(backlog.dirty_len(), 1);
    assert_eq!(backlog.explain(Db(0), b"b:x", 1).state, KeyState::NotRegistered);
    assert!(backlog.is_scanned(id, b"b:1") && !backlog.is_scanned(id, b"b:x"));
}

#[test]
fn a_draining_registration_has_no_excluded_keys() {
    let mut backlog = excluding();
    let id = backlog.registry.find_live(Db(0), b"b:").unwrap();
    change(&mut backlog, "b:1", 1);
    backlog.unregister(Db(0), b"b:", false, 2);
    assert!(backlog.is_scanned(id, b"b:1") && !backlog.is_scanned(id, b"b:x"));
    // Without the registration the keys belong to the shorter prefix.
    assert_eq!(backlog.registry.route(Db(0), b"b:x"), backlog.registry.find_live(Db(0), b""));
}
