//! The worker's ends of the channels to the server thread.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use crossbeam_channel::{Receiver, Sender};

use super::options::{UriSource, WorkerOptions};
use super::wake::{Asked, Doorbell};
use crate::core::delivery::batch::Batch;
use crate::core::delivery::comparison::CompareRequest;
use crate::core::delivery::group_batch::GroupBatch;
use crate::core::delivery::page::{FindRequest, LoadMessage};
use crate::core::delivery::report::Report;
use crate::core::registration::Registration;

/// The error for operators after a panic; the panic's own message may contain a value.
pub const PANIC: &str = "the module failed inside (a bug: please report it with the server's log)";

/// The worker's ends of all channels to the server thread.
pub struct Ends {
    /// Batches to write.
    pub batches: Receiver<Batch>,
    /// Group batches to write.
    pub groups: Receiver<GroupBatch>,
    /// New options; the last ones apply.
    pub options: Receiver<WorkerOptions>,
    /// Deployments to check.
    pub checks: Receiver<CheckRequest>,
    /// Documents to read.
    pub loads: Receiver<LoadMessage>,
    /// Keys whose documents clients wait for.
    pub finds: Receiver<FindRequest>,
    /// Keys that are compared with their documents.
    pub comparisons: Receiver<CompareRequest>,
    /// Reports to the server.
    pub reports: Sender<Report>,
    /// Ends the worker's sleep.
    pub doorbell: Doorbell,
    /// Set while the server has been woken for reports and has not drained them.
    pub asked: Arc<Asked>,
    /// Set when the worker shall stop.
    pub stopping: Arc<AtomicBool>,
    /// How many batches are in flight, for the server thread.
    pub concurrency: Arc<Concurrency>,
    /// The module's clock.
    pub now_us: fn() -> u64,
    /// Wakes the server, which then drains the reports.
    pub wake_server: Box<dyn Fn() + Send + Sync>,
}

/// Batches in flight and their allowed number, written by the worker alone.
#[derive(Debug, Default)]
pub struct Concurrency {
    in_flight: AtomicU32,
    allowed: AtomicU32,
}

impl Concurrency {
    /// Sets both numbers.
    pub fn set(&self, in_flight: u32, allowed: u32) {
        self.in_flight.store(in_flight, Ordering::Relaxed);
        self.allowed.store(allowed, Ordering::Relaxed);
    }

    /// The number in flight, and the allowed one.
    pub fn get(&self) -> (u32, u32) {
        (self.in_flight.load(Ordering::Relaxed), self.allowed.load(Ordering::Relaxed))
    }
}

/// A request to check a deployment.
#[derive(Debug)]
pub struct CheckRequest {
    /// The id of the check, which is returned with the result.
    pub id: u64,
    /// The deployment's connection string.
    pub uri: UriSource,
    /// The registrations for which the user's privileges are checked.
    pub registrations: Vec<Arc<Registration>>,
}
