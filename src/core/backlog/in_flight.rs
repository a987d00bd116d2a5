//! Batches that were sent to the worker and not reported yet, and the credits for further ones.

use crate::core::delivery::batch::Batch;
use crate::core::delivery::group_batch::GroupBatch;
use crate::core::ids::RegistrationId;

/// Number of buffers kept for the next batches.
const SPARE: usize = 8;
/// A larger buffer is freed, bytes.
const SPARE_BYTES: usize = 1 << 20;

/// A batch in flight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flight {
    /// Id of its registration.
    pub registration_id: RegistrationId,
    /// Since when its oldest key is dirty, microseconds.
    pub oldest_us: u64,
    /// True if it was sent with a credit for slow batches.
    pub slow: bool,
    /// True if it is the retry of a blocked key.
    pub retry: bool,
}

impl Flight {
    /// The flight of `batch`.
    pub fn of(batch: &Batch) -> Flight {
        let oldest_us = batch.items.iter().map(|item| item.since_us).min();
        let (slow, retry) = (batch.slow, batch.retry > 0);
        Flight {
            registration_id: batch.registration_id,
            oldest_us: oldest_us.unwrap_or(u64::MAX),
            slow,
            retry,
        }
    }
}

/// The batches in flight.
#[derive(Debug, Default)]
pub struct InFlight {
    /// Incremented when the role changes or data is loaded: reports of batches of earlier epochs are
    /// ignored.
    pub epoch: u32,
    /// Batches that the worker is ready to accept; negative after a batch that was sent without a
    /// credit.
    pub(super) credits: i64,
    /// The same for batches of slow registrations and of blocked keys.
    pub(super) slow_credits: i64,
    /// Group batches that the worker is ready to accept.
    pub(super) group_credits: i64,
    /// Number of batches of earlier epochs that were not reported yet.
    stale: usize,
    flights: Vec<Flight>,
    /// A batch that is still being filled.
    held: Option<Flight>,
    /// The batches of a group batch that is still being filled.
    held_groups: Vec<Flight>,
    /// Buffers of finished batches.
    spare: Vec<Batch>,
}

impl InFlight {
    /// The batches in flight, including the one that is still being filled.
    pub fn iter(&self) -> impl Iterator<Item = &Flight> {
        self.flights.iter().chain(&self.held).chain(&self.held_groups)
    }

    /// True if a batch of `id` is in flight or still being filled.
    pub fn has_any_of(&self, id: RegistrationId) -> bool {
        self.iter().any(|flight| flight.registration_id == id)
    }

    /// True if a batch of `id` was sent that is not the retry of a blocked key.
    pub fn has_sent(&self, id: RegistrationId) -> bool {
        self.flights.iter().any(|flight| flight.registration_id == id && !flight.retry)
    }

    /// True if a batch can be sent: there is a credit, and no batch of an earlier epoch is in
    /// flight, which could write older values.
    pub fn may_send(&self) -> bool {
        (self.credits > 0 || self.slow_credits > 0) && self.stale == 0
    }

    /// True if this batch can be sent.
    pub fn may_send_batch(&self, batch: &Batch) -> bool {
        self.stale == 0 && self.has_credit(batch.registration_id, batch.slow)
    }

    /// True if there is a credit for a batch of `id`. The last credit of each kind is reserved for
    /// a registration without batches in flight, so that no registration waits for another one's
    /// batches.
    pub fn has_credit(&self, id: RegistrationId, slow: bool) -> bool {
        let credits = if slow { self.slow_credits } else { self.credits };
        credits > 1
            || (credits == 1 && !self.flights.iter().any(|flight| flight.registration_id == id))
    }

    /// True if the batch was begun in the current epoch.
    pub fn is_current(&self, batch: &Batch) -> bool {
        batch.epoch == self.epoch
    }

    /// Holds a batch that is filled further later; its keys are in flight. Items from `added` on
    /// are new since it was held last.
    pub fn hold(&mut self, batch: &Batch, added: usize) {
        let items = batch.items.get(added..).unwrap_or_default();
        let added_us = items.iter().map(|item| item.since_us).min().unwrap_or(u64::MAX);
        let before_us = self.held.map_or(u64::MAX, |held| held.oldest_us);
        let flight = Flight::of(batch);
        self.held = Some(Flight { oldest_us: before_us.min(added_us), ..flight });
    }

    /// The held batch is about to be sent or abandoned.
    pub fn release_held(&mut self) {
        self.held = None;
    }

    /// Records that a batch was sent to the worker, and uses a credit.
    pub fn sent(&mut self, flight: Flight) {
        let credits = if flight.slow { &mut self.slow_credits } else { &mut self.credits };
        *credits -= 1;
        self.flights.push(flight);
    }

    /// True if a group batch can be sent.
    pub fn may_send_groups(&self) -> bool {
        self.group_credits > 0 && self.stale == 0
    }

    /// Records that a group batch was sent to the worker, and uses a credit.
    pub fn sent_groups(&mut self, flights: impl Iterator<Item = Flight>) {
        self.group_credits -= 1;
        self.held_groups.clear();
        self.flights.extend(flights);
    }

    /// The held group batch is abandoned.
    pub(super) fn release_held_groups(&mut self) {
        self.held_groups.clear();
    }

    /// Holds a group batch that is filled further later; its keys are in flight.
    pub fn hold_groups(&mut self, groups: &GroupBatch) {
        self.held_groups.clear();
        self.held_groups.extend(groups.batches.iter().map(Flight::of));
    }

    /// Records that a batch of the current epoch was reported.
    pub(super) fn ended(&mut self, flight: Flight) {
        if let Some(at) = self.flights.iter().position(|other| *other == flight) {
            self.flights.swap_remove(at);
        }
    }

    /// Records that a batch of an earlier epoch was reported.
    pub(super) fn stale_ended(&mut self) {
        self.stale = self.stale.saturating_sub(1);
    }

    /// Begins an epoch: reports of batches in flight are ignored from now on.
    pub(super) fn begin_epoch(&mut self) {
        self.epoch = self.epoch.wrapping_add(1);
        self.stale += self.flights.len();
        self.flights.clear();
        self.held = None;
        self.held_groups.clear();
    }

    /// Drops all credits: the worker accepts no more batches.
    pub fn lose_credits(&mut self) {
        (self.credits, self.slow_credits, self.group_credits) = (0, 0, 0);
    }

    /// Keeps the buffers of a finished batch for the next one.
    pub fn recycle(&mut self, batch: Batch) {
        if self.spare.len() < SPARE && batch.bytes.capacity() <= SPARE_BYTES {
            self.spare.push(batch);
        }
    }

    /// Empty buffers for a new batch.
    pub(super) fn buffers(&mut self) -> (Vec<crate::core::delivery::batch::Item>, Vec<u8>) {
        let Some(Batch { mut items, mut bytes, .. }) = self.spare.pop() else {
            return (Vec::new(), Vec::new());
        };
        items.clear();
        bytes.clear();
        (items, bytes)
    }
}
