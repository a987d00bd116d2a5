//! Sync: marks the keys that exist already, a slice at a time, for registrations that asked for
//! it or missed changes.

use std::collections::HashMap;
use std::ffi::c_void;
use std::sync::Arc;

use super::slice;
use crate::core::backlog::change_log::Touch;
use crate::core::backlog::{Engine, Scanned};
use crate::core::registration::Registration;
use crate::redis::api::context::{Ctx, Text, bytes, must_not_replicate};
use crate::redis::api::raw;
use crate::redis::api::raw::api;
use crate::redis::api::{clock, log};
use crate::redis::state::Module;

/// Buckets of the keyspace visited between two looks at the clock.
const CLOCK_BUCKETS: usize = 16;
/// Keys in one replicated mark.
const MARK_KEYS: usize = 512;

/// One scan of a logical database for the keys of one registration.
#[derive(Debug)]
struct Sync {
    registration: Arc<Registration>,
    /// The engine's epoch at its beginning.
    epoch: u32,
    cursor: Cursor,
    marked: u64,
}

impl Sync {
    /// False when its slot is somebody else's by now, or others have scanned meanwhile.
    fn is_of(&self, registration: &Registration, epoch: u32) -> bool {
        let own = &self.registration;
        self.epoch == epoch && own.db == registration.db && own.prefix == registration.prefix
    }
}

/// The scans that are under way.
#[derive(Debug, Default)]
pub struct Syncs {
    by_slot: HashMap<u16, Sync>,
    /// The slot whose turn was the last.
    last: u16,
}

impl Syncs {
    /// Lets the keys of `slot` be marked from the beginning.
    pub fn restart(&mut self, slot: u16) {
        self.by_slot.remove(&slot);
    }
}

/// The slot to scan now, if there are keys to mark and this server may do it.
fn next(module: &Module, ctx: Ctx<'_>) -> Option<u16> {
    let slot = module.engine.borrow().next_scan(module.syncs.borrow().last)?;
    (ctx.flags() & super::tick::NOT_NOW == 0 && !must_not_replicate()).then_some(slot)
}

/// True when marking goes on at once.
pub fn is_pending(module: &Module, ctx: Ctx<'_>) -> bool {
    next(module, ctx).is_some()
}

/// Goes on marking for one slice. True when a scan has ended.
pub fn step(module: &Module, ctx: Ctx<'_>) -> bool {
    let Some(slot) = next(module, ctx) else { return false };
    let (registration, epoch) = {
        let engine = module.engine.borrow();
        let Some(bound) = engine.slot(slot) else { return false };
        (Arc::clone(&bound.registration), engine.epoch())
    };
    ctx.select(registration.db);
    let mut syncs = module.syncs.borrow_mut();
    syncs.last = slot;
    let under_way = syncs.by_slot.remove(&slot).filter(|sync| sync.is_of(&registration, epoch));
    drop(syncs);
    let mut sync = under_way.unwrap_or_else(|| {
        module.engine.borrow_mut().begin_scan(slot);
        ctx.replicate(c"WB._SCAN", &[Text::new(&registration.prefix)]);
        Sync { registration: Arc::clone(&registration), epoch, cursor: Cursor::new(), marked: 0 }
    });
    let now_us = clock::now_us();
    let end_us = now_us + slice::slice_us(module, now_us);
    if scan(module, ctx, slot, &mut sync, end_us) {
        module.syncs.borrow_mut().by_slot.insert(slot, sync);
        return false;
    }
    ctx.replicate(c"WB._SYNCED", &[Text::new(&registration.prefix)]);
    end(module, slot, &sync);
    true
}

/// The share of the selected database's keys that a scan has looked at, in percent. Below 100: it
/// says itself when it is done, and keys may come and go meanwhile.
pub fn percent(ctx: Ctx<'_>, scanned: Scanned) -> u64 {
    // SAFETY: the context is that of a running callback.
    let keys = unsafe { api!(RedisModule_DbSize)(ctx.raw()) };
    (scanned.visited * 100 / keys.max(1)).min(99)
}

/// Every key was visited.
fn end(module: &Module, slot: u16, sync: &Sync) {
    let mut engine = module.engine.borrow_mut();
    let asked = engine.slot(slot).is_some_and(|slot| slot.sync_pending);
    engine.end_scan(slot, clock::now_us());
    // One scan may follow the other while MongoDB is slower than the writers.
    let complete = !engine.rescans().any(|rescan| rescan == slot);
    if asked || complete {
        let prefix = String::from_utf8_lossy(&sync.registration.prefix).into_owned();
        log::notice(&format!("sync of prefix '{prefix}' has marked {} keys", sync.marked));
    }
}

