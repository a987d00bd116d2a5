//! Dead letters: changes that can never be written as they are. They hold up nobody and stay
//! until a newer write of the key succeeds or somebody drops them.

use std::collections::BTreeMap;

/// Why the last change of a key is not in MongoDB.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadLetter {
    /// Slot of the registration.
    pub slot: u16,
    /// MongoDB's error code; 0 when the change was refused before it was sent.
    pub code: i32,
    /// One sentence; never a value.
    pub reason: String,
    /// How often it was tried.
    pub attempts: u32,
    /// When it was tried last, milliseconds since 1970.
    pub unix_ms: u64,
}

/// Dead letters by database and key.
#[derive(Debug, Default)]
pub struct DeadLetters {
    letters: BTreeMap<(u16, Vec<u8>), DeadLetter>,
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

    /// Keeps `letter`, in place of an earlier one of the same key.
    pub fn replace(&mut self, db: u16, key: &[u8], letter: DeadLetter) {
        self.letters.insert((db, key.to_vec()), letter);
    }

    /// Forgets the dead letter of `key`.
    pub fn remove(&mut self, db: u16, key: &[u8]) -> bool {
        // Nearly always there is none, and then no key need be copied to look.
        !self.is_empty() && self.letters.remove(&(db, key.to_vec())).is_some()
    }

    /// The dead letter of `key`.
    pub fn find(&self, db: u16, key: &[u8]) -> Option<&DeadLetter> {
        if self.is_empty() {
            return None;
        }
        self.letters.get(&(db, key.to_vec()))
    }

    /// Dead letters of one registration.
    pub fn count(&self, slot: u16) -> usize {
        self.letters.values().filter(|letter| letter.slot == slot).count()
    }

    /// Every dead letter with its database and key.
    pub fn iter(&self) -> impl Iterator<Item = (u16, &[u8], &DeadLetter)> {
        self.letters.iter().map(|((db, key), letter)| (*db, key.as_slice(), letter))
    }

    /// Forgets all dead letters of one registration.
    pub fn remove_slot(&mut self, slot: u16) {
        self.letters.retain(|_, letter| letter.slot != slot);
    }

    /// Bytes of memory held, about.
    pub fn memory_bytes(&self) -> usize {
        let each = size_of::<((u16, Vec<u8>), DeadLetter)>();
        self.letters.iter().map(|((_, key), letter)| each + key.len() + letter.reason.len()).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn letter(slot: u16) -> DeadLetter {
        DeadLetter { slot, code: 121, reason: "r".to_owned(), attempts: 1, unix_ms: 5 }
    }

    #[test]
    fn a_key_has_one_letter() {
        let mut letters = DeadLetters::default();
        letters.replace(0, b"k", letter(1));
        letters.replace(0, b"k", letter(1));
        letters.replace(1, b"k", letter(2));
        assert_eq!(letters.len(), 2);
        assert_eq!((letters.count(1), letters.count(2)), (1, 1));
    }

    #[test]
    fn letters_go_one_by_one_or_by_registration() {
        let mut letters = DeadLetters::default();
        letters.replace(0, b"a", letter(1));
        letters.replace(0, b"b", letter(1));
        letters.replace(0, b"c", letter(2));
        assert!(letters.remove(0, b"a"));
        assert!(!letters.remove(0, b"a"));
        letters.remove_slot(1);
        assert_eq!(letters.len(), 1);
        assert!(letters.find(0, b"b").is_none());
    }
}
