//! The large value that is being read in steps, one step per event-loop iteration.
//!
//! If its key changes between two steps, the part read so far is discarded, and the key is read
//! anew. So the value sent is always a consistent one, as of the last step. A key whose reading is
//! interrupted repeatedly is read in one step.
//!
//! The value is read to its end and sent even if no credit is left for it by then: only one value
//! is read in steps at a time, and those of other registrations wait for it.

use std::cell::RefCell;

use super::cursor::{Progress, ValueCursor};
use super::request::ReadRequest;
use super::value::{continue_reading, too_large};
use crate::core::backlog::table::Taken;
use crate::core::backlog::{Backlog, item};
use crate::core::delivery::batch::Batch;
use crate::core::mapping::value::Span;
use crate::redis::api::clock;
use crate::redis::api::context::{Ctx, Text};
use crate::redis::pipeline::Pipeline;

/// A value that was read in part.
#[derive(Debug)]
struct Partial {
    /// A batch for this key alone: its bytes are the key's name and the part of the value read so
    /// far.
    batch: Batch,
    taken: Taken,
    key: Span,
    cursor: ValueCursor,
    took_us: u64,
}

/// The value that is being read, if any.
#[derive(Debug, Default)]
pub struct LargeValue(RefCell<Option<Partial>>);

impl LargeValue {
    /// Moves the key whose name is at `key` in `batch`, followed by the beginning of its value, out
    /// of the batch, to continue reading it later.
    pub fn begin(
        &self,
        pipeline: &Pipeline,
        batch: &mut Batch,
        taken: &Taken,
        key: Span,
        cursor: ValueCursor,
        took_us: u64,
    ) {
        let own = Batch {
            registration: batch.registration.clone(),
            registration_id: batch.registration_id,
            epoch: batch.epoch,
            slow: batch.slow,
            retry: batch.retry,
            items: Vec::with_capacity(1),
            groups: Vec::new(),
            bytes: batch.bytes.split_off(key.start),
        };
        let key = Span { start: 0, end: key.end - key.start };
        pipeline.backlog.borrow_mut().reads_in_steps(&own, taken);
        self.0.replace(Some(Partial { batch: own, taken: *taken, key, cursor, took_us }));
    }

    /// True if a value was read in part.
    pub fn is_in_progress(&self) -> bool {
        self.0.borrow().is_some()
    }

    /// Drops a value that belongs to an earlier epoch: its key is dirty again already.
    pub fn drop_old(&self, backlog: &Backlog) {
        self.0.borrow_mut().take_if(|partial| !backlog.in_flight.is_current(&partial.batch));
    }

    /// Continues to read until `end_us`, and sends the value if it is complete then.
    pub fn step(&self, pipeline: &Pipeline, ctx: Ctx<'_>, end_us: u64) {
        self.drop_old(&pipeline.backlog.borrow());
        let Some(mut partial) = self.0.take() else { return };
        let now_us = clock::now_us();
        let unchanged = {
            let mut backlog = pipeline.backlog.borrow_mut();
            backlog.is_as_taken(&partial.batch, &partial.taken, now_us)
        };
        let Partial { batch, taken, key, cursor, took_us } = &mut partial;
        let request = ReadRequest { end_us: Some(end_us), ..ReadRequest::of(&batch.registration) };
        let (name, db) = (Text::new(&batch.bytes[key.range()]), batch.registration.db);
        ctx.select(db);
        let read = match unchanged {
            true => continue_reading(
                &pipeline.opener,
                ctx,
                &name,
                cursor,
                request,
                (&mut batch.bytes, key.end),
            ),
            false => None,
        };
        let read_us = clock::now_us();
        *took_us += read_us - now_us;
        let mut backlog = pipeline.backlog.borrow_mut();
        // Opening the key may have expired it.
        let is_as_taken = backlog.is_as_taken(batch, taken, read_us);
        let read = read.filter(|_| is_as_taken);
        let Some((step, expire_ms)) = read else {
            return backlog.interrupted(batch, taken, &batch.bytes[key.range()], read_us);
        };
        let content = match step {
            Progress::More => {
                drop(backlog);
                self.0.replace(Some(partial));
                return;
            }
            Progress::Done => cursor.content(),
            Progress::TooLarge => too_large(&mut batch.bytes),
        };
        backlog.was_read(db, &batch.bytes[key.range()], *took_us, read_us);
        backlog.has_read_in_steps();
        drop(backlog);
        let value = Span { start: key.end, end: batch.bytes.len() };
        batch.items.push(item(taken, *key, content, value, expire_ms));
        pipeline.send(partial.batch);
    }
}
