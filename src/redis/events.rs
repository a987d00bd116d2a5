//! Everything the server tells us by itself: changed keys, turns of the event loop, shutdown.

use std::collections::BTreeSet;
use std::ffi::{CStr, c_char, c_int, c_void};

use super::api::clock;
use super::api::context::{Ctx, Text, bytes};
use super::api::guard::guard;
use super::api::raw;
use super::api::raw::api;
use super::event_loop::tick;
use super::read::value;
use super::replication::rdb;
use super::retain::last_value;
use super::retain::redis70::{eviction, ttl};
use super::shutdown;
use super::state::{Module, module};
use crate::core::backlog::change_log::Touch;

/// All kinds of change of a key, and no others: not NEW (SET reports itself), not LOADED, not
/// KEY_MISS.
const KINDS: c_int = raw::REDISMODULE_NOTIFY_GENERIC
    | raw::REDISMODULE_NOTIFY_STRING
    | raw::REDISMODULE_NOTIFY_LIST
    | raw::REDISMODULE_NOTIFY_SET
    | raw::REDISMODULE_NOTIFY_HASH
    | raw::REDISMODULE_NOTIFY_ZSET
    | raw::REDISMODULE_NOTIFY_EXPIRED
    | raw::REDISMODULE_NOTIFY_EVICTED
    | raw::REDISMODULE_NOTIFY_STREAM
    | raw::REDISMODULE_NOTIFY_MODULE;

/// Those of them whose events all say that there is a new value.
const PLAIN: c_int = raw::REDISMODULE_NOTIFY_STRING
    | raw::REDISMODULE_NOTIFY_LIST
    | raw::REDISMODULE_NOTIFY_SET
    | raw::REDISMODULE_NOTIFY_ZSET;

const TOO_OLD: &str = "the server refuses to report changes of keys, of its settings or turns of \
                       its event loop; use Redis 7.0 or newer, or Valkey";

/// Subscribes to all of it.
///
/// # Errors
/// One sentence when the server refuses.
pub fn subscribe(ctx: Ctx<'_>) -> Result<(), String> {
    // SAFETY: the context is that of RedisModule_OnLoad; the callbacks are ours and live as
    // long as the library, which is never unmapped.
    let refused = unsafe {
        api!(RedisModule_SubscribeToKeyspaceEvents)(ctx.raw(), KINDS, Some(on_key))
            | subscribe_to(ctx, raw::REDISMODULE_EVENT_EVENTLOOP, on_event_loop)
            | subscribe_to(ctx, raw::REDISMODULE_EVENT_SHUTDOWN, on_shutdown)
            | subscribe_to(ctx, raw::REDISMODULE_EVENT_FLUSHDB, last_value::on_flush)
            | subscribe_to(ctx, raw::REDISMODULE_EVENT_SWAPDB, last_value::on_swap)
            | subscribe_to(ctx, raw::REDISMODULE_EVENT_LOADING, rdb::on_loading)
            | subscribe_to(ctx, raw::REDISMODULE_EVENT_REPL_ASYNC_LOAD, rdb::on_loading_beside)
            | subscribe_to(ctx, raw::REDISMODULE_EVENT_REPLICATION_ROLE_CHANGED, rdb::on_role)
    };
    if refused != 0 {
        return Err(TOO_OLD.to_owned());
    }
    // SAFETY: as above. Redis 7.0 does not have this event.
    let has_key_event =
        unsafe { subscribe_to(ctx, raw::REDISMODULE_EVENT_KEY, last_value::on_key_event) == 0 };
    if !has_key_event {
        // SAFETY: as above.
        let refused =
            unsafe { subscribe_to(ctx, raw::REDISMODULE_EVENT_CONFIG, eviction::on_config) };
        if refused != 0 {
            return Err(TOO_OLD.to_owned());
        }
        ttl::start(ctx, module());
    }
    Ok(())
}

type EventCallback =
    unsafe extern "C" fn(*mut raw::RedisModuleCtx, raw::RedisModuleEvent, u64, *mut c_void);

/// # Safety
/// `ctx` is that of RedisModule_OnLoad, and `callback` fits the event.
unsafe fn subscribe_to(ctx: Ctx<'_>, id: u64, callback: EventCallback) -> c_int {
    let event = raw::RedisModuleEvent { id, dataver: 1 };
    // SAFETY: the caller vouches for both.
    unsafe { api!(RedisModule_SubscribeToServerEvent)(ctx.raw(), event, Some(callback)) }
}

/// A key was touched. This runs inside every write command: it appends to a log and no more.
unsafe extern "C" fn on_key(
    ctx: *mut raw::RedisModuleCtx,
    kind: c_int,
    event: *const c_char,
    key: *mut raw::RedisModuleString,
) -> c_int {
    guard((), || {
        let module = module();
        if module.engine.borrow().is_deaf() {
            return;
        }
        // SAFETY: the server's context, key and event name are valid during the callback, in
        // which nothing changes the key's name.
        let (ctx, key) = unsafe { (Ctx::new(ctx), bytes(key)) };
        let Some(db) = ctx.db() else { return };
        // SAFETY: as above.
        let Some(touch) = (unsafe { touch(kind, event) }) else { return };
        if touch != Touch::Changed {
            // SAFETY: as above.
            let name = unsafe { CStr::from_ptr(event) };
            return on_special(module, ctx, (kind, name), (db, key), touch);
        }
        let mut engine = module.engine.borrow_mut();
        if engine.touch(db, key, Touch::Changed) {
            engine.fold(clock::now_us());
        }
    });
    raw::REDISMODULE_OK as c_int
}

