//! Clients that wait for the answers of other nodes.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, HashMap};

use super::api::blocked::Handle;
use super::api::raw;
use crate::core::cluster::NodeId;
use crate::core::cluster::message::{Flushed, Message};
use crate::core::ids::Db;

/// A node that does not answer for so long is reported as missing, microseconds.
pub const SILENCE_US: u64 = 500_000;
/// A node confirms a flush at least so often, microseconds.
const REPEAT_US: u64 = 1_000_000;
/// One that does not confirm a flush for so long is reported as missing, microseconds.
const FLUSH_SILENCE_US: u64 = 3_000_000;

/// What is asked for.
#[derive(Clone, Debug)]
pub enum Question {
    /// The reply to a command.
    Command(Db, Vec<Vec<u8>>),
    /// A flush of a prefix, or of everything.
    Flush(Option<(Db, Vec<u8>)>),
}

/// What the nodes have answered.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// Replies to the command, by node.
    pub replies: BTreeMap<NodeId, Vec<u8>>,
    /// The sum of all flushes, if a flush was asked for.
    pub flushed: Option<Flushed>,
    /// Nodes that have not answered.
    pub missing: Vec<NodeId>,
}

/// A client that waits.
#[derive(Debug)]
struct Ask {
    handle: Handle<Outcome>,
    question: Question,
    /// The nodes that have not answered, and when they were heard last.
    waiting: BTreeMap<NodeId, u64>,
    outcome: Outcome,
    /// When the client's timeout passes, microseconds; `u64::MAX` for never.
    end_us: u64,
    /// When nodes are asked again, microseconds.
    again_us: u64,
}

impl Ask {
    fn silence_us(&self) -> u64 {
        match self.question {
            Question::Flush(_) if self.end_us != 0 => FLUSH_SILENCE_US,
            _ => SILENCE_US,
        }
    }

    fn message(&self, id: u64) -> Message {
        match self.question.clone() {
            Question::Command(db, words) => Message::Ask { id, db, words },
            Question::Flush(prefix) => Message::Flush { id, prefix },
        }
    }

    fn end(mut self) {
        self.outcome.missing.extend(self.waiting.keys());
        self.outcome.missing.sort_unstable();
        self.handle.answer(self.outcome);
    }
}

/// All clients that wait.
#[derive(Debug, Default)]
pub struct Asks {
    next_id: Cell<u64>,
    by_id: RefCell<HashMap<u64, Ask>>,
}

impl Asks {
    /// Adds a client that waits for `waiting`, until `end_us` if that is for a flush. Returns the number of the
    /// request, and what is to be sent to each of them.
    pub fn begin(
        &self,
        handle: Handle<Outcome>,
        question: Question,
        (waiting, missing): (Vec<NodeId>, Vec<NodeId>),
        (now_us, end_us): (u64, u64),
    ) -> (u64, Message) {
        // Not the number of an earlier process, whose answers may still arrive.
        let id = self.next_id.get().max(now_us) + 1;
        self.next_id.set(id);
        let flushed = matches!(question, Question::Flush(_)).then(Flushed::default);
        let outcome = Outcome { flushed, missing, ..Outcome::default() };
        let waiting = waiting.into_iter().map(|node| (node, now_us)).collect();
        let again_us = now_us + REPEAT_US;
        let ask = Ask { handle, question, waiting, outcome, end_us, again_us };
        let message = ask.message(id);
        self.by_id.borrow_mut().insert(id, ask);
        (id, message)
    }

    /// A node has replied to a command.
    pub fn answered(&self, from: NodeId, id: u64, reply: Vec<u8>) {
        if let Some(ask) = self.by_id.borrow_mut().get_mut(&id)
            && ask.waiting.remove(&from).is_some()
        {
            ask.outcome.replies.insert(from, reply);
        }
    }

    /// A node confirms that its flush is under way.
    pub fn flushing(&self, from: NodeId, id: u64, now_us: u64) {
        if let Some(ask) = self.by_id.borrow_mut().get_mut(&id)
            && let Some(heard_us) = ask.waiting.get_mut(&from)
            && ask.end_us != 0
        {
            *heard_us = now_us;
        }
    }

