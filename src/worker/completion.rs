//! Handles the end of tasks: reports, credits, the state of the link.

use std::rc::Rc;

use tokio::task::Id;
use tokio::time::{Duration, Instant, timeout};

use super::connect_attempt::{Attempt, Linked};
use super::ends::PANIC;
use super::link_monitor::RETRY_IN;
use super::link_view::View;
use super::tasks::{BatchEnd, SentBatch, Tasks};
use super::write_loop::WriteLoop;
use crate::core::delivery::batch::{Batch, Link, Verdict, Written};
use crate::core::delivery::report::Report;
use crate::core::registration::Namespace;
use crate::sink::{Connector, Failure, LinkError, Sink};

/// Maximum time for closing the connections of a retired sink.
const CLOSE_WITHIN: Duration = Duration::from_secs(5);

impl<C: Connector> WriteLoop<C> {
    /// Handles the end of the task `id`; without `ended`, it has panicked or was aborted.
    pub(super) fn ended(&mut self, id: Id, mut ended: Option<BatchEnd<C::Sink>>) {
        if self.page_ended(id, &mut ended)
            || self.find_ended(id, &mut ended)
            || self.comparison_ended(id, &mut ended)
        {
            return;
        }
        if let Some(flight) = self.flights.remove(&id) {
            match ended {
                Some(BatchEnd::Write(result)) => self.batch_ended(flight, result),
                _ => {
                    let indeterminate = !self.fences(&flight);
                    self.namespace_failed(unshare(flight.batch), PANIC.to_owned(), indeterminate);
                }
            }
        } else if self.groups.is_task(id) {
            self.groups_ended(ended);
        } else if self.attempt.as_ref().is_some_and(|attempt| attempt.id() == id) {
            self.attempt = None;
            match ended {
                Some(BatchEnd::Connected(attempt)) => self.connect_ended(attempt),
                _ => self.link_failed(&LinkError::transient(PANIC)),
            }
        } else {
            self.checked(id, ended);
        }
    }

    /// True if an unanswered command of `flight` cannot be applied late. A retired sink sends
    /// nothing more, so it fences nothing off either.
    fn fences(&self, flight: &SentBatch<C::Sink>) -> bool {
        self.is_current(flight) && flight.linked.sink.is_fenced()
    }

    fn is_current(&self, flight: &SentBatch<C::Sink>) -> bool {
        self.is_linked(&flight.linked)
    }

    /// True if this is the sink in use.
    pub(super) fn is_linked(&self, linked: &Rc<Linked<C::Sink>>) -> bool {
        self.linked.as_ref().is_some_and(|now| Rc::ptr_eq(now, linked))
    }

    fn connect_ended(&mut self, attempt: Attempt<C::Sink>) {
        let Attempt { linked, link } = attempt;
        if let Some(linked) = linked {
            let last = self.linked.replace(Rc::clone(&linked));
            let same = last.as_ref().is_some_and(|last| Rc::ptr_eq(last, &linked));
            if !same {
                self.view = View::default();
                last.into_iter().for_each(|last| self.retire(last));
            }
        }
        match link {
            Ok(()) => {
                self.attempt_at = None;
                self.renewal_ended();
                let change = self.link.answered();
                self.report_link(change);
            }
            Err(error) => {
                self.link_failed(&error);
                if self.view.accepts_writes() && self.link.may_retry_at_once() {
                    self.link.relapsed();
                    let soon = Instant::now() + RETRY_IN;
                    self.attempt_at = self.attempt_at.map(|at| at.min(soon));
                }
            }
        }
    }

    /// MongoDB has answered a batch, or acknowledged it: the link works.
    pub(super) fn answered_by_batch(&mut self, acknowledged: bool) {
        if self.link.is_waiting() {
            return;
        }
        let change = if acknowledged {
            self.attempt_at = None;
            self.link.acknowledged()
        } else {
            self.link.answered()
        };
        self.report_link(change);
    }

