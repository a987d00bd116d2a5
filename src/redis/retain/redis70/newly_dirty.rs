//! Keys that became dirty and were not checked yet.

use std::cell::RefCell;

use crate::core::backlog::Watched;
use crate::redis::api::clock;
use crate::redis::pipeline::Pipeline;

/// Holds the buffer for the name of the key that is checked.
#[derive(Debug, Default)]
pub struct NewlyDirty(RefCell<Vec<u8>>);

impl NewlyDirty {
    /// The buffer for the name of the key that is checked; the caller puts it back after use.
    pub fn take_buffer(&self) -> Vec<u8> {
        self.0.take()
    }

    /// Puts the buffer back.
    pub fn put_back(&self, buffer: Vec<u8>) {
        self.0.replace(buffer);
    }

    /// Passes each unchecked key to `each`, until `end_us`; the clock is read once every
    /// `clock_keys` keys. True if there was at least one key.
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
            // The borrow ends with the statement: `each` calls into the server.
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
