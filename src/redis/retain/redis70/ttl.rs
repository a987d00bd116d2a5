//! Time to live: every key that becomes dirty is asked for it once; its value is captured in its last
//! second.

use super::expiry::{LAST_MS, can_expire};
use super::newly_dirty::NewlyDirty;
use super::overdue::Overdue;
use crate::core::backlog::Watched;
use crate::core::mapping::value::NO_EXPIRY;
use crate::redis::api::clock;
use crate::redis::api::context::{Ctx, Text};
use crate::redis::pipeline::Pipeline;
use crate::redis::read::value;
use crate::redis::retain::last_value;

/// When a value is captured so much later than it could be, the slice is [`URGENT_US`] long at least:
/// the server removes expired keys in a quarter of its time.
const LATE_MS: u64 = 250;
const URGENT_US: u64 = 4_000;
/// What is so late is captured at a stretch: better a pause than a lost value.
const LAST_CHANCE_MS: u64 = 800;
/// So many keys without a time to live are opened before it is asked whether any key has one.
const MANY: usize = 32;
/// Keys that are opened between two looks at the clock.
const CLOCK_KEYS: usize = 16;

/// What is looked at, and what only a scan can find.
#[derive(Debug, Default)]
pub struct Ttl {
    /// Keys that became dirty.
    pub newly_dirty: NewlyDirty,
    /// Keys that may have expired already.
    pub overdue: Overdue,
}

impl Ttl {
    /// Asks every key that became dirty for its time to live, until `end_us`. One that a replica does
    /// not find may have expired. True if there was one.
    pub fn look(&self, pipeline: &Pipeline, ctx: Ctx<'_>, end_us: u64, is_replica: bool) -> bool {
        if !pipeline.backlog.borrow().has_newly_dirty() {
            return false;
        }
        let now_ms = clock::unix_ms();
        let (mut opened, mut asked) = (0, None);
        self.newly_dirty.each(pipeline, end_us, CLOCK_KEYS, |watched, key| {
            if opened >= MANY && asked.is_none_or(|(db, _)| db != watched.db) {
                asked = Some((watched.db, can_expire(ctx, watched.db)));
            }
            if asked.is_some_and(|(_, can_expire)| !can_expire) {
                return;
            }
            ctx.select(watched.db);
            match value::expiry_ms(&pipeline.opener, ctx, &Text::new(key)) {
                Some(NO_EXPIRY) => opened += 1,
                // At once: data may be saved before the next turn, and the key be gone when it is loaded.
                Some(end_ms) if is_last(end_ms, now_ms) => {
                    last_value::retain_value(pipeline, ctx, watched.db, key)
                }
                Some(end_ms) => look_again(pipeline, watched, key, (now_ms, end_ms)),
                None if is_replica => self.overdue.ask(watched.db),
                None => opened += 1,
            }
        })
    }

    /// Captures the values of keys in their last second, for a slice. True if there was one.
    pub fn capture_last(&self, pipeline: &Pipeline, ctx: Ctx<'_>, is_replica: bool) -> bool {
        let now_ms = clock::unix_ms();
        let first_ms = pipeline.backlog.borrow().next_end_ms();
        let Some(first_ms) = first_ms.filter(|first_ms| *first_ms <= now_ms) else { return false };
        let is_late = first_ms + LATE_MS <= now_ms;
        let end_us =
            end_of_slice(pipeline).max(clock::now_us() + if is_late { URGENT_US } else { 0 });
        let mut key = self.newly_dirty.take_buffer();
        loop {
            let watched = pipeline.backlog.borrow_mut().take_end(now_ms, &mut key);
            let Some(watched) = watched else { break };
            ctx.select(watched.db);
            match value::expiry_ms(&pipeline.opener, ctx, &Text::new(&key)) {
                Some(NO_EXPIRY) => {}
                Some(end_ms) if is_last(end_ms, now_ms) => {
                    last_value::retain_value(pipeline, ctx, watched.db, &key);
                }
                Some(end_ms) => look_again(pipeline, watched, &key, (now_ms, end_ms)),
                None if is_replica => self.overdue.ask(watched.db),
                None => {}
            }
            if clock::now_us() >= end_us && !is_last_chance(pipeline) {
                break;
            }
        }
        self.newly_dirty.put_back(key);
        true
    }
}

/// True if the key has its last second, or less.
fn is_last(end_ms: i64, now_ms: u64) -> bool {
    u64::try_from(end_ms).is_ok_and(|end_ms| end_ms <= now_ms + LAST_MS)
}

fn look_again(pipeline: &Pipeline, watched: Watched, key: &[u8], (now_ms, end_ms): (u64, i64)) {
    let at_ms = u64::try_from(end_ms).unwrap_or(0).saturating_sub(LAST_MS);
    pipeline.backlog.borrow_mut().look_at(watched, key, (now_ms, at_ms));
}

/// Whether the next value is lost unless it is captured now.
fn is_last_chance(pipeline: &Pipeline) -> bool {
    let next_ms = pipeline.backlog.borrow().next_end_ms();
    next_ms.is_some_and(|next_ms| next_ms + LAST_CHANCE_MS <= clock::unix_ms())
}

/// When a slice that begins now ends, microseconds.
pub fn end_of_slice(pipeline: &Pipeline) -> u64 {
    let now_us = clock::now_us();
    now_us + pipeline.slice_us(now_us)
}
