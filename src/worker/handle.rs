//! The server thread's side of the worker: it never blocks and never locks.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, TrySendError, bounded, unbounded};

use super::ends::{CheckRequest, Concurrency, Ends};
use super::group_lane::GROUP_CREDITS;
use super::options::{MAX_IN_FLIGHT, WorkerOptions};
use super::thread;
use super::wake::{Asked, Ringer, doorbell};
use crate::core::delivery::batch::Batch;
use crate::core::delivery::comparison::CompareRequest;
use crate::core::delivery::group_batch::GroupBatch;
use crate::core::delivery::page::{FindRequest, LoadMessage};
use crate::core::delivery::report::Report;
use crate::sink::Connector;

/// Capacity of the channel of batches: the maximum number of credits, usual and slow ones.
const CHANNEL_BATCHES: usize = 2 * (2 * MAX_IN_FLIGHT as usize + 8);
/// Capacity of the channel of group batches: the maximum number of credits for them.
const CHANNEL_GROUPS: usize = GROUP_CREDITS as usize;
/// Maximum time that a drop without [`Worker::stop`] waits for the thread.
const DROP_WAIT: Duration = Duration::from_secs(1);

/// The handle of a running worker.
#[derive(Debug)]
pub struct Worker {
    batches: Sender<Batch>,
    groups: Sender<GroupBatch>,
    options: Sender<WorkerOptions>,
    checks: Sender<CheckRequest>,
    loads: Sender<LoadMessage>,
    finds: Sender<FindRequest>,
    comparisons: Sender<CompareRequest>,
    reports: Receiver<Report>,
    ringer: Ringer,
    asked: Arc<Asked>,
    stopping: Arc<AtomicBool>,
    concurrency: Arc<Concurrency>,
    /// Disconnected once the thread has ended, also by a panic.
    exited: Receiver<()>,
    thread: Option<JoinHandle<()>>,
}

impl Worker {
    /// Starts the thread `wb-worker`. It connects to MongoDB when the options require the link to
    /// be kept up, or with the first batch.
    ///
    /// `now_us` is the clock of [`Item::since_us`](crate::core::delivery::batch::Item::since_us).
    /// `wake_server` is called on the worker thread, at most once until
    /// [`begin_drain`](Self::begin_drain); it must return quickly and must not block.
    ///
    /// The thread inherits the caller's signal mask: block all signals around this call, so that
    /// the server's handlers run on the server thread only.
    ///
    /// # Errors
    /// When the process may have no more threads or file descriptors.
    pub fn start<C: Connector>(
        connector: C,
        options: WorkerOptions,
        now_us: fn() -> u64,
        wake_server: Box<dyn Fn() + Send + Sync>,
    ) -> io::Result<Worker> {
        let (mut worker, ends) = Worker::unattended(now_us, wake_server)?;
        let (exited_out, exited) = bounded(0);
        worker.exited = exited;
        let spawned = std::thread::Builder::new().name("wb-worker".to_owned()).spawn(move || {
            let _exited = exited_out;
            thread::run(connector, options, ends);
        });
        worker.thread = Some(spawned?);
        Ok(worker)
    }

    /// A handle, and the worker's ends of its channels, without a thread.
    pub(super) fn unattended(
        now_us: fn() -> u64,
        wake_server: Box<dyn Fn() + Send + Sync>,
    ) -> io::Result<(Worker, Ends)> {
        let (ringer, doorbell) = doorbell()?;
        let (batches_out, batches) = bounded(CHANNEL_BATCHES);
        let (groups_out, groups) = bounded(CHANNEL_GROUPS);
        let (options_out, options) = unbounded();
        let (checks_out, checks) = unbounded();
        let (loads_out, loads) = unbounded();
        let (finds_out, finds) = unbounded();
        let (comparisons_out, comparisons) = unbounded();
        let (reports, reports_in) = unbounded();
        let (_, exited) = bounded(0);
        let asked = Arc::new(Asked::default());
        let stopping = Arc::new(AtomicBool::new(false));
        let concurrency = Arc::new(Concurrency::default());
        let worker = Worker {
            batches: batches_out,
            groups: groups_out,
            options: options_out,
            checks: checks_out,
            loads: loads_out,
            finds: finds_out,
            comparisons: comparisons_out,
            reports: reports_in,
            ringer,
            asked: Arc::clone(&asked),
            stopping: Arc::clone(&stopping),
            concurrency: Arc::clone(&concurrency),
            exited,
            thread: None,
        };
        let ends = Ends {
            batches,
            groups,
            options,
            checks,
            loads,
            finds,
            comparisons,
            reports,
            doorbell,
            asked,
            stopping,
            concurrency,
            now_us,
            wake_server,
        };
        Ok((worker, ends))
    }