/// Visits keys until `end_us`, or until there is no room for more; false when all were visited.
fn scan(module: &Module, ctx: Ctx<'_>, slot: u16, sync: &mut Sync, end_us: u64) -> bool {
    let mut visit = Visit { module, slot, visited: 0, marked: Vec::new() };
    let mut more = true;
    let mut buckets = 0usize;
    while more {
        // SAFETY: the cursor is ours and not used elsewhere; the callback gets the value it
        // expects, which outlives the call; keys may be scanned in this callback of the server.
        more = unsafe {
            let visit = (&raw mut visit).cast::<c_void>();
            api!(RedisModule_Scan)(ctx.raw(), sync.cursor.0, Some(on_key), visit) != 0
        };
        buckets += 1;
        if buckets.is_multiple_of(CLOCK_BUCKETS)
            && (clock::now_us() >= end_us || !module.engine.borrow().has_room_to_scan(slot))
        {
            break;
        }
    }
    let marked = visit.marked.len() as u64;
    sync.marked += marked;
    module.engine.borrow_mut().scanned(slot, Scanned { visited: visit.visited, marked });
    let prefix = Text::new(&sync.registration.prefix);
    for keys in visit.marked.chunks(MARK_KEYS) {
        ctx.replicate_with(c"WB._MARK", Some(&prefix), keys);
    }
    more
}

struct Visit<'a> {
    module: &'a Module,
    slot: u16,
    visited: u64,
    marked: Vec<Text>,
}

unsafe extern "C" fn on_key(
    _: *mut raw::RedisModuleCtx,
    name: *mut raw::RedisModuleString,
    _: *mut raw::RedisModuleKey,
    visit: *mut c_void,
) {
    crate::redis::api::guard::guard((), || {
        // SAFETY: `scan` passes a `Visit` that it does not use meanwhile; the name is valid
        // during the callback.
        let (visit, key) = unsafe { (&mut *visit.cast::<Visit<'_>>(), bytes(name)) };
        visit.visited += 1;
        let engine: &mut Engine = &mut visit.module.engine.borrow_mut();
        if engine.is_scanned(visit.slot, key) {
            visit.marked.push(Text::new(key));
            engine.found(visit.slot, key, Touch::Found, clock::now_us());
        }
    });
}

/// The keys of the selected database that `is_wanted` accepts.
pub fn names(ctx: Ctx<'_>, mut is_wanted: impl FnMut(&[u8]) -> bool) -> Vec<Vec<u8>> {
    let cursor = Cursor::new();
    let mut names = Names { is_wanted: &mut is_wanted, found: Vec::new() };
    // SAFETY: the cursor is ours; the callback gets the value it expects, which outlives the
    // scan; the caller's callback of the server is one in which keys may be scanned.
    unsafe {
        let names = (&raw mut names).cast::<c_void>();
        while api!(RedisModule_Scan)(ctx.raw(), cursor.0, Some(on_name), names) != 0 {}
    }
    names.found
}

struct Names<'a> {
    is_wanted: &'a mut dyn FnMut(&[u8]) -> bool,
    found: Vec<Vec<u8>>,
}

unsafe extern "C" fn on_name(
    _: *mut raw::RedisModuleCtx,
    name: *mut raw::RedisModuleString,
    _: *mut raw::RedisModuleKey,
    names: *mut c_void,
) {
    crate::redis::api::guard::guard((), || {
        // SAFETY: `names` passes a `Names` that it does not use meanwhile; the name is valid
        // during the callback.
        let (names, key) = unsafe { (&mut *names.cast::<Names<'_>>(), bytes(name)) };
        if (names.is_wanted)(key) {
            names.found.push(key.to_vec());
        }
    });
}

/// A cursor of the server.
#[derive(Debug)]
pub struct Cursor(pub *mut raw::RedisModuleScanCursor);

impl Cursor {
    /// A cursor at the beginning.
    pub fn new() -> Self {
        // SAFETY: takes no argument; the cursor is ours.
        Cursor(unsafe { api!(RedisModule_ScanCursorCreate)() })
    }
}

impl Drop for Cursor {
    fn drop(&mut self) {
        // SAFETY: made by `new`, destroyed once.
        unsafe { api!(RedisModule_ScanCursorDestroy)(self.0) };
    }
}
