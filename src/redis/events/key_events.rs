//! Events of single keys: changed keys, and keys that are about to be removed.

use std::collections::BTreeSet;
use std::ffi::{CStr, c_char, c_int, c_void};

use crate::core::backlog::change_log::ChangeKind;
use crate::core::ids::Db;
use crate::redis::api::clock;
use crate::redis::api::context::{Ctx, Text, bytes};
use crate::redis::api::guard::guard;
use crate::redis::api::raw;
use crate::redis::api::raw::api;
use crate::redis::read::value;
use crate::redis::replication::propagate;
use crate::redis::retain::last_value;
use crate::redis::state::{Module, module};

/// All event classes that report a change of a key, and no others: not NEW (SET has its own event),
/// not LOADED, not KEY_MISS.
pub const KINDS: c_int = raw::REDISMODULE_NOTIFY_GENERIC
    | raw::REDISMODULE_NOTIFY_STRING
    | raw::REDISMODULE_NOTIFY_LIST
    | raw::REDISMODULE_NOTIFY_SET
    | raw::REDISMODULE_NOTIFY_HASH
    | raw::REDISMODULE_NOTIFY_ZSET
    | raw::REDISMODULE_NOTIFY_EXPIRED
    | raw::REDISMODULE_NOTIFY_EVICTED
    | raw::REDISMODULE_NOTIFY_STREAM
    | raw::REDISMODULE_NOTIFY_MODULE;

/// The classes of which every event means that the key has a new value.
const PLAIN: c_int = raw::REDISMODULE_NOTIFY_STRING
    | raw::REDISMODULE_NOTIFY_LIST
    | raw::REDISMODULE_NOTIFY_SET
    | raw::REDISMODULE_NOTIFY_ZSET;

/// Called for every keyspace event of these classes. It runs inside every write command, so it only
/// appends to the change log.
pub unsafe extern "C" fn on_key(
    ctx: *mut raw::RedisModuleCtx,
    class: c_int,
    event: *const c_char,
    key: *mut raw::RedisModuleString,
) -> c_int {
    guard((), || {
        let module = module();
        if class == raw::REDISMODULE_NOTIFY_EXPIRED {
            module.pipeline.expired.set(module.pipeline.expired.get() + 1);
        }
        let is_stored = module.pipeline.storing.is_on();
        if is_stored || module.pipeline.backlog.borrow().registry.captures_nothing() {
            return;
        }
        // SAFETY: the server's context, key and event name are valid during the callback, in
        // which nothing changes the key's name.
        let (ctx, key) = unsafe { (Ctx::new(ctx), bytes(key)) };
        let Some(db) = ctx.db() else { return };
        // SAFETY: as above.
        let Some(kind) = (unsafe { change_kind(class, event) }) else { return };
        if kind != ChangeKind::Changed {
            // SAFETY: as above.
            let name = unsafe { CStr::from_ptr(event) };
            return on_special(module, ctx, (class, name), (db, key), kind);
        }
        let mut backlog = module.pipeline.backlog.borrow_mut();
        let joins = || module.units.joins(ctx);
        backlog.record((db, key), ChangeKind::Changed, joins, clock::now_us);
    });
    raw::REDISMODULE_OK as c_int
}

/// Records an event other than a plain change: the key was removed, got a value that may have a
/// time to live, or got another time to live.
fn on_special(
    module: &Module,
    ctx: Ctx<'_>,
    event: (c_int, &CStr),
    (db, key): (Db, &[u8]),
    kind: ChangeKind,
) {
    if matches!(kind, ChangeKind::Expired | ChangeKind::Evicted) {
        return removed(module, ctx, (db, key), kind);
    }
    if kind == ChangeKind::Deleted && module.cluster.moves_keys() {
        return left(module, ctx, (db, key));
    }
    let mut backlog = module.pipeline.backlog.borrow_mut();
    if event.0 == raw::REDISMODULE_NOTIFY_GENERIC {
        match event.1.to_bytes() {
            b"move_from" => backlog.move_from(db, key),
            b"move_to" => {
                if let Some(dbs) = backlog.move_to(db, key) {
                    drop(backlog);
                    return mark_moved(module, ctx, (db, key), dbs);
                }
            }
            _ => {}
        }
    }
    if kind == ChangeKind::Deleted && backlog.was_announced(db, key) {
        return;
    }
    let name: &[u8] =
        if event.0 == raw::REDISMODULE_NOTIFY_GENERIC { event.1.to_bytes() } else { b"" };
    let joins = || match name {
        b"rename_to" | b"move_to" => module.units.joins_pair(ctx),
        b"rename_from" | b"move_from" => {
            let joins = module.units.joins(ctx);
            module.units.begin_pair();
            joins
        }
        _ => module.units.joins(ctx),
    };
    backlog.record((db, key), kind, joins, clock::now_us);
}