    fn batch_ended(&mut self, flight: SentBatch<C::Sink>, result: Result<Written, Failure>) {
        let (current, fences) = (self.is_current(&flight), self.fences(&flight));
        let SentBatch { batch, linked, in_flight, since } = flight;
        drop(linked);
        let batch = unshare(batch);
        let namespace = batch.registration.namespace.clone();
        let took = since.elapsed();
        let is_retry = batch.retry > 0;
        match result {
            Ok(written) => {
                if current {
                    self.answered_by_batch(true);
                }
                let now_us = self.now_us();
                let most = self.options.max_in_flight;
                if !self.is_slow(&batch) {
                    self.flow.acknowledged(batch.items.len(), now_us, in_flight, most);
                }
                self.lag.acknowledged(&batch, &written, now_us, took);
                let attempts = batch.retry;
                self.answered(batch, written, attempts);
            }
            Err(Failure::Namespace(error)) => {
                if current {
                    self.answered_by_batch(false);
                }
                self.namespace_failed(batch, error, false);
            }
            Err(Failure::Part(why)) => {
                let indeterminate = why.unanswered && !fences;
                self.namespace_failed(batch, why.error, indeterminate);
            }
            Err(Failure::Link(why)) => {
                // All batches in flight fail together: only the first failure counts. And a failure
                // of a retired sink is not one of the current link.
                if current && self.link.accepts_batches() {
                    self.link.relapsed();
                    self.link_failed(&why);
                }
                let indeterminate = why.unanswered && !fences;
                self.done(batch, Verdict::Returned { error: why.error, hold_ms: 0, indeterminate });
                return;
            }
        }
        if !is_retry {
            self.record_time(&namespace, took);
        }
    }

    /// MongoDB has replied to a batch after so many failed attempts. Items that it did not write are tried again after a pause.
    pub(super) fn answered(&mut self, batch: Batch, mut written: Written, attempts: u32) {
        let namespace = &batch.registration.namespace;
        let backoff = self.options.backoff;
        let unwritten = written.returned.len() + written.blocked.len() + written.held().len();
        if unwritten < batch.items.len() && batch.retry == 0 {
            self.backoffs.succeeded(namespace);
        }
        if !written.error.is_empty() {
            written.hold_ms = self.backoffs.failed(namespace, backoff, fastrand::u64(..));
        }
        written.blocked_ms = backoff.delay_ms(attempts + 1, fastrand::u64(..));
        let (error, hold_ms) = (written.error.clone(), written.hold_ms);
        let namespace = namespace.clone();
        self.done(batch, Verdict::Written(written));
        if !error.is_empty() {
            self.return_waiting_of(&namespace, &error, hold_ms);
        }
    }

    /// Retires a sink. Its batches in flight still end on it.
    pub(super) fn retire(&mut self, linked: Rc<Linked<C::Sink>>) {
        self.former_sessions.extend(linked.sink.sessions());
        self.sessions_reported = 0;
        self.retired.push(linked);
    }

    /// Closes retired sinks without batches in flight.
    pub(super) fn close_retired(&mut self, tasks: &mut Tasks<C::Sink>) {
        for linked in self.retired.extract_if(.., |linked| Rc::strong_count(linked) == 1) {
            tasks.spawn_local(async move {
                // Closing may take long; dropping the sink closes its connections as well.
                let _ = timeout(CLOSE_WITHIN, linked.sink.close()).await;
                BatchEnd::Closed
            });
        }
    }

    /// Returns `batch` and lets its namespace back off, longer with each failure.
    pub(super) fn namespace_failed(&mut self, batch: Batch, error: String, indeterminate: bool) {
        let namespace = batch.registration.namespace.clone();
        let backoff = self.options.backoff;
        let hold_ms = match batch.retry {
            0 => self.backoffs.failed(&namespace, backoff, fastrand::u64(..)),
            retry => backoff.delay_ms(retry + 1, fastrand::u64(..)),
        };
        let is_retry = batch.retry > 0;
        self.done(batch, Verdict::Returned { error: error.clone(), hold_ms, indeterminate });
        if !is_retry {
            self.return_waiting_of(&namespace, &error, hold_ms);
        }
    }

