//! Sends the worker's reports to the server thread, and wakes it for them.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::Sender;

use super::wake::Asked;
use crate::core::delivery::batch::{Batch, Written};
use crate::core::delivery::buckets::WriteTimes;
use crate::core::delivery::lag::Lag;
use crate::core::delivery::report::Report;
use crate::core::ids::RegistrationId;
use crate::core::registration::Registration;

/// Minimum time between two reports of the lag, microseconds.
const LAG_EVERY_US: u64 = 100_000;

/// Sends reports; [`flush`](Outbox::flush) wakes the server once for all of them.
pub struct Outbox {
    reports: Sender<Report>,
    asked: Arc<Asked>,
    wake_server: Box<dyn Fn() + Send + Sync>,
    unflushed: bool,
}

impl Outbox {
    /// An outbox that sends to `reports`.
    pub fn new(
        reports: Sender<Report>,
        asked: Arc<Asked>,
        wake_server: Box<dyn Fn() + Send + Sync>,
    ) -> Self {
        Outbox { reports, asked, wake_server, unflushed: false }
    }

    /// Adds a report. The channel is unbounded, so none is ever lost; it contains at most the
    /// batches for which there are credits and a few changes of the link.
    pub fn push(&mut self, report: Report) {
        // Fails only when the server thread has dropped its end, and then no report is needed.
        self.unflushed |= self.reports.send(report).is_ok();
    }

    /// Wakes the server if there are new reports and it was not woken for earlier ones already.
    pub fn flush(&mut self) {
        if std::mem::take(&mut self.unflushed) && self.asked.ask() {
            (self.wake_server)();
        }
    }
}

/// Measures the lag and the time of acknowledged batches, and reports them periodically.
#[derive(Debug)]
pub struct LagReports {
    all: Lag,
    times: WriteTimes,
    /// By registration.
    each: HashMap<RegistrationId, Measured>,
    reported_at_us: Option<u64>,
    unreported: bool,
}

/// The lag of one registration.
#[derive(Debug)]
struct Measured {
    registration: Arc<Registration>,
    lag: Lag,
    unreported: bool,
}

impl Measured {
    fn new(batch: &Batch, now_us: u64) -> Self {
        let registration = batch.registration.clone();
        Measured { registration, lag: Lag::new(now_us), unreported: false }
    }
}

impl LagReports {
    /// Without measurements, created at `now_us`.
    pub fn new(now_us: u64) -> Self {
        let (all, each) = (Lag::new(now_us), HashMap::new());
        LagReports {
            all,
            times: WriteTimes::default(),
            each,
            reported_at_us: None,
            unreported: false,
        }
    }

    /// Records that MongoDB replied to `batch` at `now_us`, after `took`; items that were not written
    /// are not measured.
    pub fn acknowledged(&mut self, batch: &Batch, written: &Written, now_us: u64, took: Duration) {
        if batch.items.is_empty() {
            return;
        }
        let one =
            self.each.entry(batch.registration_id).or_insert_with(|| Measured::new(batch, now_us));
        if !one.registration.is_same_prefix(&batch.registration) {
            *one = Measured::new(batch, now_us);
        }
        one.unreported = true;
        self.times.batch.record(u64::try_from(took.as_micros()).unwrap_or(u64::MAX));
        self.all.rotate(now_us);
        one.lag.rotate(now_us);
        let items = batch.items.iter().enumerate();
        for (_, item) in items.filter(|(index, _)| !written.is_open(*index)) {
            let lag_us = now_us.saturating_sub(item.since_us);
            self.all.record(lag_us);
            one.lag.record(lag_us);
            self.times.lag.record(lag_us);
        }
        self.unreported = true;
    }

    /// The reports that are due at `now_us`.
    pub fn due(&mut self, now_us: u64) -> Vec<Report> {
        if self.due_in_us(now_us).is_none_or(|pause| pause > 0) {
            return Vec::new();
        }
        self.unreported = false;
        self.reported_at_us = Some(now_us);
        let mut reports = vec![Report::Times(Box::new(self.times))];
        let all = self.all.percentiles(now_us);
        reports.extend(all.map(|lag| Report::Lag { of: None, lag }));
        self.each.retain(|id, one| {
            let lag = one.lag.percentiles(now_us);
            if std::mem::take(&mut one.unreported) {
                let of = Some((*id, one.registration.clone()));
                reports.extend(lag.map(|lag| Report::Lag { of, lag }));
            }
            lag.is_some()
        });
        reports
    }

    /// Microseconds until the next report is due; `None` when there is nothing to report.
    pub fn due_in_us(&self, now_us: u64) -> Option<u64> {
        self.unreported.then(|| {
            let at_us = self.reported_at_us.map_or(0, |at| at.saturating_add(LAG_EVERY_US));
            at_us.saturating_sub(now_us)
        })
    }
}
