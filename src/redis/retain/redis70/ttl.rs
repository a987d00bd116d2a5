//! Capturing early: for servers that report an expired or evicted key only when its value is
//! gone already (Redis 7.0).
//!
//! - Time to live: every key that becomes dirty is asked for it once; its value is captured in
//!   its last second.
//! - Eviction: see [`pressure`].

use std::ffi::{CStr, CString};

use super::eviction;
use super::eviction::Pressure;
use super::overdue::{self, Overdue};
use crate::core::backlog::Watched;
use crate::core::mapping::value::NO_EXPIRY;
use crate::redis::api::clock;
use crate::redis::api::context::{Ctx, Text};
use crate::redis::api::raw;
use crate::redis::api::raw::api;
use crate::redis::event_loop::slice;
use crate::redis::read::value;
use crate::redis::retain::last_value;
use crate::redis::state::Module;

/// A value is captured when its key has less time to live than this: much more than a turn of
/// the event loop takes.
pub const LAST_MS: u64 = 1_000;
/// When a value is captured so much later than it could be, the slice is [`URGENT_US`] long at least:
/// the server removes expired keys in a quarter of its time.
const LATE_MS: u64 = 250;
const URGENT_US: u64 = 4_000;
/// Shortest slice in which keys are asked for their time to live.
const LOOK_US: u64 = 2_000;
/// What is so late is captured at a stretch: better a pause than a lost value.
const LAST_CHANCE_MS: u64 = 800;
/// So many keys without a time to live are opened before it is asked whether any key has one.
const MANY: usize = 32;
/// Keys that are opened between two looks at the clock.
const CLOCK_KEYS: usize = 16;

/// What is known of the ends of dirty keys, beside what the engine knows.
#[derive(Debug)]
pub struct Early {
    /// What is known of memory.
    pub pressure: Pressure,
    /// What only a scan can find.
    pub overdue: Overdue,
    /// True when keys were left that should be looked at at once.
    is_behind: bool,
    /// The bytes of the key that is looked at.
    key: Vec<u8>,
}

/// Begins to look ahead.
pub fn start(ctx: Ctx<'_>, module: &Module) {
    let pressure = Pressure::start(ctx);
    let overdue = Overdue::default();
    let early = Early { pressure, overdue, is_behind: false, key: Vec::new() };
    module.early.replace(Some(early));
    module.engine.borrow_mut().watch();
    eviction::watch_limit(module, ctx);
}

/// While one of these holds, no key is looked at.
const NOT_NOW: u32 = raw::REDISMODULE_CTX_FLAGS_LOADING
    | raw::REDISMODULE_CTX_FLAGS_ASYNC_LOADING
    | raw::REDISMODULE_CTX_FLAGS_LUA
    | raw::REDISMODULE_CTX_FLAGS_MULTI;

/// Looks at what has become dirty, and captures what is about to expire, for a slice each, before
/// the loop sleeps and after the log was folded. On a replica, too, so that it has nothing to look for when it is promoted. True
/// if there was anything to do.
pub fn step(module: &Module, ctx: Ctx<'_>) -> bool {
    let flags = ctx.flags();
    if module.early.borrow().is_none() || flags & NOT_NOW != 0 {
        return false;
    }
    let is_replica = flags & raw::REDISMODULE_CTX_FLAGS_SLAVE != 0;
    if is_idle(module) && (is_replica || eviction::is_idle(module)) {
        with(module, |early| early.is_behind = false);
        return false;
    }
    let captured = capture_last(module, ctx, is_replica);
    // Longer than other slices: a key may have less time to live than a turn takes.
    let end_us = end_of_slice(module).max(clock::now_us() + LOOK_US);
    // A replica evicts nothing.
    let looked =
        !is_replica && eviction::step(module, ctx, end_us) || look(module, ctx, end_us, is_replica);
    let scanned = overdue::step(module, ctx, end_of_slice(module));
    let is_behind = {
        let engine = module.engine.borrow();
        engine.has_fresh() || engine.next_end_ms().is_some_and(|end_ms| end_ms <= now_ms())
    };
    with(module, |early| early.is_behind = is_behind || early.overdue.is_pending());
    captured || looked || scanned
}

/// True if no key is to be looked at now. Most turns end here, so that the clock is asked only if some
/// key has an end.
fn is_idle(module: &Module) -> bool {
    let engine = module.engine.borrow();
    let scans = module.early.borrow().as_ref().is_some_and(|early| early.overdue.is_pending());
    !scans && !engine.has_fresh() && engine.next_end_ms().is_none_or(|end_ms| end_ms > now_ms())
}

/// When keys must be looked at next, microseconds.
pub fn next_us(module: &Module) -> u64 {
    match &*module.early.borrow() {
        None => u64::MAX,
        Some(early) if early.is_behind => 0,
        Some(_) => {
            let end_ms = module.engine.borrow().next_end_ms();
            end_ms.map_or(u64::MAX, |end_ms| end_ms.saturating_mul(1000))
        }
    }
}

fn end_of_slice(module: &Module) -> u64 {
    let now_us = clock::now_us();
    now_us + slice::slice_us(module, now_us)
}

/// Hands each key that should be looked at to `each`, until `end_us`; the clock is looked at once
/// for `clock_keys` of them. True if there was one.
pub fn each_fresh(
    module: &Module,
    end_us: u64,
    clock_keys: usize,
    mut each: impl FnMut(Watched, &[u8]),
) -> bool {
    module.engine.borrow_mut().fold(clock::now_us());
    let mut key = take_key(module);
    let mut count = 0usize;
    loop {
        // The borrow ends with the statement: looking calls into the server.
        let watched = module.engine.borrow_mut().next_fresh(&mut key);
        let Some(watched) = watched else { break };
        each(watched, &key);
        count += 1;
        if count.is_multiple_of(clock_keys) && clock::now_us() >= end_us {
            break;
        }
    }
    with(module, |early| early.key = key);
    count > 0
}

