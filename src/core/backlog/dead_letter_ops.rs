//! Dead letters at work: what is refused, retried and dropped.

use super::Backlog;
use crate::core::backlog::change_log::ChangeKind;
use crate::core::backlog::dead_letters::DeadLetter;
use crate::core::backlog::table::{DirtyKey, Taken};
use crate::core::delivery::batch::{Batch, Item, Refusal};
use crate::core::ids::{Db, RegistrationId};

const VALUE_IS_GONE: &str = "the key is gone from Redis, and with it the value that was refused";

/// Which dead letters are meant.
#[derive(Clone, Copy, Debug)]
pub enum LetterScope<'a> {
    /// Those of all databases.
    All,
    /// Those of one registration.
    Registration(RegistrationId),
    /// That of one key of one database.
    Key(Db, &'a [u8]),
}

/// A change that was refused, as it is propagated to replicas and the AOF.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// Logical database.
    pub db: Db,
    /// The key.
    pub key: Vec<u8>,
    /// Prefix of the registration.
    pub prefix: Vec<u8>,
    /// Why. It holds no value: replicas have that themselves.
    pub letter: DeadLetter,
    /// True when the key has changed since, and so is dirty still.
    pub again: bool,
}

impl Backlog {
    /// The dead letters of `id`, or all of them, by database and key.
    pub fn letters(
        &self,
        id: Option<RegistrationId>,
    ) -> impl Iterator<Item = (Db, &[u8], &DeadLetter)> {
        self.dead
            .iter()
            .filter(move |(.., letter)| id.is_none_or(|id| letter.registration_id == id))
    }

    /// Makes the keys of dead letters dirty and due at once; their number. A letter stays until a
    /// write of its key succeeds. A key that has changed meanwhile is dirty already, and its
    /// newest value is what is written.
    pub fn retry(&mut self, scope: LetterScope<'_>, now_us: u64) -> usize {
        self.fold(now_us);
        // Later than every flush and change until now.
        let since_us = self.dirty.watermark_us(now_us);
        let keys = self.letter_keys(scope);
        for (db, key) in &keys {
            if self.dirty.kind_of(*db, key).is_none() {
                let retained = self.dead.take_retained(*db, key);
                let Some(letter) = self.dead.find(*db, key) else { continue };
                let DeadLetter { registration_id: id, kind, .. } = *letter;
                let retained = retained.as_ref();
                self.dirty.load(DirtyKey {
                    db: *db,
                    registration_id: id,
                    kind,
                    since_us,
                    key,
                    retained,
                });
            }
            self.dirty.hasten(*db, key);
        }
        self.changed |= !keys.is_empty();
        keys.len()
    }

    /// Forgets dead letters; their number.
    pub fn drop_letters(&mut self, scope: LetterScope<'_>) -> usize {
        let keys = self.letter_keys(scope);
        self.changed |= !keys.is_empty();
        for (db, key) in &keys {
            if let Some(id) = self.dead.remove(*db, key) {
                self.retire_if_done(id);
            }
        }
        keys.len()
    }

    /// What the master, or the AOF, says of a refused change. Unless it has changed again, the
    /// key is clean now, and its retained value goes into the letter.
    pub(super) fn apply_dead_letter(&mut self, refused: Refused) {
        let Refused { db, key, prefix, mut letter, again } = refused;
        let mut left = None;
        if !again && let Some((id, kind, retained)) = self.dirty.take_out(db, &key) {
            (letter.kind, letter.retained) = (kind, retained);
            left = Some(id);
        }
        // Unregistered with DISCARD meanwhile, it has no letters any more.
        if let Some(id) = self.registry.find(db, &prefix) {
            letter.registration_id = id;
            self.keep_letter(db, &key, letter);
        }
        if let Some(id) = left {
            self.retire_if_done(id);
        }
    }

    /// An item is refused after so many attempts: its key gets a dead letter. Call it before the
    /// item is acknowledged.
    pub(super) fn refuse(
        &mut self,
        batch: &Batch,
        item: &Item,
        refusal: Refusal,
        unix_ms: u64,
        tries: u32,
    ) -> Refused {
        let Refusal { code, reason, .. } = refusal;
        let (db, key) = (batch.registration.db, batch.key(item));
        let read = self.dirty.refused(item.entry, item.version);
        let again = read.is_none();
        let (kind, retained) = read.unwrap_or((ChangeKind::Changed, None));
        let id = batch.registration_id;
        let attempts = self.dead.find(db, key).map_or(0, |earlier| earlier.attempts);
        let attempts = attempts.saturating_add(tries);
        let letter =
            DeadLetter { registration_id: id, code, reason, attempts, unix_ms, kind, retained };
        let told = letter.without_value();
        self.keep_letter(db, key, letter);
        self.has_letter(id, key);
        let prefix = batch.registration.prefix.clone();
        Refused { db, key: key.to_vec(), prefix, letter: told, again }
    }

    /// A retried key has nothing to be written any more. A letter whose value is lost stays, and
    /// says so; one that is out of date goes.
    pub(super) fn skip_letter(&mut self, taken: &Taken, db: Db, key: &[u8]) -> Option<Refused> {
        let is_lost = matches!(taken.kind, ChangeKind::Changed | ChangeKind::Retained);
        let Some(earlier) = self.dead.find(db, key).filter(|_| is_lost) else {
            self.clear_letter(db, key);
            return None;
        };
        let letter = DeadLetter {
            code: 0,
            reason: VALUE_IS_GONE.to_owned(),
            attempts: earlier.attempts.saturating_add(1),
            retained: None,
            ..*earlier
        };
        let prefix = self.active(letter.registration_id)?.registration.prefix.clone();
        self.has_letter(letter.registration_id, key);
        self.count(letter.registration_id, |counters| counters.failed_total += 1);
        self.dead.replace(db, key, letter.without_value());
        Some(Refused { db, key: key.to_vec(), prefix, letter, again: false })
    }

    /// MongoDB took a change of a key, with a batch of `id`: its letter goes; false when there
    /// is none.
    pub(super) fn resolve_dead_letter(&mut self, id: RegistrationId, db: Db, key: &[u8]) -> bool {
        let earlier = self.dead.remove(db, key);
        // The batch's own id is looked at when all its items are counted.
        if let Some(earlier) = earlier.filter(|earlier| *earlier != id) {
            self.retire_if_done(earlier);
        }
        earlier.is_some()
    }

    /// Forgets the letter of a key that MongoDB has in a newer state; false when there is none.
    pub(super) fn clear_letter(&mut self, db: Db, key: &[u8]) -> bool {
        let id = self.dead.remove(db, key);
        if let Some(id) = id {
            self.retire_if_done(id);
        }
        id.is_some()
    }

    fn keep_letter(&mut self, db: Db, key: &[u8], letter: DeadLetter) {
        let id = letter.registration_id;
        let earlier = self.dead.replace(db, key, letter);
        self.watch_letter(db, key);
        if let Some(earlier) = earlier.filter(|earlier| *earlier != id) {
            self.retire_if_done(earlier);
        }
    }

    fn letter_keys(&self, scope: LetterScope<'_>) -> Vec<(Db, Vec<u8>)> {
        let id = match scope {
            LetterScope::All => None,
            LetterScope::Registration(id) => Some(id),
            LetterScope::Key(db, key) => {
                return self.dead.find(db, key).map(|_| (db, key.to_vec())).into_iter().collect();
            }
        };
        self.letters(id).map(|(db, key, _)| (db, key.to_vec())).collect()
    }
}
