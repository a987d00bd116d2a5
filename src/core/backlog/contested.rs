//! Contested keys: a unique index refused their write because another document has the value.
//!
//! A pending write may free the value. So the key is *parked*: it stays in flight, in no batch. It
//! waits for the keys of the namespace that were dirty at the refusal, which become due immediately;
//! parked keys and keys of paused registrations do not count. Then all parked keys of the namespace
//! are sent together, because two of them may need each other's value. A key becomes a dead letter if
//! it is refused again while no dirty key is left that could free the value, or too often.

mod letter_retry;
mod letters;
mod together;
mod wait;

use std::collections::{HashMap, VecDeque};

use super::Backlog;
use crate::core::delivery::batch::{Batch, Item, Refusal, Written};
use crate::core::ids::{EntryId, RegistrationId, Version};
use crate::core::now::Now;
use crate::core::registration::Namespace;

use self::letter_retry::LetterRetry;
use super::Acknowledged;

/// Maximum number of waits of a key during which no contested key of the namespace was written.
const FRUITLESS: u32 = 3;
/// Maximum number of waits of a key in total.
const WAITS: u32 = 16;

/// Attempts at a contested key.
#[derive(Clone, Copy, Debug, Default)]
struct Attempts {
    /// Total number.
    all: u32,
    /// Number since a contested key of the namespace was written.
    fruitless: u32,
    /// [`Contest::won`] at the last refusal.
    won: u32,
}

/// A contested key in no batch.
#[derive(Clone, Copy, Debug)]
struct Parked {
    entry: EntryId,
    since_us: u64,
    /// The number of the wait that began at or after its refusal.
    wait: u32,
    attempts: Attempts,
    /// True during an automatic retry of its dead letter.
    letter: bool,
}

/// A contested key that was added to a batch again.
#[derive(Clone, Copy, Debug)]
struct Tried {
    /// The version that was read.
    version: Version,
    /// True if its wait has ended.
    waited: bool,
    attempts: Attempts,
    letter: bool,
}

/// Keys of one registration that must be written before a wait ends.
#[derive(Clone, Copy, Debug)]
struct Pending {
    watermark_us: u64,
    keys: usize,
}

/// The contested keys of one namespace.
#[derive(Debug, Default)]
struct Contest {
    /// Number of the current or the last wait.
    wait: u32,
    waiting: bool,
    /// Registrations for whose keys the wait is.
    ids: Vec<RegistrationId>,
    /// Registrations with parked keys.
    parked: Vec<RegistrationId>,
    /// All registrations of the namespace, and the [version](super::registry) of the registry for
    /// which this is valid.
    registrations: (u64, Vec<RegistrationId>),
    /// Number of contested keys that were written.
    won: u32,
    letters: LetterRetry,
}

/// All contested keys, by registration.
#[derive(Debug, Default)]
pub(super) struct ContestedKeys {
    contests: HashMap<Namespace, Contest>,
    /// Number of contests with a wait in progress.
    waiting: usize,
    parked: HashMap<RegistrationId, Vec<Parked>>,
    /// Keys whose wait has ended, to be sent in one batch.
    together: HashMap<RegistrationId, VecDeque<Parked>>,
    pending: HashMap<RegistrationId, Pending>,
    /// By entry.
    tried: HashMap<EntryId, Tried>,
    /// Number of batches that wrote a document.
    writes: u64,
    /// `writes` at the last such batch of each registration.
    last_write: HashMap<RegistrationId, u64>,
    /// `writes` when a batch was sent, by the entry of its first item.
    sent: HashMap<EntryId, u64>,
    /// True if the batch that is being settled wrote a document.
    wrote: bool,
    /// Whether there were dead letters before the batch whose contested items are being settled.
    had_letters: Option<bool>,
    /// True once dead letters are no longer retried automatically: the server is shutting down.
    leaves_letters: bool,
}

impl ContestedKeys {
    /// True if released keys of `id` are to be sent together.
    pub fn is_released(&self, id: RegistrationId) -> bool {
        !self.together.is_empty() && self.together.contains_key(&id)
    }

    /// True if the entry is parked, or released and not sent yet.
    pub fn is_parked(&self, id: RegistrationId, entry: EntryId) -> bool {
        self.parked_of(id).any(|parked| parked.entry == entry)
    }

