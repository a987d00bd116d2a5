//! What every part of the server's side may use: the backlog, the worker, and the way keys are opened.

use std::cell::{Cell, RefCell};
use std::time::Duration;

use super::api::key::KeyOpener;
use super::api::{clock, log, signals, thread_policy, wake};
use super::slice::Turn;
use super::sources::Sources;
use crate::core::backlog::{Backlog, Flight};
use crate::core::delivery::batch::Batch;
use crate::core::settings::Settings;
use crate::mongo::sink::MongoConnector;
use crate::worker::{Worker, WorkerOptions};

/// Used under the server's lock alone, so its cells are never borrowed twice; and no borrow is held
/// across a call into the server, because the server may call back (a key that expires while it is
/// read).
#[derive(Default)]
pub struct Pipeline {
    /// What is dirty, and everything about it.
    pub backlog: RefCell<Backlog>,
    /// The handle of the background thread; nothing until the settings are known.
    pub worker: RefCell<Option<Worker>>,
    /// Where the connection string comes from, and the file of registrations.
    pub sources: RefCell<Sources>,
    /// Opens keys for reading.
    pub opener: KeyOpener,
    /// What others had of the server.
    pub turn: Turn,
    /// True while this server is a replica, which writes nothing.
    pub is_replica: Cell<bool>,
    /// Whether the worker was asked to keep the link up.
    keeps_link: Cell<bool>,
}

impl Pipeline {
    /// Settings as they are now.
    pub fn settings(&self) -> Settings {
        self.backlog.borrow().settings
    }

    /// The longest slice, microseconds.
    pub fn longest_slice_us(&self) -> u64 {
        u64::try_from(self.settings().read_slice_us).unwrap_or(0)
    }

    /// How long a slice may be that begins now, microseconds.
    pub fn slice_us(&self, now_us: u64) -> u64 {
        self.turn.slice_us(self.longest_slice_us(), now_us)
    }

    /// Starts the background thread. MongoDB is contacted when there is something to write for.
    ///
    /// # Errors
    /// One sentence when the thread cannot be started.
    pub fn start_worker(&self) -> Result<(), String> {
        let options = self.worker_options();
        let _signals = signals::block_all();
        let _batch_work = thread_policy::begin();
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
        let backlog = self.backlog.borrow();
        !self.is_replica.get() && (!backlog.registry.captures_nothing() || backlog.dirty_len() > 0)
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

    fn worker_options(&self) -> WorkerOptions {
        let former = self.backlog.borrow().sessions.former().to_vec();
        let uri = self.sources.borrow().uri_source();
        self.keeps_link.set(self.needs_link());
        WorkerOptions::new(uri, &self.settings(), former, self.keeps_link.get())
    }

    /// Hands a batch to the worker. False when that takes none, although there was a credit for it: it
    /// has ended.
    pub fn send(&self, batch: Batch) -> bool {
        let worker = self.worker.borrow();
        let mut backlog = self.backlog.borrow_mut();
        let Some(worker) = &*worker else {
            backlog.unsent(batch);
            return false;
        };
        let flight = Flight::of(&batch);
        backlog.sending(&batch);
        match worker.send(batch) {
            Ok(()) => {
                backlog.in_flight.sent(flight);
                true
            }
            Err(batch) => {
                backlog.unsent(batch);
                backlog.in_flight.lose_credits();
                false
            }
        }
    }
}
