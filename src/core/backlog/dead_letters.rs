//! Dead letters: changes that can never be written as they are. They delay no other key and
//! stay until a newer write of the key succeeds or the operator drops them.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use super::change_log::ChangeKind;
use super::table::RetainedValue;
use crate::core::ids::{Db, RegistrationId};

/// MongoDB's code of a duplicate in a unique index.
pub const DUPLICATE_KEY: i32 = 11_000;

/// A letter by registration, database and key.
pub type ContestedLetter = (RegistrationId, Db, Vec<u8>);

/// Why the last change of a key is not in MongoDB, and what a retry needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadLetter {
    /// ActiveRegistration of the registration.
    pub registration_id: RegistrationId,
    /// MongoDB's error code; 0 when the change was refused before it was sent.
    pub code: i32,
    /// One sentence; never a value.
    pub reason: String,
    /// How often it was tried.
    pub attempts: u32,
    /// When it was tried last, milliseconds since 1970.
    pub unix_ms: u64,
    /// How the key was touched last: a deletion is retried as one.
    pub kind: ChangeKind,
    /// The value, when Redis does not have it any more. Nothing while a retry is under way: then
    /// it stands in the dirty set.
    pub retained: Option<RetainedValue>,
}

impl DeadLetter {
    /// True if the value is in Redis alone, so that it must be copied before its key goes away.
    pub fn is_unretained(&self) -> bool {
        self.kind.may_hold_value() && self.retained.is_none()
    }

    /// The same without the value, which may be large.
    pub fn without_value(&self) -> DeadLetter {
        DeadLetter { retained: None, reason: self.reason.clone(), ..*self }
    }

    fn bytes(&self, key: &[u8]) -> usize {
        let retained = self.retained.as_ref().map_or(0, |retained| retained.bytes.len());
        let contested = match self.code {
            DUPLICATE_KEY => size_of::<ContestedLetter>() + key.len(),
            _ => 0,
        };
        let letter = size_of::<((Db, Vec<u8>), DeadLetter)>() + key.len() + self.reason.len();
        letter + retained + contested
    }
}

/// Dead letters by database and key.
#[derive(Debug, Default)]
pub struct DeadLetters {
    letters: BTreeMap<(Db, Vec<u8>), DeadLetter>,
    /// How many each registration has.
    counts: Vec<usize>,
    /// Those that a unique index refused: what it refuses today it may take tomorrow.
    contested: BTreeSet<ContestedLetter>,
    /// How many of them each registration has; none has 0.
    contested_counts: BTreeMap<RegistrationId, usize>,
    bytes: usize,
}

impl DeadLetters {
    /// Number of dead letters.
    pub fn len(&self) -> usize {
        self.letters.len()
    }

    /// True when there are none.
    pub fn is_empty(&self) -> bool {
        self.letters.is_empty()
    }

    /// Keeps `letter`, in place of an earlier one of the same key, whose registration is returned.
    pub fn replace(&mut self, db: Db, key: &[u8], letter: DeadLetter) -> Option<RegistrationId> {
        let id = usize::from(letter.registration_id);
        if self.counts.len() <= id {
            self.counts.resize(id + 1, 0);
        }
        self.counts[id] += 1;
        self.bytes += letter.bytes(key);
        let contested =
            (letter.code == DUPLICATE_KEY).then(|| (letter.registration_id, db, key.to_vec()));
        let earlier = self.letters.insert((db, key.to_vec()), letter);
        let earlier = earlier.map(|earlier| self.uncount(db, key, &earlier));
        if let Some(contested) = contested {
            *self.contested_counts.entry(contested.0).or_default() += 1;
            self.contested.insert(contested);
        }
        earlier
    }

    /// Forgets the dead letter of `key`, whose registration is returned.
    pub fn remove(&mut self, db: Db, key: &[u8]) -> Option<RegistrationId> {
        // Nearly always there is none, and then no key need be copied to look.
        if self.is_empty() {
            return None;
        }
        let letter = self.letters.remove(&(db, key.to_vec()))?;
        Some(self.uncount(db, key, &letter))
    }

    /// The dead letter of `key`.
    pub fn find(&self, db: Db, key: &[u8]) -> Option<&DeadLetter> {
        if self.is_empty() {
            return None;
        }
        self.letters.get(&(db, key.to_vec()))
    }

    /// Keeps the value of a key that goes away; false when the key has no letter.
    pub fn retain_value(&mut self, db: Db, key: &[u8], value: RetainedValue) -> bool {
        let found = self.change(db, key, |letter| {
            letter.kind = ChangeKind::Retained;
            letter.retained = Some(value);
        });
        found.is_some()
    }

    /// A key that was perhaps deleted was not, which its letter tells from now on.
    pub fn was_not_deleted(&mut self, db: Db, key: &[u8]) {
        self.change(db, key, |letter| {
            if letter.kind == ChangeKind::MaybeDeleted {
                letter.kind = ChangeKind::Changed;
            }
        });
    }

    /// The retained value of `key`, which leaves its letter.
    pub fn take_retained(&mut self, db: Db, key: &[u8]) -> Option<RetainedValue> {
        self.change(db, key, |letter| letter.retained.take())?
    }

    /// Dead letters of one registration.
    pub fn count(&self, id: RegistrationId) -> usize {
        self.counts.get(usize::from(id)).copied().unwrap_or(0)
    }

    /// True when a unique index refused one of them.
    pub fn has_contested(&self) -> bool {
        !self.contested.is_empty()
    }