    /// The flush of a node has ended.
    pub fn flushed(&self, from: NodeId, id: u64, result: &Flushed) {
        if let Some(ask) = self.by_id.borrow_mut().get_mut(&id)
            && ask.waiting.remove(&from).is_some()
            && let Some(sum) = &mut ask.outcome.flushed
        {
            sum.persisted += result.persisted;
            sum.failed += result.failed;
            sum.pending += result.pending;
            if sum.error.is_empty() {
                sum.error.clone_from(&result.error);
            }
        }
    }

    /// Replies to the clients that need wait no longer, and returns what is to be sent to which node.
    pub fn step(&self, now_us: u64) -> Vec<(NodeId, Message)> {
        let mut messages = Vec::new();
        let mut by_id = self.by_id.borrow_mut();
        for (id, ask) in by_id.iter_mut() {
            let silence_us = ask.silence_us();
            let silent = ask.waiting.iter().filter(|(_, heard)| **heard + silence_us <= now_us);
            let silent: Vec<NodeId> = silent.map(|(node, _)| *node).collect();
            for node in silent {
                ask.waiting.remove(&node);
                ask.outcome.missing.push(node);
                messages.push((node, Message::Cancel { id: *id }));
            }
            let is_over = ask.end_us <= now_us && ask.end_us != 0;
            let is_flush = matches!(ask.question, Question::Flush(_));
            if is_over {
                // The nodes say how far they are.
                ask.end_us = 0;
                ask.waiting.values_mut().for_each(|heard_us| *heard_us = now_us);
                messages
                    .extend(ask.waiting.keys().map(|node| (*node, Message::Cancel { id: *id })));
            } else if is_flush && ask.end_us != 0 && ask.again_us <= now_us {
                ask.again_us = now_us + REPEAT_US;
                let message = ask.message(*id);
                messages.extend(ask.waiting.keys().map(|node| (*node, message.clone())));
            }
        }
        let done: Vec<u64> =
            by_id.iter().filter(|(_, ask)| ask.waiting.is_empty()).map(|(id, _)| *id).collect();
        let done: Vec<Ask> = done.iter().filter_map(|id| by_id.remove(id)).collect();
        drop(by_id);
        done.into_iter().for_each(Ask::end);
        messages
    }

    /// When [`step`](Self::step) must be called next, microseconds; `u64::MAX` for never.
    pub fn next_us(&self) -> u64 {
        let by_id = self.by_id.borrow();
        let next = by_id.values().map(|ask| {
            let silent = ask.waiting.values().min().map_or(0, |heard| heard + ask.silence_us());
            let end_us = if ask.end_us == 0 { u64::MAX } else { ask.end_us };
            silent.min(end_us).min(if ask.end_us == 0 { u64::MAX } else { ask.again_us })
        });
        next.min().unwrap_or(u64::MAX)
    }

    /// Removes a client that the server has unblocked or disconnected. Returns what was answered so far, and
    /// what is to be sent to which node.
    pub fn take_client(
        &self,
        raw: *mut raw::RedisModuleBlockedClient,
    ) -> Option<(Outcome, Vec<(NodeId, Message)>)> {
        let mut by_id = self.by_id.borrow_mut();
        let id = by_id.iter().find(|(_, ask)| ask.handle.raw() == raw).map(|(id, _)| *id)?;
        let mut ask = by_id.remove(&id)?;
        drop(by_id);
        let waiting: Vec<NodeId> = ask.waiting.keys().copied().collect();
        let messages = waiting.iter().map(|node| (*node, Message::Cancel { id })).collect();
        let mut outcome = std::mem::take(&mut ask.outcome);
        outcome.missing.extend(waiting);
        Some((outcome, messages))
    }

    /// Unblocks every client without an outcome: the module is broken.
    pub fn release(&self) {
        if let Ok(mut by_id) = self.by_id.try_borrow_mut() {
            by_id.clear();
        }
    }
}
