//! Selects the batch to send next. Usual and slow batches have separate limits of batches in
//! flight, so that no namespace waits for a slow one.

use std::rc::Rc;
use std::sync::Arc;

use tokio::time::{Duration, Instant, timeout};

use super::tasks::{BatchEnd, SentBatch, Tasks, WaitingBatch};
use super::write_loop::{SILENT, WRITE_WITHIN, WriteLoop};
use crate::core::delivery::batch::Batch;
use crate::core::delivery::report::Report;
use crate::core::ids::RegistrationId;
use crate::core::registration::{Namespace, Registration};
use crate::sink::{Connector, Failure, LinkError, Sink};

/// Slow batches in flight beyond the limit of usual ones.
const EXTRA_SLOW: usize = 2;

impl<C: Connector> WriteLoop<C> {
    /// True if the batch counts against the limits and credits of slow batches.
    pub(super) fn is_slow(&self, batch: &Batch) -> bool {
        batch.retry > 0 || self.slow_namespaces.is_slow(&batch.registration.namespace)
    }

    /// Handles a batch that the server thread has sent. If that spent the wrong kind of credit, the
    /// worker reports which kind the registration needs.
    pub(super) fn arrived(&mut self, batch: &Batch) {
        let slow = self.is_slow(batch);
        if slow != batch.slow {
            self.credits.moved(batch.slow, slow);
        }
        let reported = slow
            && batch.retry == 0
            && self.slow_namespaces.must_report(batch.registration_id, &batch.registration);
        if reported || (batch.slow && !slow) {
            self.report_slow(batch.registration_id, batch.registration.clone(), slow);
        }
    }

    /// Sends built batches up to the limits. True if at least one was sent.
    pub(super) fn send_batches(&mut self, tasks: &mut Tasks<C::Sink>) -> bool {
        let allowed = self.flow.allowed(self.options.max_in_flight) as usize;
        let mut sent = false;
        while let Some(at) = self.next_to_send(allowed) {
            let (Some(linked), Some(waiting)) = (&self.linked, self.waiting.remove(at)) else {
                break;
            };
            let WaitingBatch { batch, commands: Some(commands) } = waiting else { break };
            let batch = Rc::new(batch);
            let usual = self.flights.values().filter(|flight| !self.is_slow(&flight.batch)).count();
            let flight = SentBatch {
                batch: Rc::clone(&batch),
                linked: Rc::clone(linked),
                in_flight: usual as u32 + 1,
                since: Instant::now(),
            };
            let (linked, within) = (Rc::clone(linked), self.options.write_timeout);
            let task = tasks.spawn_local(async move {
                let last_resort = WRITE_WITHIN.max(within * 4);
                let write = timeout(last_resort, linked.sink.write(&batch, commands, within));
                BatchEnd::Write(
                    write
                        .await
                        .unwrap_or_else(|_| Err(Failure::Link(LinkError::unanswered(SILENT)))),
                )
            });
            self.flights.insert(task.id(), flight);
            sent = true;
        }
        sent
    }

    /// The queue position of the batch to send next; nothing when the limits are reached.
    fn next_to_send(&self, allowed: usize) -> Option<usize> {
        let max_in_flight = self.linked.as_ref().map_or(0, |linked| linked.sink.max_in_flight());
        if self.flights.len() + self.groups.in_flight() >= max_in_flight {
            return None;
        }
        let ready = |batch: &Batch| self.may_send(batch, allowed);
        self.waiting.iter().position(|waiting| waiting.is_built() && ready(&waiting.batch))
    }

