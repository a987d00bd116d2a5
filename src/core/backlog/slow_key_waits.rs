//! Waits of keys whose values are slow to read. A waiting key is parked (in flight, in no batch),
//! so that its changes coalesce, and is requeued after its wait.

use super::Backlog;
use crate::core::backlog::slow_keys::SlowRead;
use crate::core::backlog::table::Taken;
use crate::core::delivery::batch::Batch;
use crate::core::ids::{Db, RegistrationId};

impl Backlog {
    /// Parks a key that was taken for `batch` until `until_us`; other keys of its registration do
    /// not wait.
    pub fn park_slow(&mut self, batch: &Batch, taken: &Taken, until_us: u64) {
        let slow_read = SlowRead {
            taken: *taken,
            registration_id: batch.registration_id,
            epoch: self.in_flight.epoch,
        };
        self.slow_keys.park_slow(slow_read, until_us);
    }

    /// Records that a key that was taken for `batch` is being read in steps.
    pub fn reads_in_steps(&mut self, batch: &Batch, taken: &Taken) {
        let reading = SlowRead {
            taken: *taken,
            registration_id: batch.registration_id,
            epoch: self.in_flight.epoch,
        };
        self.slow_keys.set_reading(Some(reading));
    }

    /// Ends the read in steps.
    pub fn has_read_in_steps(&mut self) {
        self.slow_keys.set_reading(None);
    }

    /// Since when the oldest key of `id`, or of all registrations, that waits to be read is dirty,
    /// microseconds.
    pub(super) fn oldest_slow_us(&self, id: Option<RegistrationId>) -> Option<u64> {
        let waiting = self.slow_keys.waiting().filter(|slow_read| {
            slow_read.epoch == self.in_flight.epoch
                && id.is_none_or(|id| slow_read.registration_id == id)
        });
        waiting.map(|slow_read| slow_read.taken.since_us).min()
    }

    /// Records that the key was read completely. If that took longer than a slice, its cool-down
    /// begins.
    pub fn was_read(&mut self, db: Db, key: &[u8], took_us: u64, now_us: u64) {
        let slice_us = u64::try_from(self.settings.read_slice_us).unwrap_or(0);
        if took_us > slice_us {
            self.slow_keys.was_read(db, key, took_us, now_us);
        }
    }

    /// A key changed or was removed while it was read in steps: it is requeued.
    pub fn interrupted(&mut self, batch: &Batch, taken: &Taken, key: &[u8], now_us: u64) {
        self.fold_logged(|| now_us);
        self.has_read_in_steps();
        self.slow_keys.was_interrupted(batch.registration.db, key, now_us);
        self.dirty.requeue_front(taken.entry, taken.since_us);
        self.retire_if_done(batch.registration_id);
    }

    /// True if a key that was taken for `batch` is still in flight, unchanged, and its value was not
    /// retained since.
    pub fn is_as_taken(&mut self, batch: &Batch, taken: &Taken, now_us: u64) -> bool {
        self.fold_logged(|| now_us);
        self.in_flight.is_current(batch) && self.dirty.is_as_taken(taken)
    }

    /// Requeues the keys whose wait has ended.
    pub(super) fn release_slow(&mut self, now_us: u64) {
        while let Some(SlowRead { taken, registration_id: id, epoch }) =
            self.slow_keys.take_due(now_us)
        {
            // Keys of an earlier epoch were requeued when it ended.
            if epoch == self.in_flight.epoch {
                self.dirty.requeue_front(taken.entry, taken.since_us);
                self.retire_if_done(id);
            }
        }
    }

    /// Ends all waits, because a flush waits for the keys.
    pub(super) fn hasten_slow(&mut self) {
        self.slow_keys.hasten();
        self.release_slow(u64::MAX);
    }
}
