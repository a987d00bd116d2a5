//! Which batch goes on the wire next. Usual batches and slow ones have places of their own, so
//! that no namespace waits for the trouble of another one.

use std::rc::Rc;
use std::sync::Arc;

use tokio::time::{Duration, Instant, timeout};

use super::write_loop::{
    BatchEnd, SILENT, SentBatch, Tasks, WRITE_WITHIN, WaitingBatch, WriteLoop,
};
use crate::core::delivery::batch::{Batch, Report};
use crate::core::ids::RegistrationId;
use crate::core::registration::{Namespace, Registration};
use crate::sink::{Connector, Failure, LinkError, Sink};

/// Places for slow batches besides as many as usual batches have.
const MORE_SLOW: usize = 2;

impl<C: Connector> WriteLoop<C> {
    /// True if the batch has one of the places and credits for slow ones.
    pub(super) fn is_slow(&self, batch: &Batch) -> bool {
        batch.retry > 0 || self.paces.is_slow(&batch.registration.namespace)
    }

    /// Takes in a batch that the server thread sent. Where it sent it with the wrong kind of
    /// credit, it gets to know which kind the registration needs.
    pub(super) fn arrived(&mut self, batch: &Batch) {
        let slow = self.is_slow(batch);
        if slow != batch.slow {
            self.credits.moved(batch.slow, slow);
        }
        let reported = slow
            && batch.retry == 0
            && self.paces.must_report(batch.registration_id, &batch.registration);
        if reported || (batch.slow && !slow) {
            self.report_slow(batch.registration_id, batch.registration.clone(), slow);
        }
    }

    /// Puts batches that are built on the wire while it has room. Says whether it did.
    pub(super) fn launch(&mut self, tasks: &mut Tasks<C::Sink>) -> bool {
        let allowed = self.flow.allowed(self.options.max_in_flight) as usize;
        let mut launched = false;
        while let Some(at) = self.next_to_launch(allowed) {
            let (Some(linked), Some(waiting)) = (&self.linked, self.waiting.remove(at)) else {
                break;
            };
            let WaitingBatch { batch, commands: Some(commands) } = waiting else { break };
            let batch = Rc::new(batch);
            let usual = self.flights.values().filter(|flight| !self.is_slow(&flight.batch)).count();
            let flight = SentBatch {
                batch: Rc::clone(&batch),
                linked: Rc::clone(linked),
                on_wire: usual as u32 + 1,
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
            launched = true;
        }
        launched
    }

    /// Where in the queue the batch stands that goes on the wire next; nothing without a place.
    fn next_to_launch(&self, allowed: usize) -> Option<usize> {
        let most = self.linked.as_ref().map_or(0, |linked| linked.sink.places());
        if self.flights.len() >= most {
            return None;
        }
        let ready = |batch: &Batch| self.has_place(batch, allowed);
        self.waiting.iter().position(|waiting| waiting.is_built() && ready(&waiting.batch))
    }

    fn has_place(&self, batch: &Batch, allowed: usize) -> bool {
        let namespace = &batch.registration.namespace;
        let on_wire = || self.flights.values().map(|flight| &*flight.batch);
        if !self.is_slow(batch) {
            let usual = on_wire().filter(|other| !self.is_slow(other));
            // One more for a namespace, when another one has all places.
            return match usual.clone().count() {
                count if count < allowed => true,
                count if count == allowed => is_one_other(usual, namespace),
                _ => false,
            };
        }
        let slow = on_wire().filter(|other| self.is_slow(other));
        let places = allowed + MORE_SLOW;
        let same = |other: &&Batch| other.registration.namespace == *namespace;
        let kin = |other: &&Batch| (other.retry > 0) == (batch.retry > 0);
        let most_of_one =
            if batch.retry > 0 || self.backoffs.is_failing(namespace) { 1 } else { allowed };
        // A place is left for slow batches that are no retries, and for retries.
        slow.clone().count() < places
            && slow.clone().filter(kin).count() < places - 1
            && slow.filter(kin).filter(same).count() < most_of_one
    }

    /// Moves the namespaces to the slow ones whose batches are on the wire for too long.
    pub(super) fn note_slow(&mut self) {
        let (now, after) = (Instant::now(), self.paces.slow_after());
        let flights = self.flights.values().filter(|flight| flight.since + after <= now);
        let overdue = flights.filter(|flight| !self.is_slow(&flight.batch));
        let namespaces: Vec<Namespace> =
            overdue.map(|flight| flight.batch.registration.namespace.clone()).collect();
        for namespace in namespaces {
            self.slows(&namespace);
        }
    }

    /// When the next batch on the wire will have been there for too long.
    pub(super) fn slow_at(&self) -> Option<Instant> {
        let after = self.paces.slow_after();
        let usual = self.flights.values().filter(|flight| !self.is_slow(&flight.batch));
        usual.map(|flight| flight.since + after).min()
    }

    fn slows(&mut self, namespace: &Namespace) {
        if self.paces.is_slow(namespace) {
            return;
        }
        self.paces.slows(namespace);
        let flights = self.flights.values().map(|flight| &*flight.batch);
        let here = flights.chain(self.waiting.iter().map(|waiting| &waiting.batch));
        let here = here.filter(|batch| batch.retry == 0);
        let here = here.filter(|batch| batch.registration.namespace == *namespace);
        let here: Vec<_> =
            here.map(|batch| (batch.registration_id, batch.registration.clone())).collect();
        for (id, registration) in here {
            self.credits.moved(false, true);
            if self.paces.must_report(id, &registration) {
                self.report_slow(id, registration, true);
            }
        }
    }

    /// A batch of `namespace` that was no retry ended after so long; its credit is given back.
    pub(super) fn note_pace(&mut self, namespace: &Namespace, took: Duration) {
        if took > self.paces.slow_after() {
            self.slows(namespace);
        }
        let Some(reported) = self.paces.took(namespace, took) else { return };
        let flights = self.flights.values().map(|flight| &*flight.batch);
        let here = flights.chain(self.waiting.iter().map(|waiting| &waiting.batch));
        let here = here.filter(|batch| batch.retry == 0);
        let here = here.filter(|batch| batch.registration.namespace == *namespace).count();
        for _ in 0..here {
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
