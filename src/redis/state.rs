//! What the server thread owns: the engine, the worker's handle, and who waits for a flush.

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use lazy_static::lazy_static;

use super::api::{clock, log, raw, wake};
use super::event_loop::key_scan::Syncs;
use super::event_loop::slice::Turn;
use super::flush_clients::Blocked;
use super::read::large_value::Partial;
use super::retain::redis70::ttl::Early;
use super::sources::Sources;
use crate::core::backlog::Engine;
use crate::core::delivery::batch::{Batch, Report};
use crate::core::settings::Settings;
use crate::mongo::sink::MongoConnector;
use crate::worker::{Worker, WorkerOptions};

/// Reads of keys by the module that are in the server's `keyspace_hits` and `keyspace_misses`.
#[derive(Debug, Default)]
pub struct OwnReads {
    /// Keys that were there.
    pub hits: Cell<u64>,
    /// Keys that were not.
    pub misses: Cell<u64>,
}

impl OwnReads {
    /// The server counts one more read.
    pub fn count(&self, is_hit: bool) {
        let counter = if is_hit { &self.hits } else { &self.misses };
        counter.set(counter.get() + 1);
    }
}

/// The module's state. It is used under the server's lock alone, so its cells are never
/// borrowed twice; and no borrow is held across a call into the server, because the server may
/// call back (a key that expires while it is read).
pub struct Module {
    /// What is dirty, and everything about it.
    pub engine: RefCell<Engine>,
    /// The handle of the background thread; nothing until the settings are known.
    pub worker: RefCell<Option<Worker>>,
    /// Where the connection string comes from, and the file of registrations.
    pub sources: RefCell<Sources>,
    /// Clients that wait for a check, by its number.
    pub checks: RefCell<HashMap<u64, *mut raw::RedisModuleBlockedClient>>,
    /// The number of the next check.
    pub next_check: Cell<u64>,
    /// Clients that wait for their flush.
    pub blocked: RefCell<Blocked>,
    /// Reports that wait for the end of a pause.
    pub held: RefCell<VecDeque<Report>>,
    /// The large value that is being read.
    pub partial: RefCell<Option<Partial>>,
    /// Scans for existing keys.
    pub syncs: RefCell<Syncs>,
    /// Registrations that had missed changes when that was last logged.
    pub rescans: Cell<usize>,
    /// When the next batch can begin, as far as known; `u64::MAX` for never.
    pub next_due_us: Cell<u64>,
    /// A batch that is filled on in the next turn.
    pub held_batch: RefCell<Option<Batch>>,
    /// What others had of the server.
    pub turn: Turn,
    /// When the timer fires that is set; `u64::MAX` for none.
    pub timer_us: Cell<u64>,
    /// That timer.
    pub timer: Cell<u64>,
    /// True when the server is about to exit.
    pub is_shut_down: Cell<bool>,
    /// True while this server is a replica, which writes nothing.
    pub is_replica: Cell<bool>,
    /// Whether the worker was asked to keep the link up.
    keeps_link: Cell<bool>,
    /// On a server that reports keys only after they went: what is known of their ends.
    pub early: RefCell<Option<Early>>,
    /// Blocks of state that a replica loads beside the old data; nothing otherwise.
    pub loading_beside: RefCell<Option<Vec<Vec<u8>>>>,
    /// Logical databases that the server has.
    pub databases: Cell<u32>,
    /// Access modes for reading without a trace, as far as the server has them.
    pub read_mode: Cell<i32>,
    /// Our reads that the server counts as those of clients.
    pub own_reads: OwnReads,
}

struct Owned(Module);

// SAFETY: the server calls modules under its global lock only, and the worker thread never
// touches this value: no two threads use it at the same time. Blocked clients are handles of
// the server and stay with it.
unsafe impl Sync for Owned {}
// SAFETY: as above.
unsafe impl Send for Owned {}

lazy_static! {
    static ref MODULE: Owned = Owned(Module {
        engine: RefCell::default(),
        worker: RefCell::default(),
        sources: RefCell::default(),
        checks: RefCell::default(),
        next_check: Cell::new(0),
        blocked: RefCell::default(),
        held: RefCell::default(),
        partial: RefCell::default(),
        held_batch: RefCell::default(),
        turn: Turn::default(),
        syncs: RefCell::default(),
        rescans: Cell::new(0),
        next_due_us: Cell::new(u64::MAX),
        timer_us: Cell::new(u64::MAX),
        timer: Cell::new(0),
        early: RefCell::default(),
        loading_beside: RefCell::default(),
        is_shut_down: Cell::new(false),
        is_replica: Cell::new(false),
        keeps_link: Cell::new(false),
        databases: Cell::new(u32::MAX),
        read_mode: Cell::new(0),
        own_reads: OwnReads::default(),
    });
}

/// The module's state. Only for code that the server called.
pub fn module() -> &'static Module {
    &MODULE.0
}

impl Module {
    /// Starts the background thread. MongoDB is contacted when there is something to write for.
    ///
    /// # Errors
    /// One sentence when the thread cannot be started.
    pub fn start_worker(&self) -> Result<(), String> {
        let options = self.worker_options();
        let _signals = super::api::signals::block_all();
        let _batch_work = super::api::thread_policy::begin();
        let worker = Worker::start(MongoConnector, options, clock::now_us, Box::new(wake::server))
            .map_err(|error| format!("the background thread cannot be started: {error}"))?;
        self.worker.replace(Some(worker));
        Ok(())
    }

    /// Asks the worker to keep the link up, or not to, when that has changed: a master with a
    /// registration, or with keys of one that is gone, needs it.
    pub fn follow_need(&self) {
        if self.needs_link() != self.keeps_link.get() {
            self.configure_worker();
        }
    }

    fn needs_link(&self) -> bool {
        let engine = self.engine.borrow();
        !self.is_replica.get() && (!engine.is_deaf() || engine.dirty_len() > 0)
    }

    /// Tells the worker that settings have changed.
    pub fn configure_worker(&self) {
        if let Some(worker) = &*self.worker.borrow() {
            worker.configure(self.worker_options());
        }
    }

    /// Ends the background thread, waiting `limit` at most.
    pub fn stop_worker(&self, limit: Duration) {
        if let Some(mut worker) = self.worker.take()
            && !worker.stop(limit)
        {
            log::warning("the background thread did not end in time and is left behind");
        }
    }

    /// Settings as they are now.
    pub fn settings(&self) -> Settings {
        self.engine.borrow().settings
    }

    fn worker_options(&self) -> WorkerOptions {
        let former = self.engine.borrow().former_lanes().to_vec();
        let uri = self.sources.borrow().uri_source();
        self.keeps_link.set(self.needs_link());
        WorkerOptions::new(uri, &self.settings(), former, self.keeps_link.get())
    }
}