    /// Sends a batch to the worker and spends one credit. Never blocks.
    ///
    /// # Errors
    /// Returns the batch when there was no credit for it or the worker has ended.
    #[allow(clippy::result_large_err, reason = "the batch is the point of the error")]
    pub fn send(&self, batch: Batch) -> Result<(), Batch> {
        match self.batches.try_send(batch) {
            Ok(()) => {
                self.ringer.ring();
                Ok(())
            }
            Err(TrySendError::Full(batch) | TrySendError::Disconnected(batch)) => Err(batch),
        }
    }

    /// Sends a group batch. Never blocks.
    ///
    /// # Errors
    /// As [`send`](Self::send).
    pub fn send_groups(&self, groups: GroupBatch) -> Result<(), GroupBatch> {
        match self.groups.try_send(groups) {
            Ok(()) => {
                self.ringer.ring();
                Ok(())
            }
            Err(TrySendError::Full(groups) | TrySendError::Disconnected(groups)) => Err(groups),
        }
    }

    /// Sends changed settings to the worker. Batches in flight are finished with the old ones.
    /// Never blocks.
    pub fn configure(&self, options: WorkerOptions) {
        // Fails only when the worker has ended, and then no report is needed.
        if self.options.send(options).is_ok() {
            self.ringer.ring();
        }
    }

    /// Requests the check of a deployment; the result is a report. Never blocks. False if there
    /// will be none, because the worker has ended.
    pub fn check(&self, request: CheckRequest) -> bool {
        let sent = self.checks.send(request).is_ok();
        self.ringer.ring();
        sent
    }

    /// Says something of a load; pages are reports. Never blocks.
    pub fn load(&self, message: LoadMessage) {
        // Fails only when the worker has ended, and then nothing is read any more.
        if self.loads.send(message).is_ok() {
            self.ringer.ring();
        }
    }

    /// Asks for the documents of keys; they are a report. Never blocks.
    pub fn find(&self, request: FindRequest) {
        // Fails only when the worker has ended. Then the clients wait until their timeouts.
        if self.finds.send(request).is_ok() {
            self.ringer.ring();
        }
    }

    /// Compares keys with their documents; the result is a report. False if there will be none, because the worker has
    /// ended. Never blocks.
    pub fn compare(&self, request: CompareRequest) -> bool {
        let sent = self.comparisons.send(request).is_ok();
        self.ringer.ring();
        sent
    }

    /// To be called before a series of [`report`](Self::report): reports from here on wake the
    /// server again. A caller that stops before `report` returns `None` must continue later without
    /// being woken.
    pub fn begin_drain(&self) {
        self.asked.answer();
    }

    /// The next report, if there is one. Never blocks.
    pub fn report(&self) -> Option<Report> {
        self.reports.try_recv().ok()
    }

    /// True when there is a report for [`report`](Self::report).
    pub fn has_reports(&self) -> bool {
        !self.reports.is_empty()
    }

    /// Number of batches that MongoDB has not answered, and of those that may be in flight at
    /// present. Never blocks.
    pub fn concurrency(&self) -> (u32, u32) {
        self.concurrency.get()
    }

    /// Waits for a report, at most `limit`. For the shutdown only: the server thread never waits
    /// otherwise.
    pub fn wait_for_report(&self, limit: Duration) {
        let mut select = crossbeam_channel::Select::new();
        select.recv(&self.reports);
        // A timeout and a report are handled alike: the caller checks for reports.
        let _ = select.ready_timeout(limit);
    }

    /// Asks the worker to stop and waits for it, at most `limit`. Batches in flight are abandoned
    /// and reported as returned; reports can still be drained afterwards.
    ///
    /// True if the thread has ended; a thread that hangs is left behind.
    pub fn stop(&mut self, limit: Duration) -> bool {
        self.stopping.store(true, Ordering::SeqCst);
        self.ringer.ring();
        if let Err(RecvTimeoutError::Timeout) = self.exited.recv_timeout(limit) {
            self.thread = None;
            return false;
        }
        if let Some(thread) = self.thread.take() {
            // The thread itself has reported a panic as far as possible.
            let _ = thread.join();
        }
        true
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        if self.thread.is_some() {
            self.stop(DROP_WAIT);
        }
    }
}
