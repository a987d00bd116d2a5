//! The large value that is being read in steps, one a turn of the event loop.
//!
//! Between two steps its key may change; then what was read is thrown away, and the key is read
//! anew. So what is sent is always the value of one moment, that of the last step. A key that is
//! disturbed again and again is read in one go.
//!
//! A value is read and sent to the end although its credit was spent meanwhile: only one value is
//! read in steps at a time, and those of other registrations wait for it.

use std::cell::RefCell;

use super::cursor::{Progress, ValueCursor};
use super::request::ReadRequest;
use super::value::{read_on, too_large};
use crate::core::backlog::table::Taken;
use crate::core::backlog::{Backlog, item};
use crate::core::delivery::batch::Batch;
use crate::core::mapping::value::Span;
use crate::redis::api::clock;
use crate::redis::api::context::{Ctx, Text};
use crate::redis::pipeline::Pipeline;

/// A value that is read in part.
#[derive(Debug)]
struct Partial {
    /// A batch that will have this key alone: its name, and the value as far as it was read.
    batch: Batch,
    taken: Taken,
    key: Span,
    walk: ValueCursor,
    took_us: u64,
}

/// The value that is being read, if any.
#[derive(Debug, Default)]
pub struct LargeValue(RefCell<Option<Partial>>);

impl LargeValue {
    /// Goes on later with the key whose name stands at `key` in `batch`, and behind it the beginning
    /// of its value.
    pub fn keep(
        &self,
        pipeline: &Pipeline,
        batch: &mut Batch,
        taken: &Taken,
        key: Span,
        walk: ValueCursor,
        took_us: u64,
    ) {
        let own = Batch {
            registration: batch.registration.clone(),
            registration_id: batch.registration_id,
            epoch: batch.epoch,
            slow: batch.slow,
            retry: batch.retry,
            items: Vec::with_capacity(1),
            bytes: batch.bytes.split_off(key.start),
        };
        let key = Span { start: 0, end: key.end - key.start };
        pipeline.backlog.borrow_mut().reads_in_steps(&own, taken);
        self.0.replace(Some(Partial { batch: own, taken: *taken, key, walk, took_us }));
    }

    /// True if there is something to go on with.
    pub fn is_under_way(&self) -> bool {
        self.0.borrow().is_some()
    }

    /// Forgets what was begun in an earlier epoch: its key is dirty again already.
    pub fn drop_old(&self, backlog: &Backlog) {
        self.0.borrow_mut().take_if(|partial| !backlog.in_flight.is_current(&partial.batch));
    }

    /// Reads on until `end_us`, and sends the value if it is complete then.
    pub fn step(&self, pipeline: &Pipeline, ctx: Ctx<'_>, end_us: u64) {
        self.drop_old(&pipeline.backlog.borrow());
        let Some(mut partial) = self.0.take() else { return };
        let now_us = clock::now_us();
        let unchanged = {
            let mut backlog = pipeline.backlog.borrow_mut();
            backlog.is_as_taken(&partial.batch, &partial.taken, now_us)
        };
        let Partial { batch, taken, key, walk, took_us } = &mut partial;
        let wanted = ReadRequest { end_us: Some(end_us), ..ReadRequest::of(&batch.registration) };
        let (name, db) = (Text::new(&batch.bytes[key.range()]), batch.registration.db);
        ctx.select(db);
        let read = match unchanged {
            true => {
                read_on(&pipeline.opener, ctx, &name, walk, wanted, (&mut batch.bytes, key.end))
            }
            false => None,
        };
        let read_us = clock::now_us();
        *took_us += read_us - now_us;
        let mut backlog = pipeline.backlog.borrow_mut();
        // Opening the key may have made it expire.
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
            Progress::Done => walk.content(),
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
