//! Capturing early: for servers that report an expired or evicted key only when its value is
//! gone already (Redis 7.0).
//!
//! - Time to live: every key that becomes dirty is asked for it once; its value is captured in
//!   its last second.
//! - Eviction: see [`pressure`].

use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap};
use std::ffi::{CStr, CString, c_void};

use super::api::{self, api};
use super::ctx::{Ctx, Text, bytes};
use super::guard::guard;
use super::module::Module;
use super::pressure::{self, Pressure};
use super::sync::Cursor;
use super::wanted::Wanted;
use super::{clock, gone, value};
use crate::core::dirty::Captured;

/// A value is captured when its key has less time to live than this: much more than a turn of
/// the event loop takes.
const LAST_MS: i64 = 1_000;
/// A key with more time than that is looked at again after this time at the latest: by then it
/// is clean, mostly, and forgotten here.
const AGAIN_MS: i64 = 30_000;
/// So many keys are worth asking first whether any key can expire at all.
const MANY: usize = 32;

/// What is known of the ends of dirty keys.
#[derive(Debug)]
pub struct Early {
    /// When keys are to be looked at again, milliseconds since 1970, with database and key.
    ends: BinaryHeap<Reverse<(i64, u16, Vec<u8>)>>,
    /// What is known of memory.
    pub pressure: Pressure,
    /// True while this server is none that writes: then nobody looks, and later everybody must
    /// be looked at.
    looked_away: bool,
}

/// Begins to look ahead.
pub fn start(ctx: Ctx<'_>, module: &Module) {
    let pressure = Pressure::start(ctx);
    let early = Early { ends: BinaryHeap::new(), pressure, looked_away: false };
    module.early.replace(Some(early));
    module.engine.borrow_mut().watch();
    pressure::watch_limit(module, ctx);
}

/// Looks at what has become dirty, before the loop sleeps.
pub fn step(module: &Module, ctx: Ctx<'_>) {
    if module.early.borrow().is_none() {
        return;
    }
    if ctx.flags() & super::tick::NOT_NOW != 0 {
        module.engine.borrow_mut().fresh(clock::now_us());
        return with(module, |early| early.looked_away = true);
    }
    look_back(module, ctx);
    if !pressure::step(module, ctx) {
        look(module, ctx);
    }
    capture_last(module, ctx);
}

/// When values must be captured next, microseconds.
pub fn next_us(module: &Module) -> u64 {
    let early = module.early.borrow();
    let next = early.as_ref().and_then(|early| early.ends.peek());
    next.map_or(u64::MAX, |Reverse((end_ms, _, _))| {
        u64::try_from(*end_ms).unwrap_or(0).saturating_mul(1000)
    })
}

/// Asks every key that became dirty for its time to live.
pub fn look(module: &Module, ctx: Ctx<'_>) {
    if module.engine.borrow().has_fresh() {
        let fresh = module.engine.borrow_mut().fresh(clock::now_us());
        look_at(module, ctx, fresh);
    }
}

/// Looks at every dirty key, after a time in which nobody did.
fn look_back(module: &Module, ctx: Ctx<'_>) {
    if module.early.borrow().as_ref().is_some_and(|early| early.looked_away) {
        with(module, |early| early.looked_away = false);
        for db in dbs_to_watch(module, ctx) {
            let keys = module.engine.borrow_mut().uncaptured(Some(db), clock::now_us());
            look_at(module, ctx, keys);
        }
    }
}

fn look_at(module: &Module, ctx: Ctx<'_>, keys: Vec<(u16, Vec<u8>)>) {
    let now_ms = now_ms();
    let many = keys.len() >= MANY;
    let mut last = None;
    for (db, key) in keys {
        if many && last.is_none_or(|(last_db, _)| last_db != db) {
            last = Some((db, can_expire(ctx, db)));
        }
        if last.is_some_and(|(_, can_expire)| !can_expire) {
            continue;
        }
        ctx.select(db);
        if let Some(end_ms) = expiry_ms(module, ctx, &key) {
            let at_ms = (end_ms - LAST_MS).min(now_ms + AGAIN_MS);
            with(module, |early| early.ends.push(Reverse((at_ms, db, key))));
        }
    }
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

fn now_ms() -> i64 {
    i64::try_from(clock::unix_ms()).unwrap_or(i64::MAX)
}

/// Captures the values of keys in their last second.
fn capture_last(module: &Module, ctx: Ctx<'_>) {
    let now_ms = now_ms();
    loop {
        let due = {
            let mut early = module.early.borrow_mut();
            let Some(early) = early.as_mut() else { return };
            match early.ends.peek() {
                Some(Reverse((at_ms, _, _))) if *at_ms <= now_ms => early.ends.pop(),
                _ => return,
            }
        };
        let Some(Reverse((_, db, key))) = due else { return };
        if !module.engine.borrow().is_uncaptured(db, &key) {
            continue;
        }
        ctx.select(db);
        match expiry_ms(module, ctx, &key) {
            Some(end_ms) if end_ms - LAST_MS <= now_ms => gone::capture(module, ctx, db, &key),
            Some(_) => look_at(module, ctx, vec![(db, key)]),
            None => {}
        }
    }
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
        if expire_ms < 0 || expire_ms - LAST_MS > now_ms() {
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
fn expiry_ms(module: &Module, ctx: Ctx<'_>, key: &[u8]) -> Option<i64> {
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
        (expire_ms >= 0).then_some(expire_ms)
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
