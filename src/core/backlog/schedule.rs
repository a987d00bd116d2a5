//! The schedule of due registrations: it avoids computing the due times of all registrations.
//!
//! Every change that may affect the due time of a registration marks it as *rescheduled*; before the
//! schedule is read, the due times of rescheduled registrations are recomputed.

use std::collections::BTreeSet;

use super::Backlog;
use super::registry::next_after;
use crate::core::backlog::deadline_heap::Heap;
use crate::core::ids::RegistrationId;

/// The due time of a paused registration.
const PAUSED: u64 = u64::MAX;

/// The registrations with waiting keys.
#[derive(Debug, Default)]
pub(super) struct DueRegistrations {
    /// When they are due, microseconds, or [`PAUSED`].
    due: Heap,
    /// Registrations found to be due, which were removed from the heap.
    ready: BTreeSet<RegistrationId>,
    /// The `flush-interval-ms` for which the due times are valid.
    interval_ms: i64,
    /// The memory pressure of the dirty table for which the due times are valid.
    is_pressed: bool,
    /// A buffer for the rescheduled ids.
    rescheduled: Vec<RegistrationId>,
}

impl DueRegistrations {
    /// The registrations with waiting keys, in no order.
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
    /// When the next batch can begin, microseconds; `None` if none can.
    pub fn next_due_us(&mut self) -> Option<u64> {
        let groups_us = self.groups_due_us();
        if !self.in_flight.may_send() {
            return groups_us;
        }
        let registrations_us = if self.paused { None } else { self.registrations_due_us() };
        let blocked_us = if self.blocked.is_empty() { None } else { self.blocked_due_us() };
        let released_us = self.has_ended_wait().then_some(0);
        let others_us = blocked_us.into_iter().chain(self.slow_keys.next_us()).chain(released_us);
        registrations_us.into_iter().chain(others_us).chain(groups_us).min()
    }

    fn registrations_due_us(&mut self) -> Option<u64> {
        self.settle_schedule();
        if self.ready_registration().is_some() {
            return Some(0);
        }
        let (due_us, _) = self.schedule.due.first()?;
        (due_us != PAUSED).then_some(due_us)
    }

    /// The next due registration, round-robin.
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

    /// The next registration found to be due for which there is a credit. Few are skipped: slow
    /// ones, and those with batches in flight.
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

    /// The registrations with waiting keys, and possibly some that have none any more.
    pub(super) fn waiting_ids(&self) -> impl Iterator<Item = RegistrationId> + '_ {
        self.schedule.waiting().chain(self.dirty.rescheduled().iter().copied())
    }

    /// Marks all registrations as rescheduled.
    pub(super) fn reschedule_all(&mut self) {
        self.schedule.waiting().for_each(|id| self.dirty.reschedule(id));
    }

    /// Recomputes the due times of rescheduled registrations.
    fn settle_schedule(&mut self) {
        let (interval_ms, is_pressed) = (self.settings.flush_interval_ms, self.dirty.is_pressed());
        let schedule = &mut self.schedule;
        if (schedule.interval_ms, schedule.is_pressed) != (interval_ms, is_pressed) {
            (schedule.interval_ms, schedule.is_pressed) = (interval_ms, is_pressed);
            self.reschedule_all();
        }
        let mut rescheduled = std::mem::take(&mut self.schedule.rescheduled);
        self.dirty.take_rescheduled(&mut rescheduled);
        for id in rescheduled.drain(..) {
            let waits = self.dirty.queue(id).waiting() > 0 || self.contested.is_released(id);
            let waits = waits && self.active(id).is_some();
            let due_us = waits.then(|| self.gathered_due_us(id).unwrap_or(PAUSED));
            self.schedule.set(id, due_us);
        }
        self.schedule.rescheduled = rescheduled;
    }
}
