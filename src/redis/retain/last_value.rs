//! Keys that go away before their last value is in MongoDB: expiry, eviction, FLUSHALL, SWAPDB.

use std::ffi::{c_int, c_void};

use crate::core::backlog::change_log::Touch;
use crate::core::backlog::table::Captured;
use crate::redis::api::clock;
use crate::redis::api::context::{Ctx, Text, bytes, must_not_replicate};
use crate::redis::api::guard::guard;
use crate::redis::api::raw;
use crate::redis::api::raw::api;
use crate::redis::api::scan;
use crate::redis::read::request::Wanted;
use crate::redis::read::value;
use crate::redis::read::value::{Found, Reading};
use crate::redis::state::{Module, module};

/// The number of the database when FLUSHALL removes those of all.
const ALL: c_int = -1;
/// While one of these holds, nothing of ours is put into the stream.
const NOT_OURS: u32 = raw::REDISMODULE_CTX_FLAGS_SLAVE | raw::REDISMODULE_CTX_FLAGS_LOADING;

/// The server reports that a key has expired or was evicted. Its DEL follows in the stream.
pub fn on_gone(module: &Module, ctx: Ctx<'_>, (db, key): (u16, &[u8]), touch: Touch) {
    let ours = module.engine.borrow_mut().gone(db, key, touch, clock::now_us());
    if ours && ctx.flags() & NOT_OURS == 0 && !must_not_replicate() {
        let kind: &[u8] = if touch == Touch::Evicted { b"evicted" } else { b"expired" };
        ctx.replicate(c"WB._GONE", &[Text::new(kind), Text::new(key)]);
    }
}

/// The master announces that a key is about to expire or be evicted; it is still here.
pub fn announced(module: &Module, ctx: Ctx<'_>, (db, key): (u16, &[u8]), touch: Touch) {
    let now_us = clock::now_us();
    let must_capture = module.engine.borrow_mut().must_capture(db, key, touch, now_us);
    if must_capture {
        capture(module, ctx, db, key);
    }
    let mut engine = module.engine.borrow_mut();
    engine.gone(db, key, touch, now_us);
    engine.announce(db, key);
}

/// Copies the value of a key of `db` that is dirty, or may be, as it is in the selected database now.
pub fn capture(module: &Module, ctx: Ctx<'_>, db: u16, key: &[u8]) {
    let wanted = {
        let engine = module.engine.borrow();
        engine.slot_of_key(db, key).map(|slot| Wanted::of(&slot.registration))
    };
    let Some(wanted) = wanted else { return };
    let value = read_value(module, ctx, key, wanted);
    let mut engine = module.engine.borrow_mut();
    match value {
        Ok(value) => {
            engine.capture(db, key, value);
        }
        // It counts as deleted. Once it is gone, nobody could tell that it was of another type.
        Err(Found::Foreign) => {
            engine.touch(db, key, Touch::Deleted);
            engine.fold(clock::now_us());
            engine.capture_missing(db, key);
        }
        Err(Found::Gone) => engine.capture_missing(db, key),
        Err(_) => {}
    }
}

/// The value as it is to be kept, or why there is none.
fn read_value(
    module: &Module,
    ctx: Ctx<'_>,
    key: &[u8],
    wanted: Wanted,
) -> Result<Captured, Found> {
    let mut bytes = Vec::new();
    // The expiry always: the options may change before the value is written.
    let wanted = Wanted { expiry: true, ..wanted };
    let Reading { found, expire_ms, .. } =
        value::value(module, ctx, &Text::new(key), wanted, &mut bytes);
    let content = match found {
        Found::Value(content) => content,
        Found::TooLarge => value::too_large(&mut bytes),
        Found::Unwritable(reason) => {
            bytes.extend_from_slice(reason.as_bytes());
            crate::core::mapping::value::Content::Unwritable
        }
        // It is read in one go, so it is neither put off nor left unfinished.
        found => return Err(found),
    };
    Ok(Captured { content, expire_ms, bytes: bytes.into() })
}

