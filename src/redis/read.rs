//! Reading a key's value, in the way that leaves the fewest traces.

use std::ffi::{c_int, c_void};

use super::api::{self, api};
use super::ctx::{Ctx, Text, bytes, must_not_replicate, raw_bytes};
use super::module::Module;
use crate::core::batch::Batch;
use crate::core::change::Touch;
use crate::core::dirty::Taken;
use crate::core::engine::{Acknowledged, Engine, Missing, item};
use crate::core::registration::KeyType;
use crate::core::value::{Content, Span, push_bytes};

/// A longer string is certainly stored raw, so its bytes can be read in place; asking for those
/// of a shorter one would change its encoding.
const IN_PLACE_BYTES: usize = 256;

/// How long a key waits that could not be settled.
const UNSETTLED_US: u64 = 10_000;

/// What was found under a key.
pub enum Found {
    /// A value, appended to the buffer.
    Value(Content),
    /// No such key.
    Gone,
    /// A type that the registration does not take: as good as deleted.
    Foreign,
    /// A type that is ours and cannot be written.
    Unwritable(&'static str),
}

/// The access modes for reading that this server has: no LRU change anywhere, and where there
/// are more, no statistics and no notification of a miss. A key whose time is over does expire
/// when it is read, because only then do we hear of it and can keep its value.
pub fn mode() -> c_int {
    let wanted = api::REDISMODULE_OPEN_KEY_NOTOUCH
        | api::REDISMODULE_OPEN_KEY_NONOTIFY
        | api::REDISMODULE_OPEN_KEY_NOSTATS;
    // SAFETY: the function takes no argument and returns a constant.
    let known = match unsafe { api::RedisModule_GetOpenKeyModesAll } {
        // SAFETY: as above.
        Some(all) => (unsafe { all() }) as u32,
        None => api::REDISMODULE_OPEN_KEY_NOTOUCH,
    };
    (api::REDISMODULE_READ | (wanted & known)) as c_int
}

/// Reads the taken key, whose bytes are at `key` in the batch, and adds it to the batch, or
/// settles it when nothing is to be written. False when the key cannot be settled now and waits.
pub fn key(
    module: &Module,
    ctx: Ctx<'_>,
    batch: &mut Batch,
    taken: &Taken,
    key: Span,
    clean: &mut Acknowledged,
) -> bool {
    let start = batch.bytes.len();
    let name = Text::new(&batch.bytes[key.range()]);
    let wanted = batch.registration.key_type;
    let found = match taken.touch {
        Touch::Captured => Found::Gone,
        _ => value(module, ctx, &name, wanted, &mut batch.bytes),
    };
    let content = match found {
        Found::Value(content) => content,
        Found::Unwritable(reason) => {
            batch.bytes.extend_from_slice(reason.as_bytes());
            Content::Unwritable
        }
        Found::Gone | Found::Foreign => {
            let gone = matches!(found, Found::Gone);
            let mut engine = module.engine.borrow_mut();
            // The read itself may have let the key expire.
            let now_us = super::clock::now_us();
            engine.fold(now_us);
            if let Some(captured) = engine.captured(taken).filter(|_| gone) {
                batch.bytes.extend_from_slice(&captured.bytes);
                captured.content
            } else {
                let touch = if gone { taken.touch } else { Touch::Deleted };
                let unsettled = gone && touch == Touch::Changed && must_not_replicate();
                if unsettled || engine.changed_since(taken) {
                    // During a pause keys do not expire, and only look as if they had.
                    let hold_us = if unsettled { now_us + UNSETTLED_US } else { 0 };
                    engine.put_back(batch.slot, taken, hold_us);
                    batch.bytes.truncate(key.start);
                    return false;
                }
                match Engine::on_missing(&batch.registration, touch) {
                    Missing::Delete => Content::Tombstone,
                    Missing::Keep => {
                        engine.skip(batch.slot, taken, clean);
                        batch.bytes.truncate(key.start);
                        return true;
                    }
                }
            }
        }
    };
    let value = Span { start, end: batch.bytes.len() };
    batch.items.push(item(taken, key, content, value));
    true
}

/// Reads the value of the key `name` in the selected database and appends it to `out`.
pub fn value(
    module: &Module,
    ctx: Ctx<'_>,
    name: &Text,
    wanted: KeyType,
    out: &mut Vec<u8>,
) -> Found {
    let Some(opened) = Opened::new(ctx, name, module.read_mode.get()) else {
        return Found::Gone;
    };
    let takes = |key_type| wanted == KeyType::Any || wanted == key_type;
    // SAFETY: the key is open.
    let key_type = unsafe { api!(RedisModule_KeyType)(opened.0) } as isize;
    match key_type {
        api::REDISMODULE_KEYTYPE_HASH if takes(KeyType::Hash) => {
            opened.hash(out);
            Found::Value(Content::Hash)
        }
        api::REDISMODULE_KEYTYPE_STRING if takes(KeyType::String) => opened.string(ctx, name, out),
        api::REDISMODULE_KEYTYPE_MODULE if takes(KeyType::Json) => {
            match opened.untouched(|| call(ctx, c"JSON.GET", name, out)) {
                true => Found::Value(Content::Json),
                false if wanted == KeyType::Any => Found::Unwritable(
                    "only JSON values of modules can be written: register a longer prefix for \
                     these keys or give this one a TYPE",
                ),
                false => Found::Foreign,
            }
        }
        _ if wanted == KeyType::Any => Found::Unwritable(
            "lists, sets, sorted sets and streams cannot be written by this version of \
             writebehind yet: give the registration a TYPE to leave them out",
        ),
        _ => Found::Foreign,
    }
}

/// A key open for reading.
struct Opened(*mut api::RedisModuleKey);

impl Opened {
    fn new(ctx: Ctx<'_>, name: &Text, mode: c_int) -> Option<Opened> {
        // SAFETY: the context is that of a running callback in which keys may be opened (not a
        // one-shot), and the name lives until the key is closed.
        let key = unsafe { api!(RedisModule_OpenKey)(ctx.raw(), name.raw(), mode) };
        (!key.is_null()).then_some(Opened(key))
    }

