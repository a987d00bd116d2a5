//! Look-ahead retention for expiry: the time to live of every key that becomes dirty is read once;
//! its value is retained in the last second of it.

use super::expiry::{RETAIN_AHEAD_MS, can_expire};
use super::newly_dirty::NewlyDirty;
use super::overdue::Overdue;
use crate::core::backlog::Watched;
use crate::core::mapping::value::NO_EXPIRY;
use crate::redis::api::clock;
use crate::redis::api::context::{Ctx, Text};
use crate::redis::pipeline::Pipeline;
use crate::redis::read::value;
use crate::redis::retain::last_value;

/// When a value is due for retention for this long, the slice is at least [`URGENT_US`]: the
/// server's expiry cycle uses up to a quarter of its time to delete expired keys.
const LATE_MS: u64 = 250;
const URGENT_US: u64 = 4_000;
/// Values that are due for this long are retained without a time limit: a latency spike is better
/// than a lost value.
const LAST_CHANCE_MS: u64 = 800;
/// After this many opened keys without a time to live, the server is asked whether any key of the
/// database has one.
const MANY: usize = 32;
/// Keys that are opened between two readings of the clock.
const CLOCK_KEYS: usize = 16;

/// The keys to check by name, and those that only a scan can find.
#[derive(Debug, Default)]
pub struct Ttl {
    /// Keys that became dirty and were not checked yet.
    pub newly_dirty: NewlyDirty,
    /// Databases with keys that may be logically expired already.
    pub overdue: Overdue,
}

impl Ttl {
    /// Reads the time to live of every newly dirty key, until `end_us`. A key that a replica does
    /// not find may be logically expired. True if there was at least one key.
    pub fn check_newly_dirty(
        &self,
        pipeline: &Pipeline,
        ctx: Ctx<'_>,
        end_us: u64,
        is_replica: bool,
    ) -> bool {
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
                // At once: the data may be saved before the next iteration, and the key be expired
                // when it is loaded.
                Some(end_ms) if is_expiring(end_ms, now_ms) => {
                    last_value::retain_value(pipeline, ctx, watched.db, key)
                }
                Some(end_ms) => schedule_check(pipeline, watched, key, (now_ms, end_ms)),
                None if is_replica => self.overdue.request(watched.db),
                None => opened += 1,
            }
        })
    }

    /// Retains the values of keys in the last second of their time to live, for a slice. True if
    /// there was at least one.
    pub fn retain_expiring(&self, pipeline: &Pipeline, ctx: Ctx<'_>, is_replica: bool) -> bool {
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
                Some(end_ms) if is_expiring(end_ms, now_ms) => {
                    last_value::retain_value(pipeline, ctx, watched.db, &key);
                }
                Some(end_ms) => schedule_check(pipeline, watched, &key, (now_ms, end_ms)),
                None if is_replica => self.overdue.request(watched.db),
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

/// True if the key has at most [`RETAIN_AHEAD_MS`] to live.
fn is_expiring(end_ms: i64, now_ms: u64) -> bool {
    u64::try_from(end_ms).is_ok_and(|end_ms| end_ms <= now_ms + RETAIN_AHEAD_MS)
}

fn schedule_check(pipeline: &Pipeline, watched: Watched, key: &[u8], (now_ms, end_ms): (u64, i64)) {
    let at_ms = u64::try_from(end_ms).unwrap_or(0).saturating_sub(RETAIN_AHEAD_MS);
    pipeline.backlog.borrow_mut().schedule_check(watched, key, (now_ms, at_ms));
}

/// True if the next value is likely to be lost unless it is retained now.
fn is_last_chance(pipeline: &Pipeline) -> bool {
    let next_ms = pipeline.backlog.borrow().next_end_ms();
    next_ms.is_some_and(|next_ms| next_ms + LAST_CHANCE_MS <= clock::unix_ms())
}

/// When a slice that begins now ends, microseconds.
pub fn end_of_slice(pipeline: &Pipeline) -> u64 {
    let now_us = clock::now_us();
    now_us + pipeline.slice_us(now_us)
}