/// The server is about to remove a key, whose value can still be read. Redis 7.2 and newer,
/// Valkey.
pub unsafe extern "C" fn on_key_event(
    ctx: *mut raw::RedisModuleCtx,
    _: raw::RedisModuleEvent,
    subevent: u64,
    info: *mut c_void,
) {
    let touch = match subevent {
        raw::REDISMODULE_SUBEVENT_KEY_EXPIRED => Touch::Expired,
        raw::REDISMODULE_SUBEVENT_KEY_EVICTED => Touch::Evicted,
        _ => return,
    };
    guard((), || {
        // SAFETY: for this event the server gives a RedisModuleKeyInfo with an open key, whose
        // name is valid during the callback, as is the context.
        let (ctx, key) = unsafe {
            let info = info.cast::<raw::RedisModuleKeyInfo>();
            let name = api!(RedisModule_GetKeyNameFromModuleKey)((*info).key);
            (Ctx::new(ctx), bytes(name))
        };
        let module = module();
        if module.engine.borrow().is_deaf() {
            return;
        }
        let Some(db) = ctx.db() else { return };
        let now_us = clock::now_us();
        let must_capture = module.engine.borrow_mut().must_capture(db, key, touch, now_us);
        if must_capture {
            capture(module, ctx, db, key);
        }
    });
}

/// FLUSHDB and FLUSHALL are about to remove everything: what is dirty is kept.
pub unsafe extern "C" fn on_flush(
    ctx: *mut raw::RedisModuleCtx,
    _: raw::RedisModuleEvent,
    subevent: u64,
    info: *mut c_void,
) {
    if subevent != raw::REDISMODULE_SUBEVENT_FLUSHDB_START {
        return;
    }
    guard((), || {
        // SAFETY: for this event the server gives a RedisModuleFlushInfo.
        let db: c_int = unsafe { (*info.cast::<raw::RedisModuleFlushInfo>()).dbnum };
        // SAFETY: the server's context is valid during the callback.
        let ctx = unsafe { Ctx::new(ctx) };
        let db = match u16::try_from(db) {
            Ok(db) => Some(db),
            Err(_) if db == ALL => None,
            // Nothing of it is dirty.
            Err(_) => return,
        };
        capture_all(ctx, db, c_int::from);
        // Before the data of a master is loaded, the own data is removed in the same way.
        if ctx.flags() & raw::REDISMODULE_CTX_FLAGS_REPLICA_IS_TRANSFERRING == 0 {
            capture_missed(ctx, db, c_int::from);
        }
    });
}

/// SWAPDB has swapped two databases: what is dirty keeps the values that it had.
pub unsafe extern "C" fn on_swap(
    ctx: *mut raw::RedisModuleCtx,
    _: raw::RedisModuleEvent,
    _: u64,
    info: *mut c_void,
) {
    guard((), || {
        // SAFETY: for this event the server gives a RedisModuleSwapDbInfo.
        let (first, second) = unsafe {
            let info = &*info.cast::<raw::RedisModuleSwapDbInfo>();
            (info.dbnum_first, info.dbnum_second)
        };
        if first == second {
            return;
        }
        // SAFETY: the server's context is valid during the callback.
        let ctx = unsafe { Ctx::new(ctx) };
        let swapped = [(first, second), (second, first)];
        // One of them may be past those that have registrations.
        let swapped = swapped.map(|(db, now)| u16::try_from(db).ok().map(|db| (db, now)));
        for (db, now) in swapped.into_iter().flatten() {
            capture_all(ctx, Some(db), |_| now);
        }
        for (db, now) in swapped.into_iter().flatten() {
            capture_missed(ctx, Some(db), |_| now);
        }
    });
}

/// Captures every key of `db`, or of all databases, that a registration may have missed, reading
/// it where `stands_in` says. Nothing is left to be found then.
fn capture_missed(ctx: Ctx<'_>, db: Option<u16>, stands_in: impl Fn(u16) -> c_int) {
    let module = module();
    let rescans = module.engine.borrow().rescans_of(db);
    for (slot, registration) in rescans {
        let db = registration.db;
        ctx.select_raw(stands_in(db));
        let keys = scan::names(ctx, |key| {
            let engine = module.engine.borrow();
            engine.is_scanned(slot, key) && engine.maybe_missed(db, key).is_some()
        });
        for key in keys {
            capture(module, ctx, db, &key);
        }
        module.engine.borrow_mut().forgive(slot);
        module.syncs.borrow_mut().restart(slot);
    }
}

/// Captures every dirty key of `db`, or of all databases, reading it where `stands_in` says.
pub fn capture_all(ctx: Ctx<'_>, db: Option<u16>, stands_in: impl Fn(u16) -> c_int) {
    let module = module();
    let keys = module.engine.borrow_mut().uncaptured(db, clock::now_us());
    for (db, key) in keys {
        ctx.select_raw(stands_in(db));
        capture(module, ctx, db, &key);
    }
}
