//! A slice of reading: due keys are read into batches, which are sent when they are full or nothing
//! more is due. When the time is up before, a batch is held until the next turn of the loop, so that
//! short slices make no small batches.

use std::cell::RefCell;

use super::batch_reader::BatchReader;
use super::large_value::LargeValue;
use crate::core::backlog::{Acknowledged, Backlog};
use crate::core::delivery::batch::Batch;
use crate::redis::api::clock;
use crate::redis::api::context::Ctx;
use crate::redis::pipeline::Pipeline;

/// The clock is looked at once for so many keys.
const CLOCK_KEYS: usize = 16;
/// And whenever so many bytes were read.
const CLOCK_BYTES: usize = 16 * 1024;

/// Fills batches.
#[derive(Debug, Default)]
pub struct Filler {
    /// A batch that is filled on in the next turn.
    held: RefCell<Option<Batch>>,
    /// The large value that is being read.
    pub large: LargeValue,
}

impl Filler {
    /// Reads due keys for `slice_us` and sends them. Returns those that needed no write.
    pub fn send_due(
        &self,
        pipeline: &Pipeline,
        ctx: Ctx<'_>,
        now_us: u64,
        slice_us: u64,
    ) -> Acknowledged {
        let mut clean = Acknowledged::default();
        // One value may take longer than the slice.
        let value_us = now_us + pipeline.longest_slice_us().max(slice_us);
        let end_us = now_us + slice_us;
        // A large value has half of that time, and what the others leave.
        self.large.step(pipeline, ctx, now_us + (value_us - now_us) / 2);
        let mut in_time = true;
        while in_time {
            let Some(mut batch) = self.next_batch(pipeline, now_us) else { break };
            ctx.select(batch.registration.db);
            let mut reader =
                BatchReader::new((pipeline, &self.large), ctx, &mut batch, value_us, &mut clean);
            let added = reader.batch.items.len();
            in_time = fill(pipeline, &mut reader, now_us, end_us);
            reader.finish();
            if !batch.items.is_empty() && !in_time {
                pipeline.backlog.borrow_mut().in_flight.hold(&batch, added);
                self.held.replace(Some(batch));
                break;
            }
            pipeline.backlog.borrow_mut().in_flight.release_held();
            if batch.items.is_empty() {
                pipeline.backlog.borrow_mut().in_flight.recycle(batch);
            } else if !pipeline.send(batch) {
                break;
            }
        }
        if in_time {
            self.large.step(pipeline, ctx, value_us);
        }
        clean
    }

    /// The batch that was held, or else a new one.
    fn next_batch(&self, pipeline: &Pipeline, now_us: u64) -> Option<Batch> {
        let mut backlog = pipeline.backlog.borrow_mut();
        let Some(held) = self.held.take() else { return backlog.begin_batch(now_us) };
        if !backlog.in_flight.is_current(&held) {
            backlog.in_flight.recycle(held);
            return backlog.begin_batch(now_us);
        }
        if !backlog.in_flight.may_send_batch(&held) {
            backlog.in_flight.release_held();
            backlog.unsent(held);
            return None;
        }
        Some(held)
    }

    /// True if a batch waits to be filled, and the worker will take it.
    pub fn can_go_on(&self, backlog: &Backlog) -> bool {
        let held = self.held.borrow();
        held.as_ref().is_some_and(|held| backlog.in_flight.may_send_batch(held))
    }
}

/// Reads keys into a batch until it is full or nothing is due; false when time is up.
fn fill(pipeline: &Pipeline, reader: &mut BatchReader<'_>, now_us: u64, end_us: u64) -> bool {
    let mut looked_at = reader.batch.bytes.len();
    for count in 1usize.. {
        // The borrow ends with the statement: reading calls into the server.
        let taken = pipeline.backlog.borrow_mut().take(reader.batch, now_us);
        let Some((taken, key)) = taken else { break };
        if !reader.key(&taken, key) {
            break;
        }
        let bytes = reader.batch.bytes.len();
        if bytes >= looked_at + CLOCK_BYTES || count.is_multiple_of(CLOCK_KEYS) {
            looked_at = bytes;
            if clock::now_us() >= end_us {
                return false;
            }
        }
    }
    true
}