    /// True if there are none, which is nearly always the case.
    pub fn is_empty(&self) -> bool {
        self.parked.is_empty() && self.together.is_empty()
    }

    /// Takes out a parked or released key of `id`; false if it is neither.
    pub fn release_one(&mut self, id: RegistrationId, entry: EntryId) -> bool {
        let parked = self.parked.get_mut(&id);
        let from_parked = parked.and_then(|parked| {
            let at = parked.iter().position(|parked| parked.entry == entry)?;
            Some(parked.swap_remove(at))
        });
        let released = || {
            let released = self.together.get_mut(&id)?;
            let at = released.iter().position(|parked| parked.entry == entry)?;
            released.remove(at)
        };
        from_parked.or_else(released).is_some()
    }

    /// Since when the oldest parked key of `id`, or of all registrations, is dirty, microseconds.
    pub fn oldest_us(&self, id: Option<RegistrationId>) -> Option<u64> {
        let ids = self.parked.keys().chain(self.together.keys());
        let ids = ids.filter(|of| id.is_none_or(|id| id == **of));
        ids.flat_map(|id| self.parked_of(*id)).map(|parked| parked.since_us).min()
    }

    /// Counts a key of `id`, dirty since `since_us`, that was written, refused or parked;
    /// `again_us` is the time of a newer change.
    #[inline]
    pub fn ended(&mut self, id: RegistrationId, since_us: u64, again_us: Option<u64>) {
        if self.pending.is_empty() {
            return;
        }
        let Some(pending) = self.pending.get_mut(&id) else { return };
        let counted = since_us <= pending.watermark_us;
        let unfinished = again_us.is_some_and(|again_us| again_us <= pending.watermark_us);
        if counted && !unfinished {
            pending.keys = pending.keys.saturating_sub(1);
        }
    }

    /// Must be called before a batch is sent: later writes may free the values of its contested
    /// items.
    pub fn sending(&mut self, batch: &Batch) {
        if let Some(first) = batch.items.first() {
            self.sent.insert(first.entry, self.writes);
        }
    }

    /// The batch that is being settled wrote a document.
    pub fn wrote(&mut self) {
        self.wrote = true;
    }

    /// A batch is settled.
    pub fn batch_ended(&mut self, batch: &Batch) {
        if let Some(first) = batch.items.first() {
            self.sent.remove(&first.entry);
        }
        if std::mem::take(&mut self.wrote) {
            self.writes += 1;
            self.last_write.insert(batch.registration_id, self.writes);
        }
    }

    /// True if other batches of these registrations have written a document since this one was sent.
    fn is_overtaken(&self, batch: &Batch, ids: &[RegistrationId]) -> bool {
        let sent = batch.items.first().and_then(|first| self.sent.get(&first.entry));
        sent.is_some_and(|sent| {
            ids.iter().any(|id| self.last_write.get(id).is_some_and(|at| at > sent))
        })
    }

    /// The key of `entry` no longer needs a write.
    #[inline]
    pub fn forget(&mut self, entry: EntryId) {
        if !self.tried.is_empty() {
            self.tried.remove(&entry);
        }
    }

    /// An item was written: if it was contested, values of other keys of its namespace may be free
    /// now.
    #[inline]
    fn written(&mut self, namespace: &Namespace, item: &Item) {
        if self.tried.is_empty() {
            return;
        }
        if self.tried.remove(&item.entry).is_some()
            && let Some(contest) = self.contests.get_mut(namespace)
        {
            contest.won = contest.won.wrapping_add(1);
        }
    }

    fn parked_of(&self, id: RegistrationId) -> impl Iterator<Item = &Parked> {
        let released = self.together.get(&id).into_iter().flatten();
        self.parked.get(&id).into_iter().flatten().chain(released)
    }

    fn parked_len(&self, id: RegistrationId) -> usize {
        self.parked.get(&id).map_or(0, Vec::len)
    }
}

impl Backlog {
    /// An item is acknowledged.
    #[inline]
    pub(super) fn contested_written(&mut self, batch: &Batch, item: &Item) {
        self.contested.written(&batch.registration.namespace, item);
    }