    /// Appends all fields and values.
    fn hash(&self, out: &mut Vec<u8>) {
        extern "C" fn field(
            _: *mut api::RedisModuleKey,
            field: *mut api::RedisModuleString,
            value: *mut api::RedisModuleString,
            out: *mut c_void,
        ) {
            // SAFETY: `out` is the vector that the scan below was given; it is not used
            // elsewhere while the scan runs. Field and value are valid during the callback.
            unsafe {
                let out = &mut *out.cast::<Vec<u8>>();
                push_bytes(out, bytes(field));
                push_bytes(out, if value.is_null() { &[] } else { bytes(value) });
            }
        }
        // SAFETY: the cursor is made, used and freed here; the key is an open hash; the callback
        // gets the vector it expects.
        unsafe {
            let cursor = api!(RedisModule_ScanCursorCreate)();
            let out = (&raw mut *out).cast::<c_void>();
            while api!(RedisModule_ScanKey)(self.0, cursor, Some(field), out) != 0 {}
            api!(RedisModule_ScanCursorDestroy)(cursor);
        }
    }

    /// Appends the string's bytes.
    fn string(&self, ctx: Ctx<'_>, name: &Text, out: &mut Vec<u8>) -> Found {
        // SAFETY: the key is open.
        let length = unsafe { api!(RedisModule_ValueLength)(self.0) };
        if length > IN_PLACE_BYTES {
            let mut len = 0;
            // SAFETY: the key is an open string; its bytes stay until it is closed.
            let value = unsafe {
                let start = api!(RedisModule_StringDMA)(
                    self.0,
                    &raw mut len,
                    api::REDISMODULE_READ as c_int,
                );
                raw_bytes(start, len)
            };
            out.extend_from_slice(value);
        } else if !self.untouched(|| call(ctx, c"GET", name, out)) {
            return Found::Gone;
        }
        Found::Value(Content::String)
    }

    /// Runs `read`, which uses a command, and gives the key back the age it had before.
    fn untouched(&self, read: impl FnOnce() -> bool) -> bool {
        let (mut idle_ms, mut frequency) = (-1, -1);
        // SAFETY: the key is open; both functions write one number, -1 if the eviction policy
        // is of the other kind.
        unsafe {
            api!(RedisModule_GetLRU)(self.0, &raw mut idle_ms);
            api!(RedisModule_GetLFU)(self.0, &raw mut frequency);
        }
        let done = read();
        // SAFETY: the key is still open, because reading it does not remove it.
        unsafe {
            if idle_ms >= 0 {
                api!(RedisModule_SetLRU)(self.0, idle_ms);
            } else if frequency >= 0 {
                api!(RedisModule_SetLFU)(self.0, frequency);
            }
        }
        done
    }
}

impl Drop for Opened {
    fn drop(&mut self) {
        // SAFETY: opened by `new`, closed once.
        unsafe { api!(RedisModule_CloseKey)(self.0) };
    }
}

/// Runs `command name` and appends the string it returns; false when it returns none.
fn call(ctx: Ctx<'_>, command: &std::ffi::CStr, name: &Text, out: &mut Vec<u8>) -> bool {
    // SAFETY: "s" takes one string, which lives until after the call.
    let reply =
        unsafe { api!(RedisModule_Call)(ctx.raw(), command.as_ptr(), c"s".as_ptr(), name.raw()) };
    if reply.is_null() {
        return false;
    }
    // SAFETY: the reply is valid until it is freed, and so are the bytes in it.
    unsafe {
        let is_string =
            api!(RedisModule_CallReplyType)(reply) as isize == api::REDISMODULE_REPLY_STRING;
        if is_string {
            let mut len = 0;
            let start = api!(RedisModule_CallReplyStringPtr)(reply, &raw mut len);
            out.extend_from_slice(raw_bytes(start, len));
        }
        api!(RedisModule_FreeCallReply)(reply);
        is_string
    }
}
