//! Sync: marks the keys that exist already, a slice at a time.

use std::ffi::c_void;

use super::api::{self, api};
use super::ctx::{Ctx, Text, bytes, must_not_replicate};
use super::module::Module;
use super::{clock, log};
use crate::core::change::Touch;
use crate::core::engine::Engine;

/// Buckets of the keyspace visited between two looks at the clock.
const CLOCK_BUCKETS: usize = 16;
/// Keys in one replicated mark.
const MARK_KEYS: usize = 512;

/// One scan of a logical database for the keys of one registration.
#[derive(Debug)]
struct Sync {
    slot: u16,
    cursor: Cursor,
    marked: u64,
}

/// The scan that is under way, if one is.
#[derive(Debug, Default)]
pub struct Syncs(Option<Sync>);

impl Syncs {
    /// Lets the keys of `slot` be marked from the beginning.
    pub fn restart(&mut self, slot: u16) {
        if self.0.as_ref().is_some_and(|sync| sync.slot == slot) {
            self.0 = None;
        }
    }
}

/// True when there are keys to mark and this server may do it.
pub fn is_pending(module: &Module, ctx: Ctx<'_>) -> bool {
    module.engine.borrow().sync_pending().is_some()
        && ctx.flags() & super::tick::NOT_NOW == 0
        && !must_not_replicate()
}

/// Goes on marking for one slice.
pub fn step(module: &Module, ctx: Ctx<'_>) {
    if !is_pending(module, ctx) {
        return;
    }
    let Some(slot) = module.engine.borrow().sync_pending() else { return };
    let under_way = module.syncs.borrow_mut().0.take().filter(|sync| sync.slot == slot);
    let mut sync = under_way.unwrap_or_else(|| Sync { slot, cursor: Cursor::new(), marked: 0 });
    let registration = module.engine.borrow().slot(slot).map(|slot| slot.registration.clone());
    let Some(registration) = registration else { return };
    ctx.select(registration.db);
    let slice_us = u64::try_from(module.settings().read_slice_us).unwrap_or(0);
    let end_us = clock::now_us() + slice_us;
    if scan(module, ctx, registration.db, &mut sync, end_us) {
        module.syncs.borrow_mut().0 = Some(sync);
        return;
    }
    module.engine.borrow_mut().set_sync_pending(slot, false);
    ctx.replicate(c"WB._SYNCED", &[Text::new(&registration.prefix)]);
    let prefix = String::from_utf8_lossy(&registration.prefix).into_owned();
    log::notice(&format!("sync of prefix '{prefix}' has marked {} keys", sync.marked));
}

/// Visits keys until `end_us`; false when all were visited.
fn scan(module: &Module, ctx: Ctx<'_>, db: u16, sync: &mut Sync, end_us: u64) -> bool {
    let mut visit = Visit { module, db, slot: sync.slot, marked: Vec::new() };
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
        if buckets.is_multiple_of(CLOCK_BUCKETS) && clock::now_us() >= end_us {
            break;
        }
    }
    sync.marked += visit.marked.len() as u64;
    for keys in visit.marked.chunks(MARK_KEYS) {
        ctx.replicate(c"WB._MARK", keys);
    }
    more
}

struct Visit<'a> {
    module: &'a Module,
    db: u16,
    slot: u16,
    marked: Vec<Text>,
}

unsafe extern "C" fn on_key(
    _: *mut api::RedisModuleCtx,
    name: *mut api::RedisModuleString,
    _: *mut api::RedisModuleKey,
    visit: *mut c_void,
) {
    super::guard::guard((), || {
        // SAFETY: `scan` passes a `Visit` that it does not use meanwhile; the name is valid
        // during the callback.
        let (visit, key) = unsafe { (&mut *visit.cast::<Visit<'_>>(), bytes(name)) };
        let engine: &mut Engine = &mut visit.module.engine.borrow_mut();
        if engine.route(visit.db, key) == Some(visit.slot) {
            visit.marked.push(Text::new(key));
            if engine.touch(visit.db, key, Touch::Changed) {
                engine.fold(clock::now_us());
            }
        }
    });
}

/// A cursor of the server.
#[derive(Debug)]
pub struct Cursor(pub *mut api::RedisModuleScanCursor);

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