    fn may_send(&self, batch: &Batch, allowed: usize) -> bool {
        let namespace = &batch.registration.namespace;
        let in_flight = || self.flights.values().map(|flight| &*flight.batch);
        if !self.is_slow(batch) {
            let usual = in_flight().filter(|other| !self.is_slow(other));
            // One batch more for a namespace, when all in flight are of another one.
            return match usual.clone().count() {
                count if count < allowed => true,
                count if count == allowed => is_one_other(usual, namespace),
                _ => false,
            };
        }
        let slow = in_flight().filter(|other| self.is_slow(other));
        let max_slow = allowed + EXTRA_SLOW;
        let same = |other: &&Batch| other.registration.namespace == *namespace;
        let same_kind = |other: &&Batch| (other.retry > 0) == (batch.retry > 0);
        let max_of_one =
            if batch.retry > 0 || self.backoffs.is_failing(namespace) { 1 } else { allowed };
        // One of the slow batches is reserved for retries, and one for others.
        slow.clone().count() < max_slow
            && slow.clone().filter(same_kind).count() < max_slow - 1
            && slow.filter(same_kind).filter(same).count() < max_of_one
    }

    /// Marks the namespaces as slow whose batches are in flight for too long.
    pub(super) fn mark_overdue_slow(&mut self) {
        let (now, after) = (Instant::now(), self.slow_namespaces.slow_after());
        let flights = self.flights.values().filter(|flight| flight.since + after <= now);
        let overdue = flights.filter(|flight| !self.is_slow(&flight.batch));
        let namespaces: Vec<Namespace> =
            overdue.map(|flight| flight.batch.registration.namespace.clone()).collect();
        for namespace in namespaces {
            self.mark_slow(&namespace);
        }
    }

    /// When the next batch in flight will have been so for too long.
    pub(super) fn slow_at(&self) -> Option<Instant> {
        let after = self.slow_namespaces.slow_after();
        let usual = self.flights.values().filter(|flight| !self.is_slow(&flight.batch));
        usual.map(|flight| flight.since + after).min()
    }

    fn mark_slow(&mut self, namespace: &Namespace) {
        if self.slow_namespaces.is_slow(namespace) {
            return;
        }
        self.slow_namespaces.mark_slow(namespace);
        let flights = self.flights.values().map(|flight| &*flight.batch);
        let affected = flights.chain(self.waiting.iter().map(|waiting| &waiting.batch));
        let affected = affected.filter(|batch| batch.retry == 0);
        let affected = affected.filter(|batch| batch.registration.namespace == *namespace);
        let affected: Vec<_> =
            affected.map(|batch| (batch.registration_id, batch.registration.clone())).collect();
        for (id, registration) in affected {
            self.credits.moved(false, true);
            if self.slow_namespaces.must_report(id, &registration) {
                self.report_slow(id, registration, true);
            }
        }
    }

    /// Records the time of a batch of `namespace` that was no retry and has ended; its credit is
    /// returned already.
    pub(super) fn record_time(&mut self, namespace: &Namespace, took: Duration) {
        if took > self.slow_namespaces.slow_after() {
            self.mark_slow(namespace);
        }
        let Some(reported) = self.slow_namespaces.record_time(namespace, took) else { return };
        let flights = self.flights.values().map(|flight| &*flight.batch);
        let affected = flights.chain(self.waiting.iter().map(|waiting| &waiting.batch));
        let affected = affected.filter(|batch| batch.retry == 0);
        let affected = affected.filter(|batch| batch.registration.namespace == *namespace).count();
        for _ in 0..affected {
            self.credits.moved(true, false);
        }
        for (id, registration) in reported {
            self.report_slow(id, registration, false);
        }
    }

    fn report_slow(&mut self, id: RegistrationId, registration: Arc<Registration>, slow: bool) {
        self.outbox.push(Report::Slow { registration_id: id, registration, slow });
    }
}

/// True if all `batches` are of one namespace, and it is not `namespace`.
fn is_one_other<'b>(mut batches: impl Iterator<Item = &'b Batch>, namespace: &Namespace) -> bool {
    let Some(first) = batches.next() else { return false };
    let first = &first.registration.namespace;
    first != namespace && batches.all(|batch| batch.registration.namespace == *first)
}