/// Records that a key has left for another node of the cluster, which writes it from now on. The server
/// replicates its DEL after this event.
fn left(module: &Module, ctx: Ctx<'_>, (db, key): (Db, &[u8])) {
    let is_captured = module.pipeline.backlog.borrow_mut().left((db, key), clock::now_us());
    if is_captured {
        propagate::left(ctx, key);
    }
}

/// Handles an ambiguous `move_to`: the key is now in one of these databases. Where it does not
/// exist it must not be marked: that would overwrite what is recorded of a removed key.
fn mark_moved(module: &Module, ctx: Ctx<'_>, (here, key): (Db, &[u8]), dbs: BTreeSet<Db>) {
    let name = Text::new(key);
    for db in dbs {
        ctx.select(db);
        if value::exists(ctx, &name) == Some(false) {
            continue;
        }
        let mut backlog = module.pipeline.backlog.borrow_mut();
        let joins = || module.units.joins(ctx);
        backlog.record((db, key), ChangeKind::ExpiryMayHaveChanged, joins, clock::now_us);
    }
    ctx.select(here);
}

/// The kind of change that an event reports; nothing when no document can have changed.
///
/// # Safety
/// `event` is a string that ends with NUL.
#[inline]
unsafe fn change_kind(class: c_int, event: *const c_char) -> Option<ChangeKind> {
    if class & PLAIN != 0 {
        return Some(ChangeKind::Changed);
    }
    // SAFETY: the string ends with NUL.
    let name = || unsafe { CStr::from_ptr(event) }.to_bytes();
    // SAFETY: as above; an empty string has no second character.
    let (first, second) = unsafe {
        let first = *event as u8;
        (first, if first == 0 { 0 } else { *event.add(1) as u8 })
    };
    Some(match class {
        // Valkey reports the expiry of a hash's field under this class too: `hexpired`.
        raw::REDISMODULE_NOTIFY_EXPIRED if first == b'e' => ChangeKind::Expired,
        raw::REDISMODULE_NOTIFY_EVICTED => ChangeKind::Evicted,
        raw::REDISMODULE_NOTIFY_GENERIC => match name() {
            b"del" | b"rename_from" | b"move_from" => ChangeKind::Deleted,
            b"expire" | b"persist" => ChangeKind::ExpiryOnly,
            // `rename_to`, `copy_to`, `move_to`, `restore`: the value comes with a time to live.
            _ => ChangeKind::ExpiryMayHaveChanged,
        },
        // The time to live of fields. The second letter distinguishes `hset` and most others from
        // these.
        raw::REDISMODULE_NOTIFY_HASH if matches!(second, b'e' | b'p') => match name() {
            b"hexpire" | b"hpersist" => return None,
            _ => ChangeKind::Changed,
        },
        // Consumers and their groups are in no document; but `xgroup-create` may create a stream.
        raw::REDISMODULE_NOTIFY_STREAM if matches!(second, b'g' | b's') => match name() {
            b"xgroup-create" => ChangeKind::Changed,
            b"xsetid" => return None,
            name if name.starts_with(b"xgroup-") => return None,
            _ => ChangeKind::Changed,
        },
        // RedisJSON deletes a key with JSON.DEL of its root without a `del` event. Checking here
        // whether the key exists could expire it in the middle of the command.
        raw::REDISMODULE_NOTIFY_MODULE if name() == b"json.del" => ChangeKind::MaybeDeleted,
        _ => ChangeKind::Changed,
    })
}

/// Records that a key has expired or was evicted. The server replicates its DEL after this event.
fn removed(module: &Module, ctx: Ctx<'_>, (db, key): (Db, &[u8]), kind: ChangeKind) {
    let joins = || module.units.joins(ctx);
    let mut backlog = module.pipeline.backlog.borrow_mut();
    let is_captured = backlog.removed((db, key), kind, joins, clock::now_us());
    drop(backlog);
    if is_captured {
        propagate::removed(ctx, key, kind);
    }
}

/// Called before the server removes a key, whose value can still be read. Redis 7.2 and newer,
/// Valkey.
pub unsafe extern "C" fn on_key_event(
    ctx: *mut raw::RedisModuleCtx,
    _: raw::RedisModuleEvent,
    subevent: u64,
    info: *mut c_void,
) {
    let kind = match subevent {
        raw::REDISMODULE_SUBEVENT_KEY_EXPIRED => ChangeKind::Expired,
        raw::REDISMODULE_SUBEVENT_KEY_EVICTED => ChangeKind::Evicted,
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
        if module.pipeline.backlog.borrow().registry.captures_nothing() {
            return;
        }
        let Some(db) = ctx.db() else { return };
        last_value::before_removal(&module.pipeline, ctx, (db, key), kind);
    });
}