/// Asks every key that became dirty for its time to live, until `end_us`. One that a replica does
/// not find may have expired. True if there was one.
pub fn look(module: &Module, ctx: Ctx<'_>, end_us: u64, is_replica: bool) -> bool {
    if !module.engine.borrow().has_fresh() {
        return false;
    }
    let now_ms = now_ms();
    let (mut opened, mut asked) = (0, None);
    each_fresh(module, end_us, CLOCK_KEYS, |watched, key| {
        if opened >= MANY && asked.is_none_or(|(db, _)| db != watched.db) {
            asked = Some((watched.db, can_expire(ctx, watched.db)));
        }
        if asked.is_some_and(|(_, can_expire)| !can_expire) {
            return;
        }
        ctx.select(watched.db);
        match value::expiry_ms(module, ctx, &Text::new(key)) {
            Some(NO_EXPIRY) => opened += 1,
            // At once: data may be saved before the next turn, and the key be gone when it is loaded.
            Some(end_ms) if is_last(end_ms, now_ms) => {
                last_value::capture(module, ctx, watched.db, key)
            }
            Some(end_ms) => look_again(module, watched, key, (now_ms, end_ms)),
            None if is_replica => with(module, |early| early.overdue.ask(watched.db)),
            None => opened += 1,
        }
    })
}

/// True if the key has its last second, or less.
fn is_last(end_ms: i64, now_ms: u64) -> bool {
    u64::try_from(end_ms).is_ok_and(|end_ms| end_ms <= now_ms + LAST_MS)
}

fn look_again(module: &Module, watched: Watched, key: &[u8], (now_ms, end_ms): (u64, i64)) {
    let at_ms = u64::try_from(end_ms).unwrap_or(0).saturating_sub(LAST_MS);
    module.engine.borrow_mut().look_at(watched, key, (now_ms, at_ms));
}

/// The buffer for the key that is looked at.
fn take_key(module: &Module) -> Vec<u8> {
    let mut early = module.early.borrow_mut();
    early.as_mut().map(|early| std::mem::take(&mut early.key)).unwrap_or_default()
}

/// Whether any key of the database has a time to live. It takes a few microseconds, so it is asked
/// before many keys are opened, of which mostly none has one.
pub fn can_expire(ctx: Ctx<'_>, db: u16) -> bool {
    let Ok(field) = CString::new(format!("db{db}")) else { return true };
    // SAFETY: the context is that of a running callback. What the server tells is read before it
    // is freed; a field that it does not have is null.
    unsafe {
        let info = api!(RedisModule_GetServerInfo)(ctx.raw(), c"keyspace".as_ptr());
        let value = api!(RedisModule_ServerInfoGetFieldC)(info, field.as_ptr());
        let can = value.is_null() || !says_none_expire(CStr::from_ptr(value).to_bytes());
        api!(RedisModule_FreeServerInfo)(ctx.raw(), info);
        can
    }
}

/// `keys=3,expires=0,avg_ttl=0`
fn says_none_expire(counts: &[u8]) -> bool {
    counts.split(|byte| *byte == b',').any(|count| count == b"expires=0")
}

/// Milliseconds since 1970.
pub fn now_ms() -> u64 {
    clock::unix_ms()
}

/// Captures the values of keys in their last second, for a slice. True if there was one.
fn capture_last(module: &Module, ctx: Ctx<'_>, is_replica: bool) -> bool {
    let now_ms = now_ms();
    let first_ms = module.engine.borrow().next_end_ms();
    let Some(first_ms) = first_ms.filter(|first_ms| *first_ms <= now_ms) else { return false };
    let is_late = first_ms + LATE_MS <= now_ms;
    let end_us = end_of_slice(module).max(clock::now_us() + if is_late { URGENT_US } else { 0 });
    let mut key = take_key(module);
    loop {
        let watched = module.engine.borrow_mut().take_end(now_ms, &mut key);
        let Some(watched) = watched else { break };
        ctx.select(watched.db);
        match value::expiry_ms(module, ctx, &Text::new(&key)) {
            Some(NO_EXPIRY) => {}
            Some(end_ms) if is_last(end_ms, now_ms) => {
                last_value::capture(module, ctx, watched.db, &key);
            }
            Some(end_ms) => look_again(module, watched, &key, (now_ms, end_ms)),
            None if is_replica => with(module, |early| early.overdue.ask(watched.db)),
            None => {}
        }
        if clock::now_us() >= end_us && !is_last_chance(module) {
            break;
        }
    }
    with(module, |early| early.key = key);
    true
}

/// Whether the next value is lost unless it is captured now.
fn is_last_chance(module: &Module) -> bool {
    let next_ms = module.engine.borrow().next_end_ms();
    next_ms.is_some_and(|next_ms| next_ms + LAST_CHANCE_MS <= now_ms())
}

/// Changes what is known, on servers where that is needed.
pub fn with(module: &Module, change: impl FnOnce(&mut Early)) {
    if let Some(early) = module.early.borrow_mut().as_mut() {
        change(early);
    }
}

#[cfg(test)]
mod tests {
    use super::says_none_expire;

    #[test]
    fn only_a_count_of_zero_says_that_no_key_can_expire() {
        assert!(says_none_expire(b"keys=3,expires=0,avg_ttl=0"));
        assert!(!says_none_expire(b"keys=3,expires=10,avg_ttl=0"));
        assert!(!says_none_expire(b""));
    }
}
