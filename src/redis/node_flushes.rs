//! Flushes for other nodes, or for the client of this one that has asked all nodes.

use std::cell::RefCell;
use std::collections::HashMap;

use super::flush_clients::{FailedScope, end};
use super::pipeline::Pipeline;
use crate::core::backlog::FlushScope;
use crate::core::cluster::NodeId;
use crate::core::cluster::message::Flushed;
use crate::core::ids::Db;

/// A node that has not repeated its request for so long does not wait any more, microseconds.
const FORGOTTEN_US: u64 = 10_000_000;

/// A flush.
#[derive(Debug)]
struct NodeFlush {
    /// Its id in the backlog.
    flush: u64,
    scope: FailedScope,
    /// When the node asked last, microseconds.
    asked_us: u64,
}

/// The flushes by the node and the number of its request.
#[derive(Debug, Default)]
pub struct NodeFlushes(RefCell<HashMap<(NodeId, u64), NodeFlush>>);

impl NodeFlushes {
    /// True if none is under way.
    pub fn is_empty(&self) -> bool {
        self.0.borrow().is_empty()
    }

    /// Begins a flush, or notes that it is still waited for.
    pub fn ask(
        &self,
        pipeline: &Pipeline,
        of: (NodeId, u64),
        prefix: Option<(Db, &[u8])>,
        now_us: u64,
    ) {
        if let Some(known) = self.0.borrow_mut().get_mut(&of) {
            known.asked_us = now_us;
            return;
        }
        let mut backlog = pipeline.backlog.borrow_mut();
        let (begin, scope) = match prefix {
            None => (FlushScope::All, FailedScope::All),
            Some((db, prefix)) => match backlog.registry.find(db, prefix) {
                Some(id) => (FlushScope::Registration(id), FailedScope::Registration(id)),
                // Of a prefix that is not registered no key is dirty.
                None => (FlushScope::Keys(db, &[]), FailedScope::Keys(db, Vec::new())),
            },
        };
        let flush = backlog.flush(begin, now_us);
        self.0.borrow_mut().insert(of, NodeFlush { flush, scope, asked_us: now_us });
    }

    /// Ends a flush before its time.
    pub fn cancel(&self, pipeline: &Pipeline, of: (NodeId, u64)) -> Option<Flushed> {
        let flush = self.0.borrow_mut().remove(&of)?;
        Some(result(pipeline, &flush))
    }

    /// The flushes that have ended, with their results.
    pub fn take_ended(&self, pipeline: &Pipeline, now_us: u64) -> Vec<((NodeId, u64), Flushed)> {
        let is_over = |flush: &NodeFlush| {
            let is_flushed = pipeline.backlog.borrow().is_flushed(flush.flush);
            is_flushed || flush.asked_us + FORGOTTEN_US < now_us
        };
        let mut all = self.0.borrow_mut();
        let ended: Vec<_> = all.extract_if(|_, flush| is_over(flush)).collect();
        drop(all);
        ended.into_iter().map(|(of, flush)| (of, result(pipeline, &flush))).collect()
    }

    /// Ends all: this server is no master any more.
    pub fn clear(&self, pipeline: &Pipeline) {
        let all = std::mem::take(&mut *self.0.borrow_mut());
        for flush in all.values() {
            pipeline.backlog.borrow_mut().end_flush(flush.flush);
        }
    }
}

fn result(pipeline: &Pipeline, flush: &NodeFlush) -> Flushed {
    let outcome = end(pipeline, flush.flush, &flush.scope);
    Flushed {
        persisted: outcome.persisted,
        failed: outcome.failed,
        pending: outcome.pending,
        error: outcome.error,
    }
}
