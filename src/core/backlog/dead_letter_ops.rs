//! Operations on dead letters: refusal, retry, drop, and how replicas apply them.

use super::Backlog;
use crate::core::backlog::change_log::ChangeKind;
use crate::core::backlog::dead_letters::DeadLetter;
use crate::core::backlog::table::{DirtyKey, Taken};
use crate::core::delivery::batch::{Batch, Item, Refusal};
use crate::core::ids::{Db, RegistrationId};

const VALUE_IS_GONE: &str = "the key was removed from Redis, and with it the refused value";

/// A selection of dead letters.
#[derive(Clone, Copy, Debug)]
pub enum LetterScope<'a> {
    /// Dead letters of all databases.
    All,
    /// Dead letters of one registration.
    Registration(RegistrationId),
    /// The dead letter of one key in one database.
    Key(Db, &'a [u8]),
}

/// A new dead letter as it is propagated to replicas and the AOF.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// Logical database.
    pub db: Db,
    /// The key.
    pub key: Vec<u8>,
    /// Prefix of the registration.
    pub prefix: Vec<u8>,
    /// The dead letter without its value: replicas have retained it themselves.
    pub letter: DeadLetter,
    /// True if the key has changed since it was read, and so is still dirty.
    pub again: bool,
}

impl Backlog {
    /// The dead letters of `id`, or all dead letters, sorted by database and key.
    pub fn letters(
        &self,
        id: Option<RegistrationId>,
    ) -> impl Iterator<Item = (Db, &[u8], &DeadLetter)> {
        self.dead
            .iter()
            .filter(move |(.., letter)| id.is_none_or(|id| letter.registration_id == id))
    }

    /// Makes the keys of dead letters dirty and due immediately, and returns their number. A dead
    /// letter is kept until a write of its key succeeds. For a key that is already dirty because of
    /// a later change, the latest value is written.
    pub fn retry(&mut self, scope: LetterScope<'_>, now_us: u64) -> usize {
        self.fold(now_us);
        // After all flushes and changes so far.
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
                    group: None,
                });
            }
            self.dirty.hasten(*db, key);
        }
        self.changed |= !keys.is_empty();
        keys.len()
    }

    /// Drops dead letters and returns their number.
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

    /// Applies a dead letter from the replication stream or the AOF. Unless the key has changed
    /// again, it becomes clean, and its retained value moves to the dead letter.
    pub(super) fn apply_dead_letter(&mut self, refused: Refused) {
        let Refused { db, key, prefix, mut letter, again } = refused;
        let mut left = None;
        if !again && let Some((id, kind, retained)) = self.dirty.take_out(db, &key) {
            (letter.kind, letter.retained) = (kind, retained);
            left = Some(id);
        }
        // If the prefix was unregistered with DISCARD meanwhile, the dead letter is dropped.
        if let Some(id) = self.registry.find(db, &prefix) {
            letter.registration_id = id;
            self.keep_letter(db, &key, letter);
        }
        if let Some(id) = left {
            self.retire_if_done(id);
        }
    }

    /// Creates a dead letter for an item that was refused after `tries` attempts. Must be called
    /// before the item is acknowledged.
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
        let propagated = letter.without_value();
        self.keep_letter(db, key, letter);
        self.has_letter(id, key);
        self.read_refused(db, key);
        let prefix = batch.registration.prefix.clone();
        Refused { db, key: key.to_vec(), prefix, letter: propagated, again }
    }

    /// A retried key no longer needs a write. If the value of its dead letter is lost, the dead
    /// letter is kept with that reason; if the dead letter is outdated, it is removed.
    pub(super) fn expire_retried_letter(
        &mut self,
        taken: &Taken,
        db: Db,
        key: &[u8],
    ) -> Option<Refused> {
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

    /// MongoDB acknowledged a write of a key in a batch of `id`: removes its dead letter; false if
    /// there is none.
    pub(super) fn resolve_dead_letter(&mut self, id: RegistrationId, db: Db, key: &[u8]) -> bool {
        let earlier = self.dead.remove(db, key);
        // The registration of the batch is checked after all its items were counted.
        if let Some(earlier) = earlier.filter(|earlier| *earlier != id) {
            self.retire_if_done(earlier);
        }
        earlier.is_some()
    }

    /// Removes the dead letter of a key that MongoDB has in a newer state; false if there is none.
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
