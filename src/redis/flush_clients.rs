//! Clients that are blocked in WB.FLUSH.
//!
//! A handle unblocks its client when it is dropped; the caller that removes it from [`FlushClients`] decides
//! with which outcome.
//!
//! The module implements the timeouts itself. With a timeout of the server, a client that the
//! module unblocks in the same event-loop iteration would get no reply at all.

use std::cell::RefCell;
use std::collections::{BTreeSet, HashMap};

use super::api::blocked::Handle;
use super::api::clock;
use super::api::raw;
use super::pipeline::Pipeline;
use crate::core::backlog::flush_waiters::FlushProgress;
use crate::core::backlog::{Backlog, FlushScope};
use crate::core::ids::{Db, RegistrationId};

/// The result of a flush.
#[derive(Clone, Debug)]
pub struct FlushOutcome {
    /// Keys acknowledged since the call.
    pub persisted: u64,
    /// Dead letters within the scope of the flush.
    pub failed: u64,
    /// Keys still to be acknowledged.
    pub pending: u64,
    /// Why keys are pending; empty when none is.
    pub error: String,
}

/// The dead letters that a flush counts as failed.
#[derive(Clone, Debug)]
pub enum FailedScope {
    /// All of them.
    All,
    /// Those of one registration.
    Registration(RegistrationId),
    /// Those of these keys.
    Keys(Db, Vec<Vec<u8>>),
}

/// A client that waits for a flush.
#[derive(Debug)]
pub struct WaitingClient {
    /// The blocked client.
    pub handle: Handle<FlushOutcome>,
    /// The id of its flush.
    pub flush: u64,
    /// The dead letters that its reply counts.
    pub scope: FailedScope,
    /// When its timeout passes, microseconds; `u64::MAX` for never.
    pub end_us: u64,
}

/// All clients that wait for a flush.
#[derive(Debug, Default)]
pub struct FlushClients(RefCell<BlockedClients>);

impl FlushClients {
    /// True when no client waits.
    pub fn is_empty(&self) -> bool {
        self.0.borrow().by_flush.is_empty()
    }

    /// Adds a client.
    pub fn add(&self, waiting: WaitingClient) {
        self.0.borrow_mut().add(waiting);
    }

    /// Removes a client by its handle.
    pub fn take_client(&self, raw: *mut raw::RedisModuleBlockedClient) -> Option<WaitingClient> {
        self.0.borrow_mut().take_client(raw)
    }

    /// When the next client's timeout passes, microseconds; `u64::MAX` for never.
    pub fn next_us(&self) -> u64 {
        self.0.borrow().by_end.first().map_or(u64::MAX, |(end_us, _)| *end_us)
    }

    /// Unblocks every client without an outcome: the module is broken, and no flush would end any
    /// more.
    pub fn release(&self) {
        if let Ok(mut blocked) = self.0.try_borrow_mut() {
            std::mem::take(&mut *blocked);
        }
    }

    /// Replies to the clients whose flush is complete, and to those whose timeout has passed. To be
    /// called only before the event loop sleeps: there the server handles unblocked clients at
    /// once, before any other event can affect them.
    pub fn answer(&self, pipeline: &Pipeline) {
        let finished = pipeline.backlog.borrow_mut().flushed();
        for flush in finished {
            let waiting = self.0.borrow_mut().take(flush);
            if let Some(waiting) = waiting {
                end_wait(pipeline, waiting);
            }
        }
        if self.is_empty() {
            return;
        }
        let now_us = clock::now_us();
        loop {
            let overdue = self.0.borrow_mut().take_overdue(now_us);
            let Some(waiting) = overdue else { return };
            end_wait(pipeline, waiting);
        }
    }
}

fn end_wait(pipeline: &Pipeline, waiting: WaitingClient) {
    let outcome = end(pipeline, waiting.flush, &waiting.scope);
    waiting.handle.answer(outcome);
}

/// Ends a flush and returns its result.
pub fn end(pipeline: &Pipeline, flush: u64, scope: &FailedScope) -> FlushOutcome {
    let mut backlog = pipeline.backlog.borrow_mut();
    let progress = backlog.end_flush(flush).unwrap_or_default();
    let FlushProgress { persisted, pending } = progress;
    let error = if pending > 0 { why_pending(&backlog, scope) } else { String::new() };
    FlushOutcome { persisted, failed: failed(&backlog, scope), pending: pending as u64, error }
}

fn why_pending(backlog: &Backlog, scope: &FailedScope) -> String {
    match scope {
        FailedScope::All => backlog.why_pending(FlushScope::All),
        FailedScope::Registration(id) => backlog.why_pending(FlushScope::Registration(*id)),
        FailedScope::Keys(db, keys) => {
            let keys: Vec<&[u8]> = keys.iter().map(Vec::as_slice).collect();
            backlog.why_pending(FlushScope::Keys(*db, &keys))
        }
    }
}

fn failed(backlog: &Backlog, scope: &FailedScope) -> u64 {
    let count = match scope {
        FailedScope::All => backlog.dead.len(),
        FailedScope::Registration(id) => backlog.dead.count(*id),
        FailedScope::Keys(db, keys) => {
            keys.iter().filter(|key| backlog.dead.find(*db, key).is_some()).count()
        }
    };
    count as u64
}

/// The clients by their flush, their handle and the end of their timeout.
#[derive(Debug, Default)]
struct BlockedClients {
    by_flush: HashMap<u64, WaitingClient>,
    by_handle: HashMap<*mut raw::RedisModuleBlockedClient, u64>,
    by_end: BTreeSet<(u64, u64)>,
}

impl BlockedClients {
    /// Adds a client.
    fn add(&mut self, waiting: WaitingClient) {
        let flush = waiting.flush;
        self.by_handle.insert(waiting.handle.raw(), flush);
        if waiting.end_us != u64::MAX {
            self.by_end.insert((waiting.end_us, flush));
        }
        self.by_flush.insert(flush, waiting);
    }

    /// Removes the client of a flush.
    fn take(&mut self, flush: u64) -> Option<WaitingClient> {
        let waiting = self.by_flush.remove(&flush)?;
        self.by_handle.remove(&waiting.handle.raw());
        self.by_end.remove(&(waiting.end_us, flush));
        Some(waiting)
    }

    /// Removes a client by its handle.
    fn take_client(&mut self, raw: *mut raw::RedisModuleBlockedClient) -> Option<WaitingClient> {
        let flush = self.by_handle.get(&raw).copied()?;
        self.take(flush)
    }

    /// Removes a client whose timeout has passed.
    fn take_overdue(&mut self, now_us: u64) -> Option<WaitingClient> {
        let (end_us, flush) = self.by_end.first().copied()?;
        if end_us > now_us { None } else { self.take(flush) }
    }
}
