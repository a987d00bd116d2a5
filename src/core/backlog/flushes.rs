//! Flushes: which keys they wait for, and when they have ended.

use super::Backlog;
use crate::core::backlog::change_log::ChangeKind;
use crate::core::backlog::flush_waiters::{FlushProgress, KeyEnd, Scope};
use crate::core::ids::{Db, EntryId, RegistrationId};

/// Which keys to flush.
#[derive(Clone, Copy, Debug)]
pub enum FlushScope<'a> {
    /// Every key.
    All,
    /// The keys of one registration.
    Registration(RegistrationId),
    /// These keys of one database.
    Keys(Db, &'a [&'a [u8]]),
}

impl Backlog {
    /// Begins a flush of what is dirty now; see
    /// [`Waiters`](crate::core::backlog::flush_waiters::Waiters).
    pub fn flush(&mut self, scope: FlushScope<'_>, now_us: u64) -> u64 {
        self.fold(now_us);
        self.changed = true;
        self.hasten_slow();
        if let FlushScope::Keys(db, keys) = scope {
            for key in keys {
                if let Some(id) = self.maybe_missed(db, key) {
                    self.found(id, key, ChangeKind::Found, now_us);
                }
            }
            self.fold(now_us);
        }
        let watermark_us = self.dirty.watermark_us(now_us);
        let (scope, dirty) = match scope {
            FlushScope::All => (Scope::All, self.dirty.len()),
            FlushScope::Registration(id) => (Scope::Registration(id), self.dirty.queue(id).dirty()),
            FlushScope::Keys(db, keys) => {
                let mut entries: Vec<EntryId> =
                    keys.iter().filter_map(|key| self.dirty.hasten(db, key)).collect();
                entries.sort_unstable();
                entries.dedup();
                let dirty = entries.len();
                (Scope::Keys(entries), dirty)
            }
        };
        self.hasten_scope(&scope, watermark_us);
        let suspended = self.misses(&scope, watermark_us);
        self.waiters.add(scope, watermark_us, dirty, suspended)
    }

    /// The flushes that have ended since the last call.
    pub fn flushed(&mut self) -> Vec<u64> {
        // The end of a key that moved to another registration in flight is not reported to the first.
        let (dirty, registry) = (&self.dirty, &self.registry);
        self.waiters.settle(|scope| match scope {
            Scope::All => dirty.is_empty(),
            Scope::Registration(id) => !registry.was_used(*id) || dirty.queue(*id).dirty() == 0,
            Scope::Keys(_) => false,
        });
        self.waiters.done()
    }

    /// True if a flush has ended.
    pub fn is_flushed(&self, waiter: u64) -> bool {
        self.waiters.is_done(waiter)
    }

    /// Removes a flush, finished or not, and returns its progress.
    pub fn end_flush(&mut self, waiter: u64) -> Option<FlushProgress> {
        self.waiters.remove(waiter)
    }

    /// Drops all dirty keys of `id`: nothing waits for them any more.
    pub(super) fn discard(&mut self, id: RegistrationId) {
        let (waiters, contested) = (&mut self.waiters, &mut self.contested);
        let writes = &mut self.writes;
        self.dirty.discard(id, |entry, since_us| {
            contested.ended(id, since_us, None);
            writes.discarded(entry);
            waiters.ended(KeyEnd {
                entry,
                registration_id: id,
                since_us,
                again_us: None,
                persisted: false,
            });
        });
    }
}
