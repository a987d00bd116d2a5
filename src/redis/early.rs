//! Capturing early: for servers that report an expired or evicted key only when its value is
//! gone already (Redis 7.0).
//!
//! - Time to live: every key that becomes dirty is asked for it once; its value is captured in
//!   its last second.
//! - Eviction: see [`pressure`].

use std::collections::BTreeSet;
use std::ffi::{CStr, CString, c_void};

use super::api::{self, api};
use super::ctx::{Ctx, Text, bytes};
use super::guard::guard;
use super::module::Module;
use super::pressure::{self, Pressure};
use super::sync::Cursor;
use super::wanted::Wanted;
use super::{clock, gone, turn, value};
use crate::core::dirty::Captured;
use crate::core::engine::Watched;

/// A value is captured when its key has less time to live than this: much more than a turn of
/// the event loop takes.
const LAST_MS: u64 = 1_000;
/// When a value is captured so much later than it could be, the slice is [`URGENT_US`] long: the
/// server removes expired keys in a quarter of its time.
const LATE_MS: u64 = 500;
const URGENT_US: u64 = 2_000;
/// So many keys without a time to live are opened before it is asked whether any key has one.
const MANY: usize = 32;
/// Keys that are opened between two looks at the clock.
const CLOCK_KEYS: usize = 16;

/// What is known of the ends of dirty keys, beside what the engine knows.
#[derive(Debug)]
pub struct Early {
    /// What is known of memory.
    pub pressure: Pressure,
    /// True when keys were left that should be looked at at once.
    is_behind: bool,
    /// The bytes of the key that is looked at.
    key: Vec<u8>,
}

/// Begins to look ahead.
pub fn start(ctx: Ctx<'_>, module: &Module) {
    let pressure = Pressure::start(ctx);
    module.early.replace(Some(Early { pressure, is_behind: false, key: Vec::new() }));
    module.engine.borrow_mut().watch();
    pressure::watch_limit(module, ctx);
}

/// Looks at what has become dirty, and captures what is about to expire, for a slice each, before
/// the loop sleeps. True if there was anything to do.
pub fn step(module: &Module, ctx: Ctx<'_>) -> bool {
    if module.early.borrow().is_none() || ctx.flags() & super::tick::NOT_NOW != 0 {
        return false;
    }
    let captured = capture_last(module, ctx);
    let end_us = end_of_slice(module);
    let looked = pressure::step(module, ctx, end_us) || look(module, ctx, end_us);
    let is_behind = {
        let engine = module.engine.borrow();
        engine.has_fresh() || engine.next_end_ms().is_some_and(|end_ms| end_ms <= now_ms())
    };
    with(module, |early| early.is_behind = is_behind);
    captured || looked
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
    now_us + turn::slice_us(module, now_us)
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

/// Asks every key that became dirty for its time to live, until `end_us`. True if there was one.
pub fn look(module: &Module, ctx: Ctx<'_>, end_us: u64) -> bool {
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
        match expiry_ms(module, ctx, key) {
            Some(end_ms) => look_again(module, watched, key, (now_ms, end_ms)),
            None => opened += 1,
        }
    })
}

fn look_again(module: &Module, watched: Watched, key: &[u8], (now_ms, end_ms): (u64, u64)) {
    let at_ms = end_ms.saturating_sub(LAST_MS);
    module.engine.borrow_mut().look_at(watched, key, (now_ms, at_ms));
}

/// The buffer for the key that is looked at.
fn take_key(module: &Module) -> Vec<u8> {
    let mut early = module.early.borrow_mut();
    early.as_mut().map(|early| std::mem::take(&mut early.key)).unwrap_or_default()
}

/// The logical databases with dirty keys and with keys that can expire.
fn dbs_to_watch(module: &Module, ctx: Ctx<'_>) -> BTreeSet<u16> {
    let mut dbs = module.engine.borrow_mut().uncaptured_dbs(clock::now_us());
    let missed = module.engine.borrow().rescans_of(None);
    dbs.extend(missed.iter().map(|(_, registration)| registration.db));
    dbs.retain(|db| can_expire(ctx, *db));
    dbs
}

