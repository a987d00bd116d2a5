//! Keys whose values take long to read. One that must wait is parked (in flight, in no batch): its changes
//! coalesce, and it is given back when its time has come.

use super::Backlog;
use crate::core::backlog::slow_keys::Aside;
use crate::core::backlog::table::Taken;
use crate::core::delivery::batch::Batch;
use crate::core::ids::{Db, RegistrationId};

impl Backlog {
    /// When the key may be read, microseconds; 0 when nothing speaks against it.
    pub fn not_before_us(&self, db: Db, key: &[u8]) -> u64 {
        self.heavy.not_before_us(db, key)
    }

    /// Lets a key that was taken for `batch` wait; others of its registration do not.
    pub fn put_aside(&mut self, batch: &Batch, taken: &Taken, until_us: u64) {
        let aside =
            Aside { taken: *taken, registration_id: batch.registration_id, epoch: self.epoch };
        self.heavy.put_aside(aside, until_us);
    }

    /// A key that was taken for `batch` is read in steps from now on.
    pub fn reads_in_steps(&mut self, batch: &Batch, taken: &Taken) {
        let reading =
            Aside { taken: *taken, registration_id: batch.registration_id, epoch: self.epoch };
        self.heavy.set_reading(Some(reading));
    }

    /// The last step of that is done.
    pub fn has_read_in_steps(&mut self) {
        self.heavy.set_reading(None);
    }

    /// Since when the oldest key is dirty that waits to be read, of `id` or at all, microseconds.
    pub(super) fn oldest_heavy_us(&self, id: Option<RegistrationId>) -> Option<u64> {
        let waiting = self.heavy.waiting().filter(|aside| {
            aside.epoch == self.epoch && id.is_none_or(|id| aside.registration_id == id)
        });
        waiting.map(|aside| aside.taken.since_us).min()
    }

    /// True if the key changes so often that it should be read in one go.
    pub fn is_restless(&self, db: Db, key: &[u8]) -> bool {
        self.heavy.is_restless(db, key)
    }

    /// The key was read to its end. If it took longer than a slice, it rests now.
    pub fn was_read(&mut self, db: Db, key: &[u8], took_us: u64, now_us: u64) {
        let slice_us = u64::try_from(self.settings.read_slice_us).unwrap_or(0);
        if took_us > slice_us {
            self.heavy.was_read(db, key, took_us, now_us);
        }
    }

    /// A key that was being read in steps changed, or went away: it is to be read anew.
    pub fn disturbed(&mut self, batch: &Batch, taken: &Taken, key: &[u8], now_us: u64) {
        self.fold_logged(now_us);
        self.has_read_in_steps();
        self.heavy.was_disturbed(batch.registration.db, key, now_us);
        self.dirty.give_back(taken.entry, taken.since_us);
        self.retire_if_done(batch.registration_id);
    }

    /// True if a key that was taken for `batch` is still in flight, unchanged and not captured.
    pub fn is_as_taken(&mut self, batch: &Batch, taken: &Taken, now_us: u64) -> bool {
        self.fold_logged(now_us);
        self.is_of_now(batch) && self.dirty.is_as_taken(taken)
    }

    /// True if the batch was begun in this epoch.
    pub fn is_of_now(&self, batch: &Batch) -> bool {
        batch.epoch == self.epoch
    }

    /// Gives back the keys that have waited long enough.
    pub(super) fn release_heavy(&mut self, now_us: u64) {
        while let Some(Aside { taken, registration_id: id, epoch }) = self.heavy.take_due(now_us) {
            // Those of an earlier epoch were given back with it.
            if epoch == self.epoch {
                self.dirty.give_back(taken.entry, taken.since_us);
                self.retire_if_done(id);
            }
        }
    }

    /// A flush waits for all of them.
    pub(super) fn hasten_heavy(&mut self) {
        self.heavy.hasten();
        self.release_heavy(u64::MAX);
    }
}
