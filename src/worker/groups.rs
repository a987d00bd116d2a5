//! Group batches: sent one at a time, beside the others. In two open transactions, new documents that
//! are neighbours cost four times as much.

use std::rc::Rc;

use tokio::time::{Instant, timeout};

use super::completion::copy;
use super::ends::PANIC;
use super::group_lane::SentGroups;
use super::tasks::{BatchEnd, Tasks};
use super::write_loop::{SILENT, WRITE_WITHIN, WriteLoop};
use crate::core::delivery::batch::Verdict;
use crate::core::delivery::group_batch::GroupBatch;
use crate::core::delivery::group_counts::GroupCounts;
use crate::core::delivery::report::Report;
use crate::sink::{Connector, Failure, GroupResults, LinkError, Sink};

impl<C: Connector> WriteLoop<C> {
    /// Sends the next group batch, unless one is in flight. True if it was sent.
    pub(super) fn send_groups(&mut self, tasks: &mut Tasks<C::Sink>) -> bool {
        if self.groups.flight.is_some() || !self.link.accepts_batches() {
            return false;
        }
        let Some(linked) = self.linked.clone() else { return false };
        if self.flights.len() >= linked.sink.max_in_flight() {
            return false;
        }
        let Some(groups) = self.groups.waiting.pop_front() else { return false };
        let groups = Rc::new(groups);
        let (batch, sink) = (Rc::clone(&groups), Rc::clone(&linked));
        let (form, within) = (self.options.write_form, self.options.write_timeout);
        let task = tasks.spawn_local(async move {
            let last_resort = WRITE_WITHIN.max(within * 4);
            let write = timeout(last_resort, sink.sink.write_groups(&batch, form, within));
            BatchEnd::Groups(write.await.unwrap_or_else(|_| {
                let silent = || Err(Failure::Link(LinkError::unanswered(SILENT)));
                let batches = batch.batches.iter().map(|_| silent()).collect();
                GroupResults { batches, counts: GroupCounts::default() }
            }))
        });
        let since = Instant::now();
        self.groups.flight = Some(SentGroups { task: task.id(), groups, linked, since });
        true
    }

    /// Handles the end of the group batch in flight; without `ended`, its task has panicked or was
    /// aborted.
    pub(super) fn groups_ended(&mut self, ended: Option<BatchEnd<C::Sink>>) {
        let Some(flight) = self.groups.flight.take() else { return };
        let SentGroups { groups, linked, since, .. } = flight;
        let current = self.is_linked(&linked);
        let fences = current && linked.sink.is_fenced();
        drop(linked);
        let groups = unshare(groups);
        let Some(BatchEnd::Groups(GroupResults { batches: results, counts })) = ended else {
            for batch in groups.batches {
                self.namespace_failed(batch, PANIC.to_owned(), !fences);
            }
            return self.end_groups();
        };
        let took = since.elapsed();
        // A flush that ends with a group finds it counted.
        self.report_groups(&counts);
        let mut results = results.into_iter();
        for batch in groups.batches {
            let result =
                results.next().unwrap_or_else(|| Err(Failure::Namespace(PANIC.to_owned())));
            match result {
                Ok(written) => {
                    if current {
                        self.answered_by_batch(true);
                    }
                    let now_us = self.now_us();
                    self.lag.acknowledged(&batch, &written, now_us, took);
                    let of = |index: &usize| batch.groups.get(*index).copied();
                    let held = written.held().iter().filter_map(of);
                    let held = held.filter_map(|group| groups.groups.get(group as usize));
                    let attempts = held.map(|group| group.attempts).max().unwrap_or(0);
                    self.answered(batch, written, attempts);
                }
                Err(Failure::Namespace(error)) => {
                    if current {
                        self.answered_by_batch(false);
                    }
                    self.namespace_failed(batch, error, false);
                }
                Err(Failure::Part(why)) => {
                    self.namespace_failed(batch, why.error, why.unanswered && !fences);
                }
                Err(Failure::Link(why)) => {
                    if current && self.link.accepts_batches() {
                        self.link.relapsed();
                        self.link_failed(&why);
                    }
                    let indeterminate = why.unanswered && !fences;
                    let error = why.error;
                    self.done(batch, Verdict::Returned { error, hold_ms: 0, indeterminate });
                }
            }
        }
        self.end_groups();
    }

    /// Returns the group batches that wait.
    pub(super) fn return_waiting_groups(&mut self, error: &str) {
        while let Some(groups) = self.groups.waiting.pop_front() {
            self.return_parts(groups, error, false);
        }
    }

    /// Returns all group batches. No task of this write loop may be alive.
    pub(super) fn return_groups(&mut self, error: &str) {
        if let Some(flight) = self.groups.flight.take() {
            self.return_parts(unshare(flight.groups), error, true);
        }
        self.return_waiting_groups(error);
    }

    fn return_parts(&mut self, groups: GroupBatch, error: &str, indeterminate: bool) {
        for batch in groups.batches {
            let error = error.to_owned();
            self.done(batch, Verdict::Returned { error, hold_ms: 0, indeterminate });
        }
        self.end_groups();
    }

    fn end_groups(&mut self) {
        self.groups.ended();
    }

    fn report_groups(&mut self, counts: &GroupCounts) {
        if *counts != GroupCounts::default() {
            self.outbox.push(Report::Groups(Box::new(*counts)));
        }
    }
}

/// The group batch itself. Its task has ended, so there is no other owner.
fn unshare(groups: Rc<GroupBatch>) -> GroupBatch {
    Rc::try_unwrap(groups).unwrap_or_else(|shared| GroupBatch {
        batches: shared.batches.iter().map(copy).collect(),
        groups: shared.groups.clone(),
    })
}
