//! Handles the worker's reports, for a slice at a time; acknowledgements are deferred while
//! replication is paused.

use std::cell::RefCell;
use std::collections::VecDeque;

use super::problem_log;
use crate::core::backlog::Acknowledged;
use crate::core::delivery::batch::Verdict;
use crate::core::delivery::report::Report;
use crate::core::now::Now;
use crate::redis::api::clock;
use crate::redis::api::context::{Ctx, must_not_replicate};
use crate::redis::check_clients::CheckClients;
use crate::redis::loads::Loads;
use crate::redis::pipeline::Pipeline;
use crate::redis::replication::propagate;
use crate::redis::through::finds::Finds;
use crate::redis::verify::Verification;
use crate::worker::Worker;

/// Keys that are settled between two readings of the clock.
const SETTLE_KEYS: usize = 128;
/// Maximum number of reports deferred while replication is paused; beyond it no more are taken, so
/// that no more batches are sent.
const MAX_DEFERRED: usize = 64;

/// What handles reports.
#[derive(Clone, Copy)]
pub struct Parts<'a> {
    /// The backlog.
    pub pipeline: &'a Pipeline,
    /// The clients of WB.CHECK.
    pub checks: &'a CheckClients,
    /// The documents that are loaded.
    pub loads: &'a Loads,
    /// The documents that clients wait for.
    pub finds: &'a Finds,
    /// Keys that are compared with their documents.
    pub verification: &'a Verification,
}

/// Reports deferred until replication is no longer paused.
#[derive(Debug, Default)]
pub struct Reports(RefCell<VecDeque<Report>>);

impl Reports {
    /// True if there are reports that can be handled now. An acknowledgement that cannot be
    /// replicated now is deferred, and its keys stay in flight; further batches may be sent, up to
    /// a limit.
    pub fn has_any(&self, pipeline: &Pipeline) -> bool {
        let deferred = self.0.borrow().len();
        let worker = pipeline.worker.borrow();
        let more = worker.as_ref().is_some_and(Worker::has_reports);
        if must_not_replicate() { more && deferred < MAX_DEFERRED } else { more || deferred > 0 }
    }

    /// Handles reports of the worker for at most one slice, and replicates the results. False if
    /// there was none.
    pub fn take(&self, parts: Parts<'_>, ctx: Ctx<'_>) -> bool {
        let pipeline = parts.pipeline;
        // Also without any report: the worker may have woken the server for one that was handled before, and until it
        // is answered it wakes the server for no other.
        if let Some(worker) = &*pipeline.worker.borrow() {
            worker.begin_drain();
        }
        if !self.has_any(pipeline) {
            return false;
        }
        let slice_us = pipeline.slice_us(clock::now_us());
        let defer = must_not_replicate();
        self.settle(parts, slice_us, defer, |clean| propagate::replicate(ctx, clean));
        let sessions =
            if defer { None } else { pipeline.backlog.borrow_mut().sessions.take_pending() };
        if let Some(sessions) = sessions {
            propagate::sessions(ctx, &sessions);
        }
        true
    }

    /// Handles reports for at most `slice_us`; with `defer`, acknowledgements are deferred.
    /// `propagate` receives the settled keys, a part at a time.
    pub fn settle(
        &self,
        parts: Parts<'_>,
        slice_us: u64,
        defer: bool,
        propagate: impl Fn(&Acknowledged),
    ) {
        let pipeline = parts.pipeline;
        let propagate = |clean: &Acknowledged| {
            pipeline.backlog.borrow_mut().see_written(&clean.keys);
            propagate(clean);
        };
        if let Some(worker) = &*pipeline.worker.borrow() {
            worker.begin_drain();
        }
        let mut clean = Acknowledged::default();
        let began_us = clock::now_us();
        let mut now_us = began_us;
        while now_us < began_us + slice_us && self.settle_one(parts, defer, now_us, &mut clean) {
            if clean.len() >= propagate::KEYS {
                propagate(&clean);
                clean.clear();
            }
            now_us = clock::now_us();
        }
        propagate(&clean);
        problem_log::link(&mut pipeline.backlog.borrow_mut());
    }

    /// Handles the next report, or a part of it. False when none can be handled.
    fn settle_one(
        &self,
        Parts { pipeline, checks, loads, finds, verification }: Parts<'_>,
        defer: bool,
        now_us: u64,
        clean: &mut Acknowledged,
    ) -> bool {
        let worker = pipeline.worker.borrow();
        let Some(worker) = &*worker else { return false };
        let mut backlog = pipeline.backlog.borrow_mut();
        let mut deferred = self.0.borrow_mut();
        let first = if defer { None } else { deferred.pop_front() };
        let Some(report) = first.or_else(|| worker.report()) else { return false };
        if let Report::Checked { id, found } = report {
            checks.answer(id, *found);
        } else if let Report::Page { load, result } = report {
            drop(backlog);
            let result = result.map(|page| *page);
            match verification.lists(load) {
                true => verification.listed(pipeline, result),
                false => loads.received(pipeline, load, result),
            }
        } else if let Report::Compared(run, result) = report {
            verification.compared(run, result);
        } else if let Report::Found { find, result } = report {
            drop(backlog);
            finds.received(pipeline, find, result.map(|found| *found));
        } else if defer && matches!(report, Report::Done { verdict: Verdict::Written(_), .. }) {
            deferred.push_back(report);
        } else if let Some(rest) = backlog.report_part(
            report,
            SETTLE_KEYS,
            Now { us: now_us, unix_ms: clock::unix_ms() },
            clean,
        ) {
            deferred.push_front(rest);
        }
        !defer || deferred.len() < MAX_DEFERRED
    }
}
