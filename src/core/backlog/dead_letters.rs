//! Dead letters: changes that MongoDB permanently refuses. They delay no other key, and are kept
//! until a later write of the key succeeds or the operator drops them.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use super::change_log::ChangeKind;
use super::table::RetainedValue;
use crate::core::ids::{Db, RegistrationId};

/// MongoDB's error code DuplicateKey.
pub const DUPLICATE_KEY: i32 = 11_000;

/// A contested dead letter by registration, database and key.
pub type ContestedLetter = (RegistrationId, Db, Vec<u8>);

/// Why the last change of a key was not written, and what a retry needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadLetter {
    /// Id of the registration.
    pub registration_id: RegistrationId,
    /// MongoDB's error code; 0 when the change was refused before it was sent.
    pub code: i32,
    /// One sentence; never a value.
    pub reason: String,
    /// Number of attempts.
    pub attempts: u32,
    /// Time of the last attempt, milliseconds since 1970.
    pub unix_ms: u64,
    /// The last kind of change of the key: a deletion is retried as a deletion.
    pub kind: ChangeKind,
    /// The retained value, if the key was removed from Redis; `None` during a retry, when the value
    /// is in the dirty table.
    pub retained: Option<RetainedValue>,
}

impl DeadLetter {
    /// True if the value exists only in Redis, so that it must be retained before its key is removed.
    pub fn is_unretained(&self) -> bool {
        self.kind.may_hold_value() && self.retained.is_none()
    }

    /// A copy without the value, which may be large.
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
    /// Number of dead letters of each registration.
    counts: Vec<usize>,
    /// Number of dead letters of each code; no entry is 0.
    codes: BTreeMap<i32, usize>,
    /// Contested dead letters, which a unique index refused: a later attempt may succeed.
    contested: BTreeSet<ContestedLetter>,
    /// Number of contested dead letters of each registration; no entry is 0.
    contested_counts: BTreeMap<RegistrationId, usize>,
    bytes: usize,
}

impl DeadLetters {
    /// Number of dead letters.
    pub fn len(&self) -> usize {
        self.letters.len()
    }

    /// True if there are none.
    pub fn is_empty(&self) -> bool {
        self.letters.is_empty()
    }

    /// Adds `letter`. Returns the registration of an earlier dead letter of the key, which is
    /// replaced.
    pub fn replace(&mut self, db: Db, key: &[u8], letter: DeadLetter) -> Option<RegistrationId> {
        let id = usize::from(letter.registration_id);
        if self.counts.len() <= id {
            self.counts.resize(id + 1, 0);
        }
        self.counts[id] += 1;
        self.bytes += letter.bytes(key);
        *self.codes.entry(letter.code).or_default() += 1;
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

    /// Removes the dead letter of `key` and returns its registration.
    pub fn remove(&mut self, db: Db, key: &[u8]) -> Option<RegistrationId> {
        // In the common case there are none, and the key need not be copied for the look-up.
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

    /// Retains the value of a key before its removal; false if the key has no dead letter.
    pub fn retain_value(&mut self, db: Db, key: &[u8], value: RetainedValue) -> bool {
        let found = self.change(db, key, |letter| {
            letter.kind = ChangeKind::Retained;
            letter.retained = Some(value);
        });
        found.is_some()
    }

    /// Updates the dead letter of a key that was marked as possibly deleted, but was not.
    pub fn was_not_deleted(&mut self, db: Db, key: &[u8]) {
        self.change(db, key, |letter| {
            if letter.kind == ChangeKind::MaybeDeleted {
                letter.kind = ChangeKind::Changed;
            }
        });
    }

    /// Takes the retained value of `key` out of its dead letter.
    pub fn take_retained(&mut self, db: Db, key: &[u8]) -> Option<RetainedValue> {
        self.change(db, key, |letter| letter.retained.take())?
    }

    /// Number of dead letters of one registration.
    pub fn count(&self, id: RegistrationId) -> usize {
        self.counts.get(usize::from(id)).copied().unwrap_or(0)
    }

    /// The codes of the dead letters, ascending, each with their number.
    pub fn codes(&self) -> impl Iterator<Item = (i32, usize)> + '_ {
        self.codes.iter().map(|(code, count)| (*code, *count))
    }

    /// True if any dead letter is contested.
    pub fn has_contested(&self) -> bool {
        !self.contested.is_empty()
    }

    /// The ids of registrations with contested dead letters, each once.
    pub fn contested_ids(&self) -> impl Iterator<Item = RegistrationId> + '_ {
        self.contested_counts.keys().copied()
    }

    /// Number of contested dead letters of `id`.
    pub fn contested_count(&self, id: RegistrationId) -> usize {
        self.contested_counts.get(&id).copied().unwrap_or(0)
    }

    /// The contested dead letters of `id` after `last`, sorted by database and key.
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

    /// All dead letters with their databases and keys, sorted by these.
    pub fn iter(&self) -> impl Iterator<Item = (Db, &[u8], &DeadLetter)> {
        self.letters.iter().map(|((db, key), letter)| (*db, key.as_slice(), letter))
    }

    /// Database and key of the first dead letter from `from` on.
    pub fn next_from(&self, from: Bound<(Db, Vec<u8>)>) -> Option<(Db, Vec<u8>)> {
        self.letters.range((from, Bound::Unbounded)).next().map(|(key, _)| key.clone())
    }

    /// Removes all dead letters of one registration.
    pub fn remove_registration(&mut self, id: RegistrationId) {
        if self.count(id) == 0 {
            return;
        }
        let DeadLetters { letters, bytes, codes, .. } = self;
        letters.retain(|(_, key), letter| {
            let stays = letter.registration_id != id;
            if !stays {
                *bytes -= letter.bytes(key);
                uncount_code(codes, letter.code);
            }
            stays
        });
        self.contested.retain(|(of, ..)| *of != id);
        self.contested_counts.remove(&id);
        self.counts[usize::from(id)] = 0;
    }

    /// Approximate memory in bytes.
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
        uncount_code(&mut self.codes, letter.code);
        self.counts[usize::from(letter.registration_id)] -= 1;
        letter.registration_id
    }
}

fn uncount_code(codes: &mut BTreeMap<i32, usize>, code: i32) {
    let count = codes.entry(code).or_default();
    *count = count.saturating_sub(1);
    if *count == 0 {
        codes.remove(&code);
    }
}

#[cfg(test)]
mod tests;
