//! What the worker reports: taken in for a slice, and put aside during a pause of replication.

use std::cell::RefCell;
use std::collections::VecDeque;

use super::problem_log;
use crate::core::backlog::Acknowledged;
use crate::core::delivery::batch::{Report, Verdict};
use crate::core::now::Now;
use crate::redis::api::clock;
use crate::redis::api::context::{Ctx, must_not_replicate};
use crate::redis::check_clients::CheckClients;
use crate::redis::pipeline::Pipeline;
use crate::redis::replication::propagate;
use crate::worker::Worker;

/// Keys that become clean between two looks at the clock.
const SETTLE_KEYS: usize = 128;
/// So many reports are put aside during a pause; then no more batches are sent.
const HELD: usize = 64;

/// Reports that wait for the end of a pause.
#[derive(Debug, Default)]
pub struct Reports(RefCell<VecDeque<Report>>);

impl Reports {
    /// Reports that can be taken in. An acknowledgement that cannot be replicated now must wait, and
    /// its keys stay in flight; but the next batches may go, up to a limit.
    pub fn has_any(&self, pipeline: &Pipeline) -> bool {
        let held = self.0.borrow().len();
        let worker = pipeline.worker.borrow();
        let more = worker.as_ref().is_some_and(Worker::has_reports);
        if must_not_replicate() { more && held < HELD } else { more || held > 0 }
    }

    /// Takes in what the worker reports, for one slice at most, and tells replicas and the AOF.
    pub fn take(&self, pipeline: &Pipeline, checks: &CheckClients, ctx: Ctx<'_>) -> bool {
        if !self.has_any(pipeline) {
            return false;
        }
        let slice_us = pipeline.slice_us(clock::now_us());
        let hold = must_not_replicate();
        self.settle((pipeline, checks), slice_us, hold, |clean| propagate::replicate(ctx, clean));
        let sessions =
            if hold { None } else { pipeline.backlog.borrow_mut().sessions.take_pending() };
        if let Some(sessions) = sessions {
            propagate::sessions(ctx, &sessions);
        }
        true
    }

    /// Takes in reports for `slice_us` at most; with `hold`, acknowledgements are put aside. `propagate` gets
    /// what became of keys, a part at a time.
    pub fn settle(
        &self,
        (pipeline, checks): (&Pipeline, &CheckClients),
        slice_us: u64,
        hold: bool,
        propagate: impl Fn(&Acknowledged),
    ) {
        if let Some(worker) = &*pipeline.worker.borrow() {
            worker.begin_drain();
        }
        let mut clean = Acknowledged::default();
        let began_us = clock::now_us();
        let mut now_us = began_us;
        while now_us < began_us + slice_us
            && self.settle_one((pipeline, checks), hold, now_us, &mut clean)
        {
            if clean.len() >= propagate::KEYS {
                propagate(&clean);
                clean.clear();
            }
            now_us = clock::now_us();
        }
        propagate(&clean);
        problem_log::link(&mut pipeline.backlog.borrow_mut());
    }

    /// Takes in the next report, or a part of it. False when there is none that can be.
    fn settle_one(
        &self,
        (pipeline, checks): (&Pipeline, &CheckClients),
        hold: bool,
        now_us: u64,
        clean: &mut Acknowledged,
    ) -> bool {
        let worker = pipeline.worker.borrow();
        let Some(worker) = &*worker else { return false };
        let mut backlog = pipeline.backlog.borrow_mut();
        let mut held = self.0.borrow_mut();
        let first = if hold { None } else { held.pop_front() };
        let Some(report) = first.or_else(|| worker.report()) else { return false };
        if let Report::Checked { id, found } = report {
            checks.answer(id, *found);
        } else if hold && matches!(report, Report::Done { verdict: Verdict::Written(_), .. }) {
            held.push_back(report);
        } else if let Some(rest) = backlog.report_part(
            report,
            SETTLE_KEYS,
            Now { us: now_us, unix_ms: clock::unix_ms() },
            clean,
        ) {
            held.push_front(rest);
        }
        !hold || held.len() < HELD
    }
}