/// A key went, came with a time to live, or got another one.
fn on_special(
    module: &Module,
    ctx: Ctx<'_>,
    event: (c_int, &CStr),
    (db, key): (u16, &[u8]),
    touch: Touch,
) {
    if matches!(touch, Touch::Expired | Touch::Evicted) {
        return last_value::on_gone(module, ctx, (db, key), touch);
    }
    let mut engine = module.engine.borrow_mut();
    if event.0 == raw::REDISMODULE_NOTIFY_GENERIC {
        match event.1.to_bytes() {
            b"move_from" => engine.leaves(db, key),
            b"move_to" => {
                if let Some(dbs) = engine.arrives(db, key) {
                    drop(engine);
                    return arrived(module, ctx, (db, key), dbs);
                }
            }
            _ => {}
        }
    }
    if touch == Touch::Deleted && engine.was_announced(db, key) {
        return;
    }
    if engine.touch(db, key, touch) {
        engine.fold(clock::now_us());
    }
}

/// A key has arrived in one of these databases. Where it is not, a mark would undo what is known of
/// a key that went.
fn arrived(module: &Module, ctx: Ctx<'_>, (here, key): (u16, &[u8]), dbs: BTreeSet<u16>) {
    let name = Text::new(key);
    for db in dbs {
        ctx.select(db);
        if value::is_there(ctx, &name) == Some(false) {
            continue;
        }
        let mut engine = module.engine.borrow_mut();
        if engine.touch(db, key, Touch::Timed) {
            engine.fold(clock::now_us());
        }
    }
    ctx.select(here);
}

/// What an event says of its key; nothing where no document can have changed.
///
/// # Safety
/// `event` is a string that ends with NUL.
#[inline]
unsafe fn touch(kind: c_int, event: *const c_char) -> Option<Touch> {
    if kind & PLAIN != 0 {
        return Some(Touch::Changed);
    }
    // SAFETY: the string ends with NUL.
    let name = || unsafe { CStr::from_ptr(event) }.to_bytes();
    // SAFETY: as above; an empty string has no second character.
    let (first, second) = unsafe {
        let first = *event as u8;
        (first, if first == 0 { 0 } else { *event.add(1) as u8 })
    };
    Some(match kind {
        // Valkey reports the expiry of a hash's field under this kind too: `hexpired`.
        raw::REDISMODULE_NOTIFY_EXPIRED if first == b'e' => Touch::Expired,
        raw::REDISMODULE_NOTIFY_EVICTED => Touch::Evicted,
        raw::REDISMODULE_NOTIFY_GENERIC => match name() {
            b"del" | b"rename_from" | b"move_from" => Touch::Deleted,
            b"expire" | b"persist" => Touch::Lifetime,
            // `rename_to`, `copy_to`, `move_to`, `restore`: the value comes with a time to live.
            _ => Touch::Timed,
        },
        // The time to live of fields. `hset` and most others are told apart by one letter.
        raw::REDISMODULE_NOTIFY_HASH if matches!(second, b'e' | b'p') => match name() {
            b"hexpire" | b"hpersist" => return None,
            _ => Touch::Changed,
        },
        // Consumers and their groups are in no document; but `xgroup-create` may make a stream.
        raw::REDISMODULE_NOTIFY_STREAM if matches!(second, b'g' | b's') => match name() {
            b"xgroup-create" => Touch::Changed,
            b"xsetid" => return None,
            name if name.starts_with(b"xgroup-") => return None,
            _ => Touch::Changed,
        },
        // RedisJSON deletes a key at its root without a `del`. To look whether the key is there
        // could let it expire in the midst of the command.
        raw::REDISMODULE_NOTIFY_MODULE if name() == b"json.del" => Touch::PerhapsDeleted,
        _ => Touch::Changed,
    })
}

unsafe extern "C" fn on_event_loop(
    ctx: *mut raw::RedisModuleCtx,
    _: raw::RedisModuleEvent,
    subevent: u64,
    _: *mut c_void,
) {
    guard((), || {
        // SAFETY: the server's context is valid during the callback.
        let ctx = unsafe { Ctx::new(ctx) };
        if subevent == raw::REDISMODULE_SUBEVENT_EVENTLOOP_BEFORE_SLEEP {
            tick::before_sleep(ctx);
        } else {
            tick::after_sleep(ctx);
        }
    });
}

unsafe extern "C" fn on_shutdown(
    ctx: *mut raw::RedisModuleCtx,
    _: raw::RedisModuleEvent,
    _: u64,
    _: *mut c_void,
) {
    guard((), || {
        // SAFETY: the server's context is valid during the callback.
        shutdown::drain(unsafe { Ctx::new(ctx) });
    });
}
