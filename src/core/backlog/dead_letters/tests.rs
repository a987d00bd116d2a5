//! Tests of the dead letters.

use super::*;
use crate::core::mapping::value::Content;

fn letter(id: RegistrationId) -> DeadLetter {
    DeadLetter {
        registration_id: id,
        code: 121,
        reason: "r".to_owned(),
        attempts: 1,
        unix_ms: 5,
        kind: ChangeKind::Changed,
        retained: None,
    }
}

fn value(bytes: &[u8]) -> RetainedValue {
    RetainedValue { content: Content::String, expire_ms: -1, bytes: bytes.into() }
}

#[test]
fn a_key_has_at_most_one_dead_letter() {
    let mut letters = DeadLetters::default();
    assert_eq!(letters.replace(Db(0), b"k", letter(RegistrationId(1))), None);
    assert_eq!(letters.replace(Db(0), b"k", letter(RegistrationId(1))), Some(RegistrationId(1)));
    letters.replace(Db(1), b"k", letter(RegistrationId(2)));
    assert_eq!(letters.len(), 2);
    assert_eq!(
        (
            letters.count(RegistrationId(1)),
            letters.count(RegistrationId(2)),
            letters.count(RegistrationId(9))
        ),
        (1, 1, 0)
    );
    assert_eq!(letters.replace(Db(1), b"k", letter(RegistrationId(1))), Some(RegistrationId(2)));
    assert_eq!((letters.count(RegistrationId(1)), letters.count(RegistrationId(2))), (2, 0));
}

#[test]
fn dead_letters_are_removed_by_key_or_by_registration() {
    let mut letters = DeadLetters::default();
    letters.replace(Db(0), b"a", letter(RegistrationId(1)));
    letters.replace(Db(0), b"b", letter(RegistrationId(1)));
    letters.replace(Db(0), b"c", letter(RegistrationId(2)));
    assert_eq!(letters.remove(Db(0), b"a"), Some(RegistrationId(1)));
    assert_eq!(letters.remove(Db(0), b"a"), None);
    letters.remove_registration(RegistrationId(1));
    assert_eq!((letters.len(), letters.count(RegistrationId(1))), (1, 0));
    assert!(letters.find(Db(0), b"b").is_none());
}

#[test]
fn a_value_is_retained_once_and_taken_once() {
    let mut letters = DeadLetters::default();
    assert!(!letters.retain_value(Db(0), b"k", value(b"v")));
    letters.replace(Db(0), b"k", letter(RegistrationId(1)));
    assert!(letters.find(Db(0), b"k").unwrap().is_unretained());
    assert!(letters.retain_value(Db(0), b"k", value(b"v")));
    assert!(!letters.find(Db(0), b"k").unwrap().is_unretained());
    assert_eq!(letters.take_retained(Db(0), b"k"), Some(value(b"v")));
    assert_eq!(letters.take_retained(Db(0), b"k"), None);
    assert!(!letters.find(Db(0), b"k").unwrap().is_unretained(), "it is being retried");
}

#[test]
fn contested_dead_letters_are_found_by_registration() {
    let mut letters = DeadLetters::default();
    let contested = |id| DeadLetter { code: DUPLICATE_KEY, ..letter(id) };
    letters.replace(Db(0), b"a", letter(RegistrationId(1)));
    assert!(!letters.has_contested());
    for (db, key, id) in [(0, b"b", 1), (1, b"a", 1), (0, b"c", 3), (0, b"d", 1)] {
        letters.replace(Db(db), key, contested(RegistrationId(id)));
    }
    assert_eq!(letters.contested_ids().collect::<Vec<_>>(), [RegistrationId(1), RegistrationId(3)]);
    let all = |letters: &DeadLetters, last: Option<&ContestedLetter>| {
        letters.contested_after(RegistrationId(1), last).cloned().collect::<Vec<_>>()
    };
    let found = all(&letters, None);
    assert_eq!(
        found,
        [(0, b"b"), (0, b"d"), (1, b"a")].map(|(db, key)| (
            RegistrationId(1),
            Db(db),
            key.to_vec()
        ))
    );
    assert_eq!(all(&letters, Some(&found[0])), found[1..]);
    assert_eq!(
        all(&letters, Some(&(RegistrationId(3), Db(0), Vec::new()))),
        found,
        "a cursor of another id"
    );
    assert_eq!(letters.contested_count(RegistrationId(1)), 3);
    letters.replace(Db(0), b"d", letter(RegistrationId(1)));
    letters.remove(Db(0), b"c");
    assert_eq!(
        (letters.contested_count(RegistrationId(1)), letters.contested_count(RegistrationId(3))),
        (2, 0)
    );
    assert_eq!(letters.contested_ids().collect::<Vec<_>>(), [RegistrationId(1)]);
    letters.remove_registration(RegistrationId(1));
    assert!(!letters.has_contested());
    assert_eq!(letters.memory_bytes(), 0);
}

#[test]
fn memory_is_counted() {
    let mut letters = DeadLetters::default();
    letters.replace(Db(0), b"a", letter(RegistrationId(1)));
    let one = letters.memory_bytes();
    letters.replace(Db(0), b"a", letter(RegistrationId(2)));
    assert_eq!(letters.memory_bytes(), one);
    letters.retain_value(Db(0), b"a", value(&[7; 1000]));
    assert_eq!(letters.memory_bytes(), one + 1000);
    letters.replace(
        Db(0),
        b"b",
        DeadLetter { retained: Some(value(&[7; 50])), ..letter(RegistrationId(3)) },
    );
    letters.take_retained(Db(0), b"a");
    assert_eq!(letters.memory_bytes(), 2 * one + 50);
    letters.remove_registration(RegistrationId(3));
    letters.remove(Db(0), b"a");
    assert_eq!(letters.memory_bytes(), 0);
}

#[test]
fn they_are_counted_by_code() {
    let mut letters = DeadLetters::default();
    let coded = |id, code| DeadLetter { code, ..letter(RegistrationId(id)) };
    let codes = |letters: &DeadLetters| letters.codes().collect::<Vec<_>>();
    letters.replace(Db(0), b"a", coded(1, 121));
    letters.replace(Db(0), b"b", coded(1, 0));
    letters.replace(Db(1), b"a", coded(2, 121));
    assert_eq!(codes(&letters), [(0, 1), (121, 2)]);
    letters.replace(Db(0), b"a", coded(1, DUPLICATE_KEY));
    assert_eq!(codes(&letters), [(0, 1), (121, 1), (DUPLICATE_KEY, 1)]);
    letters.remove(Db(1), b"a");
    assert_eq!(codes(&letters), [(0, 1), (DUPLICATE_KEY, 1)]);
    letters.remove_registration(RegistrationId(1));
    assert_eq!(codes(&letters), []);
}
