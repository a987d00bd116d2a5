//! What the server thread owns: the parts of the module, put together.

use std::cell::{Cell, OnceCell};

use lazy_static::lazy_static;

use super::check_clients::CheckClients;
use super::event_loop::key_scan::KeyScans;
use super::event_loop::problem_log::MissedLog;
use super::event_loop::reports::Reports;
use super::event_loop::schedule::Schedule;
use super::flush_clients::FlushClients;
use super::pipeline::Pipeline;
use super::read::fill::Filler;
use super::replication::beside::Beside;
use super::retain::redis70::Redis70;

/// The module's state. Each part owns its cells and knows no other part: its methods are given the
/// pipeline and what else they need.
#[derive(Default)]
pub struct Module {
    /// What every part may use.
    pub pipeline: Pipeline,
    /// Fills batches.
    pub filler: Filler,
    /// Reports of the worker.
    pub reports: Reports,
    /// What is to be done next, and when.
    pub schedule: Schedule,
    /// Scans for existing keys.
    pub scans: KeyScans,
    /// What was logged of missed changes.
    pub missed_log: MissedLog,
    /// Clients that wait for their flush.
    pub flushes: FlushClients,
    /// Clients that wait for a check.
    pub checks: CheckClients,
    /// On a server that reports keys only after they went: what is known of their ends.
    pub redis70: OnceCell<Redis70>,
    /// State that a replica loads beside the old data.
    pub beside: Beside,
    /// Logical databases that the server has.
    pub databases: Cell<u32>,
    /// True when the server is about to exit.
    pub is_shut_down: Cell<bool>,
}

struct StateCell(Module);

// SAFETY: the server calls modules under its global lock only, and the worker thread never
// touches this value: no two threads use it at the same time. Blocked clients are handles of
// the server and stay with it.
unsafe impl Sync for StateCell {}
// SAFETY: as above.
unsafe impl Send for StateCell {}

lazy_static! {
    static ref MODULE: StateCell = StateCell(Module::default());
}

/// The module's state. Only for code that the server called.
pub fn module() -> &'static Module {
    &MODULE.0
}
