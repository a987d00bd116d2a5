//! Keys whose values take long to read. One that must wait is parked (in flight, in no batch): its changes
//! coalesce, and it is given back when its time has come.

use super::Backlog;
use crate::core::backlog::slow_keys::SlowRead;
use crate::core::backlog::table::Taken;
use crate::core::delivery::batch::Batch;
use crate::core::ids::{Db, RegistrationId};

impl Backlog {
    /// Lets a key that was taken for `batch` wait; others of its registration do not.
    pub fn park_slow(&mut self, batch: &Batch, taken: &Taken, until_us: u64) {
        let slow_read = SlowRead {
            taken: *taken,
            registration_id: batch.registration_id,
            epoch: self.in_flight.epoch,
        };
        self.slow_keys.park_slow(slow_read, until_us);
    }

    /// A key that was taken for `batch` is read in steps from now on.
    pub fn reads_in_steps(&mut self, batch: &Batch, taken: &Taken) {
        let reading = SlowRead {
            taken: *taken,
            registration_id: batch.registration_id,
            epoch: self.in_flight.epoch,
        };
        self.slow_keys.set_reading(Some(reading));
    }

    /// The last step of that is done.
    pub fn has_read_in_steps(&mut self) {
        self.slow_keys.set_reading(None);
    }

    /// Since when the oldest key is dirty that waits to be read, of `id` or at all, microseconds.
    pub(super) fn oldest_slow_us(&self, id: Option<RegistrationId>) -> Option<u64> {
        let waiting = self.slow_keys.waiting().filter(|slow_read| {
            slow_read.epoch == self.in_flight.epoch
                && id.is_none_or(|id| slow_read.registration_id == id)
        });
        waiting.map(|slow_read| slow_read.taken.since_us).min()
    }

    /// The key was read to its end. If it took longer than a slice, it rests now.
    pub fn was_read(&mut self, db: Db, key: &[u8], took_us: u64, now_us: u64) {
        let slice_us = u64::try_from(self.settings.read_slice_us).unwrap_or(0);
        if took_us > slice_us {
            self.slow_keys.was_read(db, key, took_us, now_us);
        }
    }

    /// A key that was being read in steps changed, or went away: it is to be read anew.
    pub fn interrupted(&mut self, batch: &Batch, taken: &Taken, key: &[u8], now_us: u64) {
        self.fold_logged(now_us);
        self.has_read_in_steps();
        self.slow_keys.was_interrupted(batch.registration.db, key, now_us);
        self.dirty.give_back(taken.entry, taken.since_us);
        self.retire_if_done(batch.registration_id);
    }

    /// True if a key that was taken for `batch` is still in flight, unchanged and not captured.
    pub fn is_as_taken(&mut self, batch: &Batch, taken: &Taken, now_us: u64) -> bool {
        self.fold_logged(now_us);
        self.in_flight.is_current(batch) && self.dirty.is_as_taken(taken)
    }

    /// Gives back the keys that have waited long enough.
    pub(super) fn release_slow(&mut self, now_us: u64) {
        while let Some(SlowRead { taken, registration_id: id, epoch }) =
            self.slow_keys.take_due(now_us)
        {
            // Those of an earlier epoch were given back with it.
            if epoch == self.in_flight.epoch {
                self.dirty.give_back(taken.entry, taken.since_us);
                self.retire_if_done(id);
            }
        }
    }

    /// A flush waits for all of them.
    pub(super) fn hasten_slow(&mut self) {
        self.slow_keys.hasten();
        self.release_slow(u64::MAX);
    }
}
