//! Keys in doubt: a write of them was given up and may still be applied by a server that cannot
//! fence it off, after newer ones. So once such a key is written again, it is written once more
//! when nothing of the old can be under way any longer; until then it counts as dirty for
//! replicas, the AOF and the RDB.

use std::collections::{HashMap, VecDeque};

use super::{Acknowledged, Engine};
use crate::core::batch::{Batch, Item};
use crate::core::change::{Change, Touch};
use crate::core::dirty::Captured;
use crate::core::persist::{Record, SavedKey};
use crate::core::value::Content;

/// What the network and the server's clock may add to the limit of a command, microseconds.
const SLACK_US: u64 = 2_000_000;

type Key = (u16, Vec<u8>);

/// How to write a key once more.
#[derive(Debug)]
struct Again {
    slot: u16,
    touch: Touch,
    captured: Option<Captured>,
}

/// All keys in doubt.
#[derive(Debug, Default)]
pub(super) struct Doubts {
    /// Nothing while the key is not written again.
    keys: HashMap<Key, Option<Again>>,
    /// When the keys that are written again are due once more.
    due: VecDeque<(u64, Key)>,
}

impl Doubts {
    pub(super) fn is_of(&self, slot: u16) -> bool {
        self.keys.values().flatten().any(|again| again.slot == slot)
    }

    /// When the first key is due, microseconds.
    pub(super) fn due_us(&self) -> Option<u64> {
        self.due.front().map(|(due_us, _)| *due_us)
    }

    /// Hands the keys that are only known here to `save`.
    pub(super) fn save(&self, known: impl Fn(&Key) -> bool, mut save: impl FnMut(Record<'_>)) {
        for (key, again) in &self.keys {
            let Some(Again { slot, touch, captured }) = again else { continue };
            if !known(key) {
                let (slot, db, touch, captured) = (*slot, key.0, *touch, captured.clone());
                save(Record::Key(SavedKey { slot, db, touch, since_us: 0, key: &key.1, captured }));
            }
        }
    }
}

impl Engine {
    /// `batch` was given up and may still be applied.
    pub(super) fn doubt(&mut self, batch: &Batch) {
        for item in &batch.items {
            let key = (batch.registration.db, batch.key(item).to_vec());
            self.doubts.keys.entry(key).or_insert(None);
        }
    }

    /// An item is about to be acknowledged. True if its key is in doubt, so that nobody else
    /// shall be told.
    pub(super) fn is_in_doubt(&mut self, batch: &Batch, item: &Item, now_us: u64) -> bool {
        if self.doubts.keys.is_empty() {
            return false;
        }
        let key = (batch.registration.db, batch.key(item).to_vec());
        let Some(again) = self.doubts.keys.get_mut(&key) else { return false };
        let captured = (self.dirty.touched(key.0, &key.1) == Some(Touch::Captured)).then(|| {
            let (content, expire_ms) = (item.content, item.expire_ms);
            Captured { content, expire_ms, bytes: batch.value(item).into() }
        });
        let touch = match (&captured, item.content) {
            (Some(_), _) => Touch::Captured,
            (None, Content::Tombstone) => Touch::Deleted,
            (None, _) => Touch::Changed,
        };
        let first = again.replace(Again { slot: batch.slot, touch, captured }).is_none();
        if first {
            let limit_ms = u64::try_from(self.settings.write_timeout_ms).unwrap_or(0);
            let due_us = now_us.saturating_add(limit_ms.saturating_mul(1000) + SLACK_US);
            self.doubts.due.push_back((due_us, key));
        }
        true
    }

    /// Makes the keys dirty again that are due once more at `now_us`. Keys whose registration is
    /// gone are added to `clean`.
    pub fn settle_doubts(&mut self, now_us: u64, clean: &mut Acknowledged) {
        while self.doubts.due_us().is_some_and(|due_us| due_us <= now_us) {
            let Some((_, key)) = self.doubts.due.pop_front() else { return };
            let Some(Some(again)) = self.doubts.keys.remove(&key) else { continue };
            let Again { slot, touch, captured } = again;
            if self.slot(slot).is_none() {
                clean.keys.push(key);
                continue;
            }
            let (db, key) = key;
            // A newer change is written anyway, and by itself.
            if self.dirty.touched(db, &key).is_some() {
                continue;
            }
            let touch = if captured.is_some() { Touch::Changed } else { touch };
            self.log.push(Change { db, slot, touch, key: &key });
            self.fold(now_us);
            if let Some(captured) = captured {
                self.dirty.capture(db, &key, captured);
            }
        }
    }

    /// True when [`settle_doubts`](Self::settle_doubts) has something to do at `now_us`.
    pub fn has_due_doubts(&self, now_us: u64) -> bool {
        self.doubts.due_us().is_some_and(|due_us| due_us <= now_us)
    }
}

#[cfg(test)]
mod tests;
