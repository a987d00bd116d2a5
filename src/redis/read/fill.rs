//! A read slice: due keys are read into batches, which are sent when they are full or no more keys
//! are due. When the slice ends before that, the batch is kept and filled further in the next
//! event-loop iteration, so that short slices do not cause small batches.

use std::cell::RefCell;

use super::batch_reader::BatchReader;
use super::groups::{GroupFiller, Reading};
use super::large_value::LargeValue;
use crate::core::backlog::{Acknowledged, Backlog, Due};
use crate::core::delivery::batch::Batch;
use crate::redis::api::clock;
use crate::redis::api::context::Ctx;
use crate::redis::pipeline::Pipeline;

/// The clock is read once every so many keys,
const CLOCK_KEYS: usize = 16;
/// and whenever this many bytes were read.
const CLOCK_BYTES: usize = 16 * 1024;

/// Fills batches.
#[derive(Debug, Default)]
pub struct Filler {
    /// An incomplete batch, which is filled further in the next iteration.
    incomplete: RefCell<Option<Batch>>,
    /// The large value that is being read.
    pub large: LargeValue,
    groups: GroupFiller,
}

impl Filler {
    /// Reads due keys for `slice_us` microseconds and sends them. Returns the keys that needed no
    /// write.
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
        // The large value gets half of that time first, and at the end the time that other keys
        // leave.
        self.large.step(pipeline, ctx, now_us + (value_us - now_us) / 2);
        let reading = Reading { pipeline, large: &self.large, ctx, end_us };
        let mut in_time = self.groups.send_due(&reading, now_us, &mut clean);
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
                self.incomplete.replace(Some(batch));
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
            // The groups that turned out to be due.
            in_time = self.groups.send_due(&reading, now_us, &mut clean);
        }
        if in_time {
            self.large.step(pipeline, ctx, value_us);
        }
        clean
    }

    /// The incomplete batch, or else a new one.
    fn next_batch(&self, pipeline: &Pipeline, now_us: u64) -> Option<Batch> {
        let mut backlog = pipeline.backlog.borrow_mut();
        let Some(incomplete) = self.incomplete.take() else { return backlog.begin_batch(now_us) };
        if !backlog.in_flight.is_current(&incomplete) {
            backlog.in_flight.recycle(incomplete);
            return backlog.begin_batch(now_us);
        }
        if !backlog.in_flight.may_send_batch(&incomplete) {
            backlog.in_flight.release_held();
            backlog.unsent(incomplete);
            return None;
        }
        Some(incomplete)
    }

    /// True if there is an incomplete batch, and the worker has a credit for it.
    pub fn can_continue(&self, backlog: &Backlog) -> bool {
        let incomplete = self.incomplete.borrow();
        incomplete.as_ref().is_some_and(|incomplete| backlog.in_flight.may_send_batch(incomplete))
            || self.groups.can_continue(backlog)
    }
}

/// Reads keys into a batch until it is full or no more keys are due; false when the slice has
/// ended.
fn fill(pipeline: &Pipeline, reader: &mut BatchReader<'_>, now_us: u64, end_us: u64) -> bool {
    let mut clock_bytes = reader.batch.bytes.len();
    for count in 1usize.. {
        // The borrow ends with the statement: reading calls into the server.
        let taken = pipeline.backlog.borrow_mut().take(reader.batch, now_us);
        let many = match taken {
            Some(Due::Key(taken, key)) => {
                if !reader.key(&taken, key) {
                    break;
                }
                false
            }
            Some(Due::Group(keys)) => keys >= CLOCK_KEYS,
            None => break,
        };
        let bytes = reader.batch.bytes.len();
        if many || bytes >= clock_bytes + CLOCK_BYTES || count.is_multiple_of(CLOCK_KEYS) {
            clock_bytes = bytes;
            if clock::now_us() >= end_us {
                return false;
            }
        }
    }
    true
}
