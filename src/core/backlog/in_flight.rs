//! Batches that were handed to the worker and not reported, and what the worker is ready to take.

use crate::core::delivery::batch::Batch;
use crate::core::ids::RegistrationId;

/// Buffers kept for the next batches.
const SPARE: usize = 8;
/// A spare buffer larger than this is freed.
const SPARE_BYTES: usize = 1 << 20;

/// A batch that is on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flight {
    /// Its registration.
    pub registration_id: RegistrationId,
    /// Since when its oldest key is dirty, microseconds.
    pub oldest_us: u64,
    /// True if it was sent with a credit for slow batches.
    pub slow: bool,
    /// True if it is a blocked key that is tried again.
    pub retry: bool,
}

impl Flight {
    /// What is remembered of `batch`.
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
    /// Grows when the role changes or data is loaded: what is in flight then does not count any more.
    pub epoch: u32,
    /// Batches that the worker is ready to take; less than none after one that was sent without.
    pub(super) credits: i64,
    /// The same for batches of slow registrations and of blocked keys.
    pub(super) slow_credits: i64,
    /// Batches of earlier epochs that were not reported.
    stale: usize,
    flights: Vec<Flight>,
    /// A batch that is still being filled.
    held: Option<Flight>,
    /// Buffers of finished batches.
    spare: Vec<Batch>,
}

impl InFlight {
    /// The batches in flight, the one that is still being filled included.
    pub fn iter(&self) -> impl Iterator<Item = &Flight> {
        self.flights.iter().chain(&self.held)
    }

    /// True if there is a batch of `id`.
    pub fn has_any_of(&self, id: RegistrationId) -> bool {
        self.iter().any(|flight| flight.registration_id == id)
    }

    /// True if a batch can be sent: the worker takes one, and no batch of an earlier epoch may still write
    /// an older value.
    pub fn may_send(&self) -> bool {
        (self.credits > 0 || self.slow_credits > 0) && self.stale == 0
    }

    /// True if this batch can be sent.
    pub fn may_send_batch(&self, batch: &Batch) -> bool {
        self.stale == 0 && self.has_credit(batch.registration_id, batch.slow)
    }

    /// The last credit of each kind is for a registration with nothing in flight, so that none has to wait
    /// for what another one has sent.
    pub fn has_credit(&self, id: RegistrationId, slow: bool) -> bool {
        let credits = if slow { self.slow_credits } else { self.credits };
        credits > 1
            || (credits == 1 && !self.flights.iter().any(|flight| flight.registration_id == id))
    }

    /// True if the batch was begun in this epoch.
    pub fn is_current(&self, batch: &Batch) -> bool {
        batch.epoch == self.epoch
    }

    /// A batch is filled on later; its keys are in flight. It has these items, the ones from `added`
    /// on since it was held before.
    pub fn hold(&mut self, batch: &Batch, added: usize) {
        let items = batch.items.get(added..).unwrap_or_default();
        let added_us = items.iter().map(|item| item.since_us).min().unwrap_or(u64::MAX);
        let before_us = self.held.map_or(u64::MAX, |held| held.oldest_us);
        let flight = Flight::of(batch);
        self.held = Some(Flight { oldest_us: before_us.min(added_us), ..flight });
    }

    /// The batch that was held is about to be sent or given up.
    pub fn release_held(&mut self) {
        self.held = None;
    }

    /// A batch was handed to the worker: a credit is spent.
    pub fn sent(&mut self, flight: Flight) {
        let credits = if flight.slow { &mut self.slow_credits } else { &mut self.credits };
        *credits -= 1;
        self.flights.push(flight);
    }

    /// A batch of this epoch was reported.
    pub(super) fn ended(&mut self, flight: Flight) {
        if let Some(at) = self.flights.iter().position(|other| *other == flight) {
            self.flights.swap_remove(at);
        }
    }

    /// A batch of an earlier epoch was reported.
    pub(super) fn stale_ended(&mut self) {
        self.stale = self.stale.saturating_sub(1);
    }

    /// From here on what is in flight does not count any more.
    pub(super) fn begin_epoch(&mut self) {
        self.epoch = self.epoch.wrapping_add(1);
        self.stale += self.flights.len();
        self.flights.clear();
        self.held = None;
    }

    /// The worker takes no batch any more.
    pub fn lose_credits(&mut self) {
        (self.credits, self.slow_credits) = (0, 0);
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
