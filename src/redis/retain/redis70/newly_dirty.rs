//! Keys that became dirty and were not looked at.

use std::cell::RefCell;

use crate::core::backlog::Watched;
use crate::redis::api::clock;
use crate::redis::pipeline::Pipeline;

/// Holds the bytes of the key that is looked at.
#[derive(Debug, Default)]
pub struct NewlyDirty(RefCell<Vec<u8>>);

impl NewlyDirty {
    /// The buffer for the key that is looked at; put it back after use.
    pub fn take_buffer(&self) -> Vec<u8> {
        self.0.take()
    }

    /// Puts the buffer back.
    pub fn put_back(&self, buffer: Vec<u8>) {
        self.0.replace(buffer);
    }

    /// Hands each key that should be looked at to `each`, until `end_us`; the clock is looked at once
    /// for `clock_keys` of them. True if there was one.
    pub fn each(
        &self,
        pipeline: &Pipeline,
        end_us: u64,
        clock_keys: usize,
        mut each: impl FnMut(Watched, &[u8]),
    ) -> bool {
        let mut key = self.take_buffer();
        let mut count = 0usize;
        loop {
            // The borrow ends with the statement: looking calls into the server.
            let watched = pipeline.backlog.borrow_mut().next_newly_dirty(&mut key, clock::now_us);
            let Some(watched) = watched else { break };
            each(watched, &key);
            count += 1;
            if count.is_multiple_of(clock_keys) && clock::now_us() >= end_us {
                break;
            }
        }
        self.put_back(key);
        count > 0
    }
}
