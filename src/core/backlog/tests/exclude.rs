use super::*;
use crate::core::backlog::KeyState;
use crate::core::registration::args;

/// `b:` leaves out its keys that end with `x`, and `` is registered, too.
fn excluding() -> Engine {
    let mut engine = engine(&["", "a:"]);
    let words: [&[u8]; 5] = [b"b:", b"d.b", b"EXCLUDE", b"1", b"*x"];
    engine.register(args::register(0, &words).unwrap().0).unwrap();
    engine
}

#[test]
fn an_excluded_key_belongs_to_no_registration() {
    let mut engine = excluding();
    let slot = engine.live_slot(0, b"b:").unwrap();
    assert_eq!(engine.route(0, b"b:1"), Some(slot));
    assert_eq!(engine.route(0, b"b:x"), None);
    assert_eq!(engine.route(0, b"a:x"), engine.live_slot(0, b"a:"));
    assert!(engine.is_excluded(0, b"b:x") && !engine.is_excluded(0, b"b:1"));
    for key in ["b:1", "b:x", "b:1x"] {
        touch(&mut engine, key, 1);
        assert!(!engine.must_capture(0, b"b:x", Touch::Expired, 1));
        assert!(!engine.gone(0, b"b:x", Touch::Expired, 1));
    }
    assert_eq!(engine.dirty_len(), 1);
    assert_eq!(engine.explain(0, b"b:x", 1).state, KeyState::NotRegistered);
    assert!(engine.is_scanned(slot, b"b:1") && !engine.is_scanned(slot, b"b:x"));
}

#[test]
fn what_drains_was_never_given_an_excluded_key() {
    let mut engine = excluding();
    let slot = engine.live_slot(0, b"b:").unwrap();
    touch(&mut engine, "b:1", 1);
    engine.unregister(0, b"b:", false, 2);
    assert!(engine.is_scanned(slot, b"b:1") && !engine.is_scanned(slot, b"b:x"));
    // Without the registration they are those of the shorter prefix.
    assert_eq!(engine.route(0, b"b:x"), engine.live_slot(0, b""));
}
