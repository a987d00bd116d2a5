//! What every part of the Redis side may use: the backlog, the worker and the key opener.

use std::cell::{Cell, OnceCell, RefCell};
use std::time::Duration;

use super::api::key::KeyOpener;
use super::api::{clock, log, signals, thread_policy, wake};
use super::slice::ClientTime;
use super::sources::Sources;
use crate::core::backlog::{Backlog, Flight};
use crate::core::delivery::batch::Batch;
use crate::core::delivery::group_batch::GroupBatch;
use crate::core::delivery::lease::{Claim, Holder};
use crate::core::settings::Settings;
use crate::mongo::sink::MongoConnector;
use crate::worker::{Worker, WorkerOptions};

/// Used only under the server's lock. No borrow is held across a call into the server, because the
/// server may call back (a key that expires while it is read); so no cell is ever borrowed twice.
#[derive(Default)]
pub struct Pipeline {
    /// The dirty keys and their state.
    pub backlog: RefCell<Backlog>,
    /// The handle of the background thread; nothing until the settings are known.
    pub worker: RefCell<Option<Worker>>,
    /// The sources of the connection string and of the registrations.
    pub sources: RefCell<Sources>,
    /// Opens keys for reading.
    pub opener: KeyOpener,
    /// Time that clients used in recent event-loop iterations.
    pub client_time: ClientTime,
    /// Who this server is when it takes the lease.
    pub holder: OnceCell<Holder>,
    /// Set while values from MongoDB are stored.
    pub storing: Storing,
    /// Number of expired keys that the server has reported.
    pub expired: Cell<u64>,
    /// True while this server is a replica, which writes nothing.
    pub is_replica: Cell<bool>,
    /// True if the worker was asked to keep the link up.
    keeps_link: Cell<bool>,
}

/// Whether values from MongoDB are being stored: the events of their keys are no changes.
#[derive(Debug, Default)]
pub struct Storing(Cell<bool>);

impl Storing {
    /// Values are stored until the result is dropped.
    pub fn begin(&self) -> impl Drop + '_ {
        struct End<'a>(&'a Cell<bool>);
        impl Drop for End<'_> {
            fn drop(&mut self) {
                self.0.set(false);
            }
        }
        self.0.set(true);
        End(&self.0)
    }

    /// True while values are stored.
    #[inline]
    pub fn is_on(&self) -> bool {
        self.0.get()
    }
}

impl Pipeline {
    /// The current settings.
    pub fn settings(&self) -> Settings {
        self.backlog.borrow().settings
    }

    /// The maximum slice, microseconds.
    pub fn longest_slice_us(&self) -> u64 {
        u64::try_from(self.settings().read_slice_us).unwrap_or(0)
    }

    /// The time budget of a slice that begins now, microseconds.
    pub fn slice_us(&self, now_us: u64) -> u64 {
        self.client_time.slice_us(self.longest_slice_us(), now_us)
    }

    /// Starts the background thread. It connects to MongoDB once there is a registration or a dirty
    /// key.
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

    /// Asks the worker to keep the link up, or no longer to, when the need has changed: a master
    /// needs the link while it has a registration, or dirty keys of a removed one.
    pub fn follow_need(&self) {
        if self.needs_link() != self.keeps_link.get() {
            self.configure_worker();
        }
    }

    fn needs_link(&self) -> bool {
        let backlog = self.backlog.borrow();
        !self.is_replica.get() && (!backlog.registry.captures_nothing() || backlog.dirty_len() > 0)
    }

    /// Sends the current settings to the worker.
    pub fn configure_worker(&self) {
        if let Some(worker) = &*self.worker.borrow() {
            worker.configure(self.worker_options());
        }
    }

    /// Number of batches that MongoDB has not answered, and of those that may be in flight.
    pub fn concurrency(&self) -> (u32, u32) {
        self.worker.borrow().as_ref().map(Worker::concurrency).unwrap_or_default()
    }

    /// Stops the background thread, and waits at most `limit` for its end.
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
        let claim = self.claim().filter(|_| self.keeps_link.get());
        WorkerOptions::new(uri, &self.settings(), former, self.keeps_link.get(), claim)
    }

    fn claim(&self) -> Option<Claim> {
        let place = self.sources.borrow().lease_namespace();
        self.backlog.borrow().lease.claim(self.holder.get()?, place)
    }

    /// Sends a group batch to the worker. False when the worker does not accept it although there was a
    /// credit for it: the worker has ended.
    pub fn send_groups(&self, mut groups: GroupBatch) -> bool {
        let worker = self.worker.borrow();
        let mut backlog = self.backlog.borrow_mut();
        groups.batches.retain(|batch| !batch.items.is_empty());
        let flights: Vec<Flight> = groups.batches.iter().map(Flight::of).collect();
        groups.batches.iter().for_each(|batch| backlog.sending(batch));
        let refused = match &*worker {
            Some(worker) => worker.send_groups(groups).err(),
            None => Some(groups),
        };
        let Some(refused) = refused else {
            backlog.in_flight.sent_groups(flights.into_iter());
            return true;
        };
        refused.batches.into_iter().for_each(|batch| backlog.unsent(batch));
        backlog.in_flight.lose_credits();
        false
    }

    /// Sends a batch to the worker. False when the worker does not accept it although there was a
    /// credit for it: the worker has ended.
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
