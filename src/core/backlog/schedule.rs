//! When which registration is due: kept, so that not all of them must be asked.
//!
//! Whatever may make a registration due at another time *stirs* it; before the schedule is read,
//! those that were stirred are asked anew.

use std::collections::BTreeSet;

use super::Backlog;
use super::registry::next_after;
use crate::core::backlog::deadline_heap::Heap;
use crate::core::ids::RegistrationId;

/// When a registration is due that is paused.
const PAUSED: u64 = u64::MAX;

/// The registrations with keys that wait.
#[derive(Debug, Default)]
pub(super) struct DueRegistrations {
    /// When they are due, microseconds, or [`PAUSED`].
    due: Heap,
    /// Those that were due at their last look, and so are in no heap.
    ready: BTreeSet<RegistrationId>,
    /// The times hold for this `flush-interval-ms`,
    interval_ms: i64,
    /// and for a dirty set that has room, or has none.
    is_pressed: bool,
    /// The ids that were stirred: a buffer.
    stirred: Vec<RegistrationId>,
}

impl DueRegistrations {
    /// Those that have keys that wait, in no order.
    pub fn waiting(&self) -> impl Iterator<Item = RegistrationId> + '_ {
        self.due.numbers().map(|id| RegistrationId(id as u16)).chain(self.ready.iter().copied())
    }

    fn set(&mut self, id: RegistrationId, due_us: Option<u64>) {
        self.ready.remove(&id);
        match due_us {
            Some(due_us) => self.due.set(u32::from(id.0), due_us),
            None => drop(self.due.remove(u32::from(id.0))),
        }
    }
}

impl Backlog {
    /// When the next batch can begin, microseconds; nothing while none can.
    pub fn next_due_us(&mut self) -> Option<u64> {
        if !self.in_flight.may_send() {
            return None;
        }
        let registrations_us = if self.paused { None } else { self.registrations_due_us() };
        let blocked_us = if self.blocked.is_empty() { None } else { self.blocked_due_us() };
        let released_us = self.has_ended_wait().then_some(0);
        let others_us = blocked_us.into_iter().chain(self.slow_keys.next_us()).chain(released_us);
        registrations_us.into_iter().chain(others_us).min()
    }

    fn registrations_due_us(&mut self) -> Option<u64> {
        self.settle_schedule();
        if self.ready_registration().is_some() {
            return Some(0);
        }
        let (due_us, _) = self.schedule.due.first()?;
        (due_us != PAUSED).then_some(due_us)
    }

    /// The registration whose turn it is among those that are due.
    pub(super) fn next_registration(&mut self, now_us: u64) -> Option<RegistrationId> {
        if self.paused {
            return None;
        }
        self.settle_schedule();
        let is_due = |due_us: u64| due_us <= now_us && due_us != PAUSED;
        while let Some((_, id)) = self.schedule.due.first().filter(|first| is_due(first.0)) {
            self.schedule.due.remove(id);
            self.schedule.ready.insert(RegistrationId(id as u16));
        }
        let id = self.ready_registration()?;
        self.last_sent = Some(id);
        Some(id)
    }

    /// The next of those that were due at their last look and for which there is a credit. Few are
    /// passed over: slow ones, and those that have something on its way.
    fn ready_registration(&self) -> Option<RegistrationId> {
        // Before the first one: behind the last number, which no registration has.
        let last = self.last_sent.unwrap_or(RegistrationId(u16::MAX));
        let ready = &self.schedule.ready;
        let usual = match self.in_flight.credits {
            ..=0 => None,
            _ => next_after(ready, last, |id| {
                !self.slow_registrations.contains(&id) && self.in_flight.has_credit(id, false)
            }),
        };
        let slow = match self.in_flight.slow_credits {
            ..=0 => None,
            _ => next_after(&self.slow_registrations, last, |id| {
                ready.contains(&id) && self.in_flight.has_credit(id, true)
            }),
        };
        let turn = |id: &RegistrationId| id.distance_from(last.next());
        usual.into_iter().chain(slow).min_by_key(turn)
    }

    /// The ids with keys that wait, and perhaps some that had some until now.
    pub(super) fn waiting_ids(&self) -> impl Iterator<Item = RegistrationId> + '_ {
        self.schedule.waiting().chain(self.dirty.stirred().iter().copied())
    }

    /// Asks every registration anew when it is due: of all, something has changed.
    pub(super) fn stir_all(&mut self) {
        self.schedule.waiting().for_each(|id| self.dirty.stir(id));
    }

    /// Asks those that were stirred when they are due.
    fn settle_schedule(&mut self) {
        let (interval_ms, is_pressed) = (self.settings.flush_interval_ms, self.dirty.is_pressed());
        let schedule = &mut self.schedule;
        if (schedule.interval_ms, schedule.is_pressed) != (interval_ms, is_pressed) {
            (schedule.interval_ms, schedule.is_pressed) = (interval_ms, is_pressed);
            self.stir_all();
        }
        let mut stirred = std::mem::take(&mut self.schedule.stirred);
        self.dirty.take_stirred(&mut stirred);
        for id in stirred.drain(..) {
            let waits = self.dirty.queue(id).waiting() > 0 || self.contested.is_released(id);
            let waits = waits && self.active(id).is_some();
            let due_us = waits.then(|| self.registration_due_us(id).unwrap_or(PAUSED));
            self.schedule.set(id, due_us);
        }
        self.schedule.stirred = stirred;
    }
}