/// Whether any key of the database has a time to live. It takes a few microseconds, so it is asked
/// before many keys are opened, of which mostly none has one.
fn can_expire(ctx: Ctx<'_>, db: u16) -> bool {
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

fn now_ms() -> u64 {
    clock::unix_ms()
}

/// Captures the values of keys in their last second, for a slice. True if there was one.
fn capture_last(module: &Module, ctx: Ctx<'_>) -> bool {
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
        match expiry_ms(module, ctx, &key) {
            Some(end_ms) if end_ms <= now_ms + LAST_MS => {
                gone::capture(module, ctx, watched.db, &key);
            }
            Some(end_ms) => look_again(module, watched, &key, (now_ms, end_ms)),
            None => {}
        }
        if clock::now_us() >= end_us {
            break;
        }
    }
    with(module, |early| early.key = key);
    true
}

/// Data was loaded, or there is no master any more that lets keys expire: dirty values whose time
/// ran out meanwhile are captured, before anybody's look at their keys removes them. They can be
/// seen by a scan only, and JSON not even so.
pub fn on_alone(module: &Module, ctx: Ctx<'_>) {
    if module.early.borrow().is_none() {
        return;
    }
    for db in dbs_to_watch(module, ctx) {
        ctx.select(db);
        let cursor = Cursor::new();
        let mut scan = Scan { module, db };
        // SAFETY: the cursor is ours; the callback gets the value it expects, which outlives
        // the scan; keys may be scanned in this callback of the server.
        unsafe {
            let scan = (&raw mut scan).cast::<c_void>();
            while api!(RedisModule_Scan)(ctx.raw(), cursor.0, Some(on_scanned), scan) != 0 {}
        }
    }
}

struct Scan<'a> {
    module: &'a Module,
    db: u16,
}

unsafe extern "C" fn on_scanned(
    _: *mut api::RedisModuleCtx,
    name: *mut api::RedisModuleString,
    key: *mut api::RedisModuleKey,
    scan: *mut c_void,
) {
    guard((), || {
        // SAFETY: `on_alone` passes a `Scan`; the name is valid during the callback.
        let (scan, name) = unsafe { (&*scan.cast::<Scan<'_>>(), bytes(name)) };
        let engine = scan.module.engine.borrow();
        if key.is_null() || !engine.is_uncaptured(scan.db, name) {
            return;
        }
        // SAFETY: the server opened the key for this callback.
        let expire_ms = unsafe { api!(RedisModule_GetAbsExpire)(key) };
        let is_last = |end_ms: u64| end_ms <= now_ms() + LAST_MS;
        if !u64::try_from(expire_ms).is_ok_and(is_last) {
            return;
        }
        let slot = engine.slot_of_key(scan.db, name);
        let Some(wanted) = slot.map(|slot| Wanted::of(&slot.registration)) else { return };
        drop(engine);
        let mut value = Vec::new();
        // SAFETY: as above.
        let read = unsafe { value::of_open_key(key, wanted, &mut value) };
        if let Some((content, expire_ms)) = read {
            let captured = Captured { content, expire_ms, bytes: value.into() };
            scan.module.engine.borrow_mut().capture(scan.db, name, captured);
        }
    });
}

/// When `key` of the selected database expires, milliseconds since 1970.
fn expiry_ms(module: &Module, ctx: Ctx<'_>, key: &[u8]) -> Option<u64> {
    let name = Text::new(key);
    // SAFETY: the context is that of a running callback in which keys may be opened; the name
    // lives until the key is closed.
    unsafe {
        let opened = api!(RedisModule_OpenKey)(ctx.raw(), name.raw(), module.read_mode.get());
        if opened.is_null() {
            return None;
        }
        let expire_ms = api!(RedisModule_GetAbsExpire)(opened);
        api!(RedisModule_CloseKey)(opened);
        // -1 says that it does not expire.
        u64::try_from(expire_ms).ok()
    }
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
