//! State that a replica loads beside its old data (`repl-diskless-load swapdb`).

use std::cell::RefCell;

use crate::core::backlog::Backlog;
use crate::core::backlog::record::unpack;
use crate::redis::api::{clock, log};

/// Blocks of state that a replica loads beside the old data, which serves until the new is complete;
/// nothing otherwise.
#[derive(Debug, Default)]
pub struct Beside(RefCell<Option<Vec<Vec<u8>>>>);

impl Beside {
    /// True while data is loaded beside the old.
    pub fn is_loading(&self) -> bool {
        self.0.borrow().is_some()
    }

    /// Keeps a block of such data; what is none is given back.
    pub fn keep(&self, block: Vec<u8>) -> Option<Vec<u8>> {
        match &mut *self.0.borrow_mut() {
            Some(blocks) => blocks.push(block),
            None => return Some(block),
        }
        None
    }

    /// Such data begins.
    pub fn begin(&self) {
        self.0.replace(Some(Vec::new()));
    }

    /// It has ended: its state takes the place of what there was if `is_complete`.
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
