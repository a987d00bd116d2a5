//! Clients that wait until their keys are loaded.
//!
//! The module implements the timeouts itself: with a timeout of the server, a client that the module unblocks in the
//! same event-loop iteration would get no reply at all.

use std::cell::RefCell;
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use foldhash::fast::RandomState;

use super::call::{Call, Decision, Waiting, decide};
use super::filter::ReadFilter;
use crate::core::backlog::reads::Ended;
use crate::core::ids::WaitId;
use crate::redis::api::context::{Ctx, PAUSED_US, must_not_replicate};
use crate::redis::api::held_client::{HeldClient, LaterCommand};
use crate::redis::api::{clock, raw};
use crate::redis::pipeline::Pipeline;

/// The error at the timeout.
pub const TIMED_OUT: &str = "WBTIMEOUT MongoDB did not return the document of a key that Redis does not have within \
                             through-timeout-ms";

/// A client that waits.
#[derive(Debug)]
pub struct Reader {
    /// The client.
    pub client: HeldClient,
    /// Its command.
    pub command: LaterCommand,
    /// True if the command has keys beside those that it waits for.
    pub has_others: bool,
    /// When its timeout passes, microseconds.
    pub end_us: u64,
}

/// A client whose keys are loaded, and those without a document.
#[derive(Debug)]
struct Ready {
    reader: Reader,
    absent: Vec<Arc<[u8]>>,
}

/// All clients that wait.
#[derive(Debug, Default)]
pub struct Readers {
    clients: RefCell<Clients>,
    /// Clients whose keys are loaded, while nothing may be replicated: their commands may write.
    ready: RefCell<Vec<Ready>>,
}

#[derive(Debug, Default)]
struct Clients {
    by_wait: HashMap<WaitId, Reader, RandomState>,
    by_handle: HashMap<*mut raw::RedisModuleBlockedClient, WaitId, RandomState>,
    /// By the end of their timeouts, with some that do not wait any more.
    by_end: VecDeque<(u64, WaitId)>,
}

impl Clients {
    fn take(&mut self, wait: WaitId) -> Option<Reader> {
        let reader = self.by_wait.remove(&wait)?;
        self.by_handle.remove(&reader.client.raw());
        Some(reader)
    }

    /// The client whose timeout passes first.
    fn first(&mut self) -> Option<(u64, WaitId)> {
        while let Some(first) = self.by_end.front() {
            if self.by_wait.contains_key(&first.1) {
                return Some(*first);
            }
            self.by_end.pop_front();
        }
        None
    }
}

impl Readers {
    /// Adds a blocked client.
    pub fn add(&self, wait: WaitId, reader: Reader) {
        let mut clients = self.clients.borrow_mut();
        let end_us = reader.end_us;
        clients.by_handle.insert(reader.client.raw(), wait);
        // The setting may be less than it was.
        let at = clients.by_end.iter().rposition(|(other_us, _)| *other_us <= end_us);
        clients.by_end.insert(at.map_or(0, |at| at + 1), (end_us, wait));
        clients.by_wait.insert(wait, reader);
    }

    /// Removes a client that the server has unblocked or disconnected; its handle is dropped.
    pub fn gone(&self, pipeline: &Pipeline, raw: *mut raw::RedisModuleBlockedClient) {
        let mut clients = self.clients.borrow_mut();
        let Some(wait) = clients.by_handle.get(&raw).copied() else {
            drop(clients);
            return self.ready.borrow_mut().retain(|ready| ready.reader.client.raw() != raw);
        };
        let reader = clients.take(wait);
        drop(clients);
        pipeline.backlog.borrow_mut().reads.end_wait(wait);
        drop(reader);
    }

    /// When the next timeout passes, or clients whose keys are loaded may be answered, microseconds; `u64::MAX` for
    /// never.
    pub fn due_us(&self) -> u64 {
        let end_us = self.clients.borrow_mut().first().map_or(u64::MAX, |(end_us, _)| end_us);
        match self.ready.borrow().is_empty() {
            true => end_us,
            false => end_us.min(clock::now_us() + PAUSED_US),
        }
    }

    /// Lets every client go: the module is broken.
    pub fn release(&self, error: &str) {
        let mut all = Vec::new();
        if let Ok(mut clients) = self.clients.try_borrow_mut() {
            let Clients { by_wait, .. } = std::mem::take(&mut *clients);
            all.extend(by_wait.into_values());
        }
        if let Ok(mut ready) = self.ready.try_borrow_mut() {
            all.extend(ready.drain(..).map(|ready| ready.reader));
        }
        all.into_iter().for_each(|reader| reader.client.fail(error));
    }

    /// Runs the commands of the clients whose keys are loaded, and replies to those whose timeout has passed. To be
    /// called where keys were stored: nothing may happen to them between. `begins` is called before each command. True
    /// if commands were run.
    pub fn answer(
        &self,
        pipeline: &Pipeline,
        ctx: Ctx<'_>,
        filter: &ReadFilter,
        begins: impl Fn(),
    ) -> bool {
        let waits = must_not_replicate();
        let mut has_run = false;
        if !waits {
            for Ready { reader, absent } in self.ready.take() {
                has_run = true;
                self.run(pipeline, ctx, filter, (reader, absent, true), &begins);
            }
        }
        let ended = pipeline.backlog.borrow_mut().reads.take_ended();
        for Ended { wait, error, absent } in ended {
            let reader = self.clients.borrow_mut().take(wait);
            let Some(reader) = reader else { continue };
            match error {
                Some(error) => reader.client.fail(&error),
                None if waits => self.ready.borrow_mut().push(Ready { reader, absent }),
                None => {
                    has_run = true;
                    let looks = reader.has_others;
                    self.run(pipeline, ctx, filter, (reader, absent, looks), &begins);
                }
            }
        }
        self.end_overdue(pipeline);
        has_run
    }

    /// Replies to the clients whose timeout has passed.
    fn end_overdue(&self, pipeline: &Pipeline) {
        if self.clients.borrow_mut().first().is_none() {
            return;
        }
        let now_us = clock::now_us();
        loop {
            let mut clients = self.clients.borrow_mut();
            let overdue = clients.first().filter(|(end_us, _)| *end_us <= now_us);
            let Some((_, wait)) = overdue else { return };
            let reader = clients.take(wait);
            drop(clients);
            pipeline.backlog.borrow_mut().reads.end_wait(wait);
            if let Some(reader) = reader {
                reader.client.fail(TIMED_OUT);
            }
        }
    }

    /// Runs the command of a client. If it `looks`, keys may be gone again: then it waits once more.
    fn run(
        &self,
        pipeline: &Pipeline,
        ctx: Ctx<'_>,
        filter: &ReadFilter,
        (reader, absent, looks): (Reader, Vec<Arc<[u8]>>, bool),
        begins: &impl Fn(),
    ) {
        if looks {
            reader.command.select(ctx);
            let (words, raw) = (reader.command.words(), reader.command.raw_words());
            let known = filter.command(&words).zip(ctx.db());
            let decision = known.map(|(command, db)| {
                let (command, words, raw) = (&command, &words[..], &raw[..]);
                let call = Call { db, command, words, raw, absent: &absent, counts: false };
                decide(pipeline, ctx, call, Waiting::Allowed)
            });
            match decision {
                Some(Decision::Wait { wait, .. }) => return self.add(wait, reader),
                Some(Decision::Refuse(error)) => return reader.client.fail(&error),
                Some(Decision::Run) | None => {}
            }
        }
        begins();
        reader.client.run(ctx, &reader.command);
    }
}
