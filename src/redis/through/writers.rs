//! Clients that wait until MongoDB has what they wrote.
//!
//! The reply of the command is at the client's handle already. So an error in place of it goes to the client by the
//! timeout callback: what is at the handle of a client that has timed out is dropped.

use std::cell::RefCell;

use super::clients::{Clients, Waiting};
use crate::core::backlog::writes::Held;
use crate::core::ids::WaitId;
use crate::redis::api::context::Ctx;
use crate::redis::api::held_client::{HeldClient, KeptReply};
use crate::redis::api::reply::Reply;
use crate::redis::api::{clock, raw, run_for_client};
use crate::redis::pipeline::Pipeline;

/// The error at the timeout.
pub const TIMED_OUT: &str = "WBTIMEOUT MongoDB has not acknowledged the write in time; Redis has it, and MongoDB gets \
                             it later";

const SHUT_DOWN: &str =
    "WBTIMEOUT the server has shut down before MongoDB had acknowledged the write";
const NOT_KEPT: &str = "WBTIMEOUT the server has shut down; MongoDB has the write, but the reply cannot be sent any more";

/// What else is known of a client that waits.
#[derive(Debug)]
struct Writer {
    /// What it gets when it is unblocked; nothing for the error at the timeout.
    end: Option<End>,
    /// The reply of its command.
    reply: KeptReply,
}

/// What a client gets when it is unblocked.
#[derive(Debug)]
pub enum End {
    /// An error, with its code.
    Error(String),
    /// The reply of its command.
    Reply(KeptReply),
}

impl End {
    /// Writes it.
    pub fn send(&self, to: Reply<'_>) {
        match self {
            End::Error(error) => to.error_with_code(error),
            End::Reply(reply) if reply.send(to) => {}
            End::Reply(_) => to.error_with_code(NOT_KEPT),
        }
    }
}

/// All clients that wait.
#[derive(Debug, Default)]
pub struct Writers(RefCell<Clients<Writer>>);

impl Writers {
    /// Adds a client, at whose handle the reply of its command is.
    pub fn add(
        &self,
        pipeline: &Pipeline,
        client: HeldClient,
        Held { wait, timeout_ms, .. }: Held,
        reply: KeptReply,
    ) {
        let end_us = clock::now_us() + timeout_ms * 1000;
        pipeline.backlog.borrow_mut().writes.keeps_reply(wait, reply.memory_bytes());
        let what = Writer { end: None, reply };
        self.0.borrow_mut().add(wait, Waiting { client, timeout_ms, end_us, what });
    }

    /// Removes a client that the server has unblocked, and returns what it gets. Its handle is dropped.
    pub fn unblocked(
        &self,
        pipeline: &Pipeline,
        raw: *mut raw::RedisModuleBlockedClient,
    ) -> Option<End> {
        let (wait, Waiting { client, what, .. }) = self.0.borrow_mut().take_by_handle(raw)?;
        if what.end.is_none() {
            pipeline.backlog.borrow_mut().write_timed_out(wait);
        }
        drop(client);
        Some(what.end.unwrap_or_else(|| End::Error(TIMED_OUT.to_owned())))
    }

    /// Removes a client that has disconnected; its handle is dropped.
    pub fn gone(&self, pipeline: &Pipeline, raw: *mut raw::RedisModuleBlockedClient) {
        let gone = self.0.borrow_mut().take_by_handle(raw);
        if let Some((wait, _)) = gone {
            pipeline.backlog.borrow_mut().writes.forget(wait);
        }
    }

    /// True if no client waits.
    pub fn is_empty(&self) -> bool {
        self.0.borrow().len() == 0
    }

    /// When the next timeout passes, microseconds; `u64::MAX` for never.
    pub fn due_us(&self) -> u64 {
        self.0.borrow_mut().first().map_or(u64::MAX, |(end_us, _)| end_us)
    }

    /// Replies to the clients whose writes are acknowledged or refused, and to those whose timeout has passed.
    pub fn answer(&self, pipeline: &Pipeline, ctx: Ctx<'_>) {
        self.answer_by(pipeline, ctx, |wait| drop(self.0.borrow_mut().take(wait)));
    }

    /// The same while the server shuts down: it would not send what is at their handles. True if clients were answered.
    pub fn answer_at_end(&self, pipeline: &Pipeline, ctx: Ctx<'_>) -> bool {
        let before = self.0.borrow().len();
        let reply = |writer: &mut Writer| End::Reply(std::mem::take(&mut writer.reply));
        self.answer_by(pipeline, ctx, |wait| self.end(ctx, wait, reply));
        self.0.borrow().len() < before
    }

    fn answer_by(&self, pipeline: &Pipeline, ctx: Ctx<'_>, reply: impl Fn(WaitId)) {
        let ended = pipeline.backlog.borrow_mut().writes.take_ended();
        for (wait, error) in ended {
            match error {
                None => reply(wait),
                Some(error) => self.fail(ctx, wait, error),
            }
        }
        if self.due_us() == u64::MAX {
            return;
        }
        let now_us = clock::now_us();
        loop {
            let overdue = self.0.borrow_mut().overdue(now_us);
            let Some(wait) = overdue else { return };
            pipeline.backlog.borrow_mut().write_timed_out(wait);
            self.fail(ctx, wait, TIMED_OUT.to_owned());
        }
    }

    /// Replies with an error to every client: the module is broken.
    pub fn release(&self, ctx: Ctx<'_>) {
        let all = self.0.try_borrow_mut().map(|mut clients| clients.drain()).unwrap_or_default();
        for (_, waiting) in all {
            let id = waiting.client.id();
            if !run_for_client::unblock(ctx, id) {
                run_for_client::kill(ctx, id);
            }
        }
    }

    /// Ends the waiting of every client: the server shuts down.
    pub fn shut_down(&self, pipeline: &Pipeline, ctx: Ctx<'_>) {
        self.answer_at_end(pipeline, ctx);
        while let Some((_, wait)) = { self.0.borrow_mut().first() } {
            pipeline.backlog.borrow_mut().write_timed_out(wait);
            self.fail(ctx, wait, SHUT_DOWN.to_owned());
        }
    }

    /// Lets a client go with an error.
    fn fail(&self, ctx: Ctx<'_>, wait: WaitId, error: String) {
        self.end(ctx, wait, |_| End::Error(error));
    }

    /// Lets a client go with something else than what is at its handle.
    fn end(&self, ctx: Ctx<'_>, wait: WaitId, end: impl FnOnce(&mut Writer) -> End) {
        let mut clients = self.0.borrow_mut();
        let Some(waiting) = clients.get_mut(wait) else { return };
        let end = end(&mut waiting.what);
        waiting.what.end = Some(end);
        let id = waiting.client.id();
        drop(clients);
        // That calls `unblocked`, unless the client is gone already.
        let is_unblocked = run_for_client::unblock(ctx, id);
        let rest = self.0.borrow_mut().take(wait);
        if rest.is_some() && !is_unblocked {
            // Rather no reply than one that says that MongoDB has the write.
            run_for_client::kill(ctx, id);
        }
    }
}