    /// The ids of the letters that a unique index refused, each once.
    pub fn contested_ids(&self) -> impl Iterator<Item = RegistrationId> + '_ {
        self.contested_counts.keys().copied()
    }

    /// How many letters of `id` a unique index refused.
    pub fn contested_count(&self, id: RegistrationId) -> usize {
        self.contested_counts.get(&id).copied().unwrap_or(0)
    }

    /// The letters of `id` that a unique index refused and that stand behind `last`, by
    /// database and key.
    pub fn contested_after(
        &self,
        id: RegistrationId,
        last: Option<&ContestedLetter>,
    ) -> impl Iterator<Item = &ContestedLetter> {
        let first = (id, Db(0), Vec::new());
        let from = match last.filter(|last| last.0 == id) {
            Some(last) => Bound::Excluded(last),
            None => Bound::Included(&first),
        };
        let letters = self.contested.range::<ContestedLetter, _>((from, Bound::Unbounded));
        letters.take_while(move |(of, ..)| *of == id)
    }

    /// The first dead letter of the registration `id`, whose keys begin with `prefix`.
    pub fn first_of(&self, id: RegistrationId, db: Db, prefix: &[u8]) -> Option<&DeadLetter> {
        let from = self.letters.range((db, prefix.to_vec())..);
        from.map(|(_, letter)| letter).find(|letter| letter.registration_id == id)
    }

    /// Every dead letter with its database and key, in that order.
    pub fn iter(&self) -> impl Iterator<Item = (Db, &[u8], &DeadLetter)> {
        self.letters.iter().map(|((db, key), letter)| (*db, key.as_slice(), letter))
    }

    /// Database and key of the first dead letter from there on.
    pub fn next_from(&self, from: Bound<(Db, Vec<u8>)>) -> Option<(Db, Vec<u8>)> {
        self.letters.range((from, Bound::Unbounded)).next().map(|(key, _)| key.clone())
    }

    /// Forgets all dead letters of one registration.
    pub fn remove_registration(&mut self, id: RegistrationId) {
        if self.count(id) == 0 {
            return;
        }
        let bytes = &mut self.bytes;
        self.letters.retain(|(_, key), letter| {
            let stays = letter.registration_id != id;
            *bytes -= if stays { 0 } else { letter.bytes(key) };
            stays
        });
        self.contested.retain(|(of, ..)| *of != id);
        self.contested_counts.remove(&id);
        self.counts[usize::from(id)] = 0;
    }

    /// Bytes of memory held, about.
    pub fn memory_bytes(&self) -> usize {
        self.bytes
    }

    fn change<T>(
        &mut self,
        db: Db,
        key: &[u8],
        change: impl FnOnce(&mut DeadLetter) -> T,
    ) -> Option<T> {
        if self.is_empty() {
            return None;
        }
        let letter = self.letters.get_mut(&(db, key.to_vec()))?;
        self.bytes -= letter.bytes(key);
        let result = change(letter);
        self.bytes += letter.bytes(key);
        Some(result)
    }

    fn uncount(&mut self, db: Db, key: &[u8], letter: &DeadLetter) -> RegistrationId {
        if letter.code == DUPLICATE_KEY {
            self.contested.remove(&(letter.registration_id, db, key.to_vec()));
            let count = self.contested_counts.entry(letter.registration_id).or_default();
            *count = count.saturating_sub(1);
            if *count == 0 {
                self.contested_counts.remove(&letter.registration_id);
            }
        }
        self.bytes -= letter.bytes(key);
        self.counts[usize::from(letter.registration_id)] -= 1;
        letter.registration_id
    }
}

#[cfg(test)]
mod tests {
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
    fn a_key_has_one_letter() {
        let mut letters = DeadLetters::default();
        assert_eq!(letters.replace(Db(0), b"k", letter(RegistrationId(1))), None);
        assert_eq!(
            letters.replace(Db(0), b"k", letter(RegistrationId(1))),
            Some(RegistrationId(1))
        );
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
        assert_eq!(
            letters.replace(Db(1), b"k", letter(RegistrationId(1))),
            Some(RegistrationId(2))
        );
        assert_eq!((letters.count(RegistrationId(1)), letters.count(RegistrationId(2))), (2, 0));
    }

    #[test]
    fn letters_go_one_by_one_or_by_registration() {
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
    fn a_value_is_captured_once_and_taken_once() {
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
    fn letters_of_a_unique_index_are_found_by_registration() {
        let mut letters = DeadLetters::default();
        let contested = |id| DeadLetter { code: DUPLICATE_KEY, ..letter(id) };
        letters.replace(Db(0), b"a", letter(RegistrationId(1)));
        assert!(!letters.has_contested());
        for (db, key, id) in [(0, b"b", 1), (1, b"a", 1), (0, b"c", 3), (0, b"d", 1)] {
            letters.replace(Db(db), key, contested(RegistrationId(id)));
        }
        assert_eq!(
            letters.contested_ids().collect::<Vec<_>>(),
            [RegistrationId(1), RegistrationId(3)]
        );
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
            (
                letters.contested_count(RegistrationId(1)),
                letters.contested_count(RegistrationId(3))
            ),
            (2, 0)
        );
        assert_eq!(letters.contested_ids().collect::<Vec<_>>(), [RegistrationId(1)]);
        letters.remove_registration(RegistrationId(1));
        assert!(!letters.has_contested());
        assert_eq!(letters.memory_bytes(), 0);
    }

    #[test]
    fn memory_is_counted_and_given_back() {
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
}
