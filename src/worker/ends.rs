//! What connects the worker with the server thread, at the worker's end.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use crossbeam_channel::{Receiver, Sender};

use super::options::{UriSource, WorkerOptions};
use super::wake::{Asked, Doorbell};
use crate::core::delivery::batch::{Batch, Report};
use crate::core::registration::Registration;

/// The error for operators after a panic, whose own text may hold anything.
pub const PANIC: &str = "the module failed inside (a bug: please report it with the server's log)";

/// The worker's ends of all that connects it with the server thread.
pub struct Ends {
    /// Batches to write.
    pub batches: Receiver<Batch>,
    /// New options; the last one counts.
    pub options: Receiver<WorkerOptions>,
    /// Deployments to look at.
    pub checks: Receiver<CheckRequest>,
    /// Reports to the server.
    pub reports: Sender<Report>,
    /// Ends the worker's sleep.
    pub doorbell: Doorbell,
    /// Whether the server was woken for reports already.
    pub asked: Arc<Asked>,
    /// Set when the worker shall stop.
    pub stopping: Arc<AtomicBool>,
    /// The module's clock.
    pub now_us: fn() -> u64,
    /// Makes the server drain the reports.
    pub wake_server: Box<dyn Fn() + Send + Sync>,
}

/// A deployment that is to be checked.
#[derive(Debug)]
pub struct CheckRequest {
    /// Comes back with what was found.
    pub id: u64,
    /// Where it is.
    pub uri: UriSource,
    /// Whose rights are asked for.
    pub registrations: Vec<Arc<Registration>>,
}
