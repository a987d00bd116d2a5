//! State that a replica receives during async (diskless) loading (`repl-diskless-load swapdb`).

use std::cell::RefCell;

use crate::core::backlog::Backlog;
use crate::core::backlog::record::unpack;
use crate::redis::api::{clock, log};

/// Blocks of state received while the replica still serves the old dataset; nothing when no async
/// loading is in progress.
#[derive(Debug, Default)]
pub struct AsyncLoading(RefCell<Option<Vec<Vec<u8>>>>);

impl AsyncLoading {
    /// True while async loading is in progress.
    pub fn is_loading(&self) -> bool {
        self.0.borrow().is_some()
    }

    /// Keeps a block during async loading; otherwise returns it to the caller.
    pub fn keep(&self, block: Vec<u8>) -> Option<Vec<u8>> {
        match &mut *self.0.borrow_mut() {
            Some(blocks) => blocks.push(block),
            None => return Some(block),
        }
        None
    }

    /// Async loading begins.
    pub fn begin(&self) {
        self.0.replace(Some(Vec::new()));
    }

    /// Async loading has ended: if `is_complete`, its state replaces the current one.
    pub fn end(&self, backlog: &mut Backlog, is_complete: bool) {
        let blocks = self.0.take().unwrap_or_default();
        if !is_complete {
            return;
        }
        backlog.clear();
        let now_us = clock::now_us();
        for block in &blocks {
            if let Err(error) = unpack(block, |record| backlog.load(record, now_us)) {
                log::warning(&format!("the master's state cannot be loaded: {error}"));
            }
        }
    }
}