    /// Settles the next `most` contested items of a batch whose other items are settled: each is
    /// parked or becomes a dead letter. Returns the number of dead letters.
    pub(super) fn settle_contested(
        &mut self,
        batch: &Batch,
        written: &mut Written,
        most: usize,
        now: Now,
        clean: &mut Acknowledged,
    ) -> u64 {
        if self.is_paused(batch.registration_id) {
            // They are sent again when the registration is resumed.
            for refusal in written.contested.drain(..).rev() {
                if let Some(item) = batch.items.get(refusal.index) {
                    self.dirty.requeue_front(item.entry, item.since_us);
                }
            }
            return 0;
        }
        let namespace = &batch.registration.namespace;
        let ids = self.ids_of(namespace);
        // Keys that were dirty when MongoDB refused the item may be written by now.
        let has_rivals = self.has_rivals(&ids, written.contested.len())
            || self.contested.is_overtaken(batch, &ids);
        // Dead letters of this batch do not count.
        let has_letters = match self.contested.had_letters {
            Some(had) => had,
            None => self.has_letters(namespace),
        };
        let most = most.min(written.contested.len());
        let (mut failed, mut parked) = (0, false);
        for refusal in written.contested.drain(..most) {
            let Some(item) = batch.items.get(refusal.index) else { continue };
            let tried = self.contested.tried.remove(&item.entry);
            let tried = tried.filter(|tried| tried.version == item.version);
            let attempts = self.next_attempt(namespace, tried);
            let is_letter = tried.is_some_and(|tried| tried.letter);
            let waits = attempts.fruitless <= FRUITLESS && attempts.all <= WAITS;
            let is_old = !self.dirty.has_version(item.entry, item.version);
            let asks_letters = attempts.all == 1 && has_letters;
            if !is_letter && waits && (has_rivals || is_old || asks_letters) {
                if asks_letters {
                    self.request_letter_retry(namespace);
                }
                if self.waits_apart(batch, item) {
                    self.park(batch, item, attempts);
                    parked = true;
                }
                continue;
            }
            failed += u64::from(!is_letter);
            self.refuse_contested(batch, item, refusal, now, attempts.all, clean);
        }
        if parked {
            self.begin_wait(namespace, ids, now.us);
        }
        self.contested.had_letters = Some(has_letters).filter(|_| !written.contested.is_empty());
        failed
    }

    /// True if these registrations have more than `own` dirty keys, so that one of the others may
    /// free a value.
    fn has_rivals(&self, ids: &[RegistrationId], own: usize) -> bool {
        let dirty: usize = ids.iter().map(|id| self.dirty.queue(*id).dirty()).sum();
        dirty > own || ids.iter().any(|id| self.dirty.has_missed(*id))
    }

    /// The number of attempts at a key that was refused just now.
    fn next_attempt(&mut self, namespace: &Namespace, tried: Option<Tried>) -> Attempts {
        let won = self.contested.contests.get(namespace).map_or(0, |contest| contest.won);
        let Some(Tried { waited, attempts, .. }) = tried else {
            return Attempts { all: 1, fruitless: 1, won };
        };
        let fruitless = match (waited, attempts.won == won) {
            (false, _) => attempts.fruitless,
            (true, true) => attempts.fruitless + 1,
            (true, false) => 1,
        };
        Attempts { all: attempts.all + 1, fruitless, won }
    }

    fn park(&mut self, batch: &Batch, item: &Item, attempts: Attempts) {
        let (id, since_us) = (batch.registration_id, item.since_us);
        let contest = self.contested.contest(&batch.registration.namespace);
        let wait = contest.wait + 1;
        if !contest.parked.contains(&id) {
            contest.parked.push(id);
        }
        let parked = Parked { entry: item.entry, since_us, wait, attempts, letter: false };
        self.contested.ended(id, since_us, None);
        self.contested.parked.entry(id).or_default().push(parked);
    }

    fn refuse_contested(
        &mut self,
        batch: &Batch,
        item: &Item,
        refusal: Refusal,
        now: Now,
        tries: u32,
        clean: &mut Acknowledged,
    ) {
        self.schedule_rewrite(batch, item, now.us);
        let refused = self.refuse(batch, item, refusal, now.unix_ms, tries);
        let settled = self.dirty.acknowledge(item.entry, item.version, |_, _| ());
        self.notify_waiters(
            batch.registration_id,
            (item.entry, item.version, item.since_us),
            settled,
            Some(&refused.letter.reason),
            now.us,
        );
        clean.dead.push(refused);
    }
}
