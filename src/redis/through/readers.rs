//! Clients that wait until their keys are loaded.

use std::cell::RefCell;
use std::sync::Arc;

use super::call::{self, Call, Decision, decide};
use super::clients::{Clients, Waiting};
use super::filter::ThroughFilter;
use super::writers::Writers;
use crate::core::backlog::reads::Ended;
use crate::core::ids::WaitId;
use crate::redis::api::context::{Ctx, PAUSED_US, must_not_replicate};
use crate::redis::api::held_client::{KeptReply, LaterCommand};
use crate::redis::api::{clock, raw, run_for_client};
use crate::redis::pipeline::Pipeline;

/// The error at the timeout.
pub const TIMED_OUT: &str = "WBTIMEOUT MongoDB did not return the document of a key that Redis does not have within \
                             through-timeout-ms";

/// The error when the server shuts down.
pub const SHUT_DOWN: &str = "WBTIMEOUT the server has shut down before the document of a key was loaded; the command has \
                             not run";

/// What a client waits for.
#[derive(Debug)]
pub struct Reader {
    /// Its command.
    pub command: LaterCommand,
    /// True if the command has keys beside those that it waits for.
    pub has_others: bool,
}

/// A client that waits until its keys are loaded.
pub type WaitingReader = Waiting<Reader>;

/// A client whose keys are loaded, and those without a document.
#[derive(Debug)]
struct Ready {
    reader: WaitingReader,
    absent: Vec<Arc<[u8]>>,
}

/// All clients that wait.
#[derive(Debug, Default)]
pub struct Readers {
    clients: RefCell<Clients<Reader>>,
    /// Clients whose keys are loaded, while nothing may be replicated: their commands may write.
    ready: RefCell<Vec<Ready>>,
}

impl Readers {
    /// Adds a blocked client.
    pub fn add(&self, wait: WaitId, reader: WaitingReader) {
        self.clients.borrow_mut().add(wait, reader);
    }

    /// Removes a client that the server has unblocked or disconnected; its handle is dropped. False if it did not wait
    /// for keys.
    pub fn gone(&self, pipeline: &Pipeline, raw: *mut raw::RedisModuleBlockedClient) -> bool {
        let gone = self.clients.borrow_mut().take_by_handle(raw);
        if let Some((wait, _)) = gone {
            pipeline.backlog.borrow_mut().reads.end_wait(wait);
            return true;
        }
        let mut ready = self.ready.borrow_mut();
        let before = ready.len();
        ready.retain(|ready| ready.reader.client.raw() != raw);
        ready.len() < before
    }

    /// True if no client waits.
    pub fn is_empty(&self) -> bool {
        self.clients.borrow().len() == 0 && self.ready.borrow().is_empty()
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

    /// Ends the waiting of every client: the server shuts down.
    pub fn shut_down(&self, ctx: Ctx<'_>) {
        let mut ids: Vec<u64> = self.clients.borrow().iter().map(|of| of.client.id()).collect();
        ids.extend(self.ready.borrow().iter().map(|ready| ready.reader.client.id()));
        for id in ids {
            // That calls `gone`.
            run_for_client::unblock(ctx, id);
        }
    }

    /// Lets every client go: the module is broken.
    pub fn release(&self, error: &str) {
        let mut all = Vec::new();
        if let Ok(mut clients) = self.clients.try_borrow_mut() {
            all.extend(clients.drain().into_iter().map(|(_, reader)| reader));
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
        parts: (&ThroughFilter, &Writers),
        begins: impl Fn(),
    ) -> bool {
        let waits = must_not_replicate();
        let mut has_run = false;
        if !waits {
            for Ready { reader, absent } in self.ready.take() {
                has_run = true;
                self.run(pipeline, ctx, parts, (reader, absent, true), &begins);
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
                    let looks = reader.what.has_others;
                    self.run(pipeline, ctx, parts, (reader, absent, looks), &begins);
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
            let Some(wait) = clients.overdue(now_us) else { return };
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
        parts: (&ThroughFilter, &Writers),
        (reader, absent, looks): (WaitingReader, Vec<Arc<[u8]>>, bool),
        begins: &impl Fn(),
    ) {
        let (filter, writers) = parts;
        if looks {
            reader.what.command.select(ctx);
            let (words, raw) = (reader.what.command.words(), reader.what.command.raw_words());
            let known = filter.command(&words).zip(ctx.db());
            let decision = known.map(|(command, db)| {
                let (command, words, raw) = (&command, &words[..], &raw[..]);
                let call = Call { db, command, words, raw, absent: &absent, counts: false };
                decide(pipeline, ctx, call, call::Waiting::Allowed)
            });
            match decision {
                Some(Decision::Wait { wait, .. }) => return self.add(wait, reader),
                Some(Decision::Refuse(error)) => return reader.client.fail(&error),
                Some(Decision::Run) | None => {}
            }
        }
        begins();
        let collects = pipeline.backlog.borrow_mut().collect_writes();
        let Waiting { client, what, .. } = reader;
        let held = client.run(ctx, &what.command, |reply| {
            let mut backlog = pipeline.backlog.borrow_mut();
            let held = collects.then(|| backlog.hold_write(true, clock::now_us())).flatten()?;
            Some((held, reply.map(KeptReply::of).unwrap_or_default()))
        });
        if let Some((held, reply)) = held {
            writers.add(pipeline, client, held, reply);
        }
    }
}
