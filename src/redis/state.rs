//! The module's state, which the server thread owns: all parts of the module.

use std::cell::{Cell, OnceCell};

use lazy_static::lazy_static;

use super::asks::Asks;
use super::check_clients::CheckClients;
use super::cluster::Cluster;
use super::event_loop::key_scan::KeyScans;
use super::event_loop::problem_log::MissedLog;
use super::event_loop::reports::{Parts, Reports};
use super::event_loop::schedule::Schedule;
use super::flush_clients::FlushClients;
use super::loads::Loads;
use super::node_flushes::NodeFlushes;
use super::nodes::Nodes;
use super::peers::Peers;
use super::pipeline::Pipeline;
use super::read::fill::Filler;
use super::replication::async_loading::AsyncLoading;
use super::retain::redis70::Redis70;
use super::through::Through;
use super::units::Units;
use super::verify::Verification;

/// The module's state. Each part owns its cells and refers to no other part: its methods take the
/// pipeline and what else they need.
#[derive(Default)]
pub struct Module {
    /// What every part may use.
    pub pipeline: Pipeline,
    /// Fills batches.
    pub filler: Filler,
    /// Handles the worker's reports.
    pub reports: Reports,
    /// When the next work is due, and the timer for it.
    pub schedule: Schedule,
    /// Documents that are loaded.
    pub loads: Loads,
    /// Keys that are compared with their documents.
    pub verification: Verification,
    /// Read-through.
    pub through: Through,
    /// Scans for existing keys.
    pub scans: KeyScans,
    /// What was logged about missed changes.
    pub missed_log: MissedLog,
    /// Clients that are blocked in WB.FLUSH.
    pub flushes: FlushClients,
    /// Clients that are blocked in WB.CHECK.
    pub checks: CheckClients,
    /// Look-ahead retention on a server that reports expired and evicted keys only after their
    /// value is removed (Redis 7.0).
    pub redis70: OnceCell<Redis70>,
    /// Which changes belong together.
    pub units: Units,
    /// Keys that leave with their hash slot.
    pub cluster: Cluster,
    /// Messages of the other nodes of the cluster.
    pub nodes: Nodes,
    /// Clients that wait for the answers of other nodes.
    pub asks: Asks,
    /// Flushes for clients that have asked all nodes.
    pub node_flushes: NodeFlushes,
    /// What the other nodes know of registrations.
    pub peers: Peers,
    /// State that a replica receives during async (diskless) loading.
    pub async_loading: AsyncLoading,
    /// Logical databases that the server has.
    pub databases: Cell<u32>,
    /// True once the module has drained for SHUTDOWN: the server is about to exit.
    pub is_shut_down: Cell<bool>,
}

impl Module {
    /// What handles the worker's reports.
    pub fn report_parts(&self) -> Parts<'_> {
        let Module { pipeline, checks, loads, through, verification, .. } = self;
        Parts { pipeline, checks, loads, finds: &through.finds, verification }
    }
}

struct StateCell(Module);

// SAFETY: the server calls modules under its global lock only, and the worker thread never accesses
// this value: no two threads use it at the same time. Blocked clients are handles of the server and
// are used on its thread only.
unsafe impl Sync for StateCell {}
// SAFETY: as above.
unsafe impl Send for StateCell {}

lazy_static! {
    static ref MODULE: StateCell = StateCell(Module::default());
}

/// The module's state. Only for code that runs in a callback of the server.
pub fn module() -> &'static Module {
    &MODULE.0
}