    pub(super) fn link_failed(&mut self, why: &LinkError) {
        self.renewal.at = None;
        self.flow.failed();
        let (change, pause_ms) = self.link.failed(why, self.options.backoff, fastrand::u64(..));
        let pause = self.pause_for_lease(Duration::from_millis(pause_ms));
        self.attempt_at = Some(Instant::now() + pause);
        // Reported first, so that the server thread does not send the returned batches again yet.
        self.report_link(change);
        self.return_waiting();
    }

    /// Returns the queued batches of a namespace that backs off.
    fn return_waiting_of(&mut self, namespace: &Namespace, error: &str, hold_ms: u64) {
        let mut at = 0;
        while let Some(waiting) = self.waiting.get(at) {
            if waiting.batch.registration.namespace != *namespace {
                at += 1;
                continue;
            }
            if let Some(waiting) = self.waiting.remove(at) {
                let error = error.to_owned();
                self.done(
                    waiting.batch,
                    Verdict::Returned { error, hold_ms, indeterminate: false },
                );
            }
        }
    }

    /// Returns all queued batches.
    pub(super) fn return_waiting(&mut self) {
        let error = self.link.error().unwrap_or("the link to MongoDB has changed").to_owned();
        while let Some(waiting) = self.waiting.pop_front() {
            let verdict =
                Verdict::Returned { error: error.clone(), hold_ms: 0, indeterminate: false };
            self.done(waiting.batch, verdict);
        }
        self.return_waiting_groups(&error);
    }

    /// Returns all batches, in flight or queued. No task of this write loop may be alive.
    pub(super) fn return_all(&mut self, error: &str) {
        let flights = std::mem::take(&mut self.flights).into_values();
        // Their sessions are lost, and with them the fence against late writes.
        let flights = flights.map(|flight| (unshare(flight.batch), true)).collect::<Vec<_>>();
        self.return_groups(error);
        let waiting = std::mem::take(&mut self.waiting).into_iter();
        for (batch, indeterminate) in
            flights.into_iter().chain(waiting.map(|waiting| (waiting.batch, false)))
        {
            self.done(
                batch,
                Verdict::Returned { error: error.to_owned(), hold_ms: 0, indeterminate },
            );
        }
    }

    /// Recovers after a panic of the write loop, which has dropped its runtime: returns all
    /// batches; the loop creates a new sink when it runs again.
    pub(super) fn recover(&mut self, error: &str) {
        self.attempt = None;
        self.view = View::default();
        if let Some(linked) = self.linked.take() {
            self.retire(linked);
        }
        self.retired.clear();
        self.link_failed(&LinkError::transient(error));
        self.return_all(error);
        self.fail_checks(error);
        self.end_loads();
        self.end_finds();
        self.end_comparisons();
        self.outbox.flush();
    }

    pub(super) fn report_link(&mut self, change: Option<Link>) {
        if let Some(link) = change {
            self.outbox.push(Report::Link(link));
        }
    }

    pub(super) fn done(&mut self, batch: Batch, verdict: Verdict) {
        // The credit of a group batch ends with all of its batches.
        if batch.groups.is_empty() {
            let slow = self.is_slow(&batch);
            self.credits.ended(slow);
        }
        self.outbox.push(Report::Done { batch, verdict });
    }
}

/// The batch itself. Its task has ended, so there is no other owner; if there was one, a copy would
/// do: only ended batches are reported, and each once.
fn unshare(batch: Rc<Batch>) -> Batch {
    Rc::try_unwrap(batch).unwrap_or_else(|shared| copy(&shared))
}

/// A copy of a batch.
pub fn copy(batch: &Batch) -> Batch {
    Batch {
        registration: batch.registration.clone(),
        registration_id: batch.registration_id,
        epoch: batch.epoch,
        slow: batch.slow,
        retry: batch.retry,
        items: batch.items.clone(),
        groups: batch.groups.clone(),
        bytes: batch.bytes.clone(),
    }
}
