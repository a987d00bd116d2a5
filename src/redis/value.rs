//! A key's value, read in the way that leaves the fewest traces.

use std::ffi::{CStr, c_int, c_void};
use std::mem::ManuallyDrop;

use super::api::{self, api};
use super::ctx::{Ctx, Text, bytes, raw_bytes};
use super::module::Module;
use crate::core::registration::{KeyType, Registration};
use crate::core::value::{Content, NO_EXPIRY, push_bytes};

/// A longer string is certainly stored raw, so its bytes can be read in place; asking for those
/// of a shorter one would change its encoding.
const IN_PLACE_BYTES: usize = 256;

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
    /// The server refuses to read it now.
    Unreadable,
}

/// What is wanted of a key.
#[derive(Clone, Copy, Debug)]
pub struct Wanted {
    /// A key of another type is [`Found::Foreign`].
    pub key_type: KeyType,
    /// Without it the server is not asked for the expiry.
    pub expiry: bool,
}

impl Wanted {
    /// What the documents of `registration` are made of.
    pub fn of(registration: &Registration) -> Self {
        Wanted { key_type: registration.key_type, expiry: registration.ttl_field.is_some() }
    }
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

/// Reads the value of the key `name` in the selected database and appends it to `out`; with it
/// comes when the key expires, milliseconds since 1970 or [`NO_EXPIRY`].
pub fn value(
    module: &Module,
    ctx: Ctx<'_>,
    name: &Text,
    wanted: Wanted,
    out: &mut Vec<u8>,
) -> (Found, i64) {
    let Some(opened) = Opened::new(ctx, name, module.read_mode.get()) else {
        return (Found::Gone, NO_EXPIRY);
    };
    let expire_ms = if wanted.expiry { opened.expire_ms() } else { NO_EXPIRY };
    (value_of(opened, module, ctx, name, wanted.key_type, out), expire_ms)
}

fn value_of(
    opened: Opened,
    module: &Module,
    ctx: Ctx<'_>,
    name: &Text,
    wanted: KeyType,
    out: &mut Vec<u8>,
) -> Found {
    let takes = |key_type| wanted == KeyType::Any || wanted == key_type;
    // SAFETY: the key is open.
    let key_type = unsafe { api!(RedisModule_KeyType)(opened.0) } as isize;
    match key_type {
        api::REDISMODULE_KEYTYPE_HASH if takes(KeyType::Hash) => {
            opened.hash(out);
            Found::Value(Content::Hash)
        }
        api::REDISMODULE_KEYTYPE_STRING if takes(KeyType::String) => {
            opened.string(module, ctx, name, out)
        }
        api::REDISMODULE_KEYTYPE_MODULE if takes(KeyType::Json) => {
            match opened.call(module, ctx, c"JSON.GET", name, out) {
                Called::Text => Found::Value(Content::Json),
                Called::Nothing => Found::Gone,
                Called::Refused => Found::Unreadable,
                Called::WrongType if wanted == KeyType::Any => Found::Unwritable(
                    "only JSON values of modules can be written: register a longer prefix for \
                     these keys or give this one a TYPE",
                ),
                Called::WrongType => Found::Foreign,
            }
        }
        _ if wanted == KeyType::Any => Found::Unwritable(
            "lists, sets, sorted sets and streams cannot be written by this version of \
             writebehind yet: give the registration a TYPE to leave them out",
        ),
        _ => Found::Foreign,
    }
}

/// The value behind a key that the server opened for us, and when it expires: also of a key whose
/// time is over, which nobody could open by its name. Strings and hashes only.
///
/// # Safety
/// `key` is open, and stays so during the call.
pub unsafe fn of_open_key(
    key: *mut api::RedisModuleKey,
    wanted: KeyType,
    out: &mut Vec<u8>,
) -> Option<(Content, i64)> {
    // The server closes it.
    let opened = ManuallyDrop::new(Opened(key));
    let takes = |key_type| wanted == KeyType::Any || wanted == key_type;
    // SAFETY: the caller vouches for the key.
    let content = match unsafe { api!(RedisModule_KeyType)(key) } as isize {
        api::REDISMODULE_KEYTYPE_HASH if takes(KeyType::Hash) => {
            opened.hash(out);
            Content::Hash
        }
        api::REDISMODULE_KEYTYPE_STRING if takes(KeyType::String) => {
            opened.in_place(out);
            Content::String
        }
        _ => return None,
    };
    Some((content, opened.expire_ms()))
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

    /// When the key expires, milliseconds since 1970, or [`NO_EXPIRY`].
    fn expire_ms(&self) -> i64 {
        // SAFETY: the key is open. -1, which is NO_EXPIRY, says that it does not expire.
        unsafe { api!(RedisModule_GetAbsExpire)(self.0) }
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
    fn string(self, module: &Module, ctx: Ctx<'_>, name: &Text, out: &mut Vec<u8>) -> Found {
        // SAFETY: the key is open.
        let length = unsafe { api!(RedisModule_ValueLength)(self.0) };
        if length > IN_PLACE_BYTES {
            return self.in_place(out);
        }
        match self.call(module, ctx, c"GET", name, out) {
            Called::Text => Found::Value(Content::String),
            Called::Nothing => Found::Gone,
            // GET may be renamed, or refused by a cluster that is down. Better another encoding
            // than a value that is not written.
            Called::Refused | Called::WrongType => {
                match Opened::new(ctx, name, module.read_mode.get()) {
                    Some(again) => again.in_place(out),
                    None => Found::Gone,
                }
            }
        }
    }

    fn in_place(&self, out: &mut Vec<u8>) -> Found {
        let mut len = 0;
        // SAFETY: the key is an open string; its bytes stay until it is closed.
        let value = unsafe {
            let start =
                api!(RedisModule_StringDMA)(self.0, &raw mut len, api::REDISMODULE_READ as c_int);
            raw_bytes(start, len)
        };
        out.extend_from_slice(value);
        Found::Value(Content::String)
    }

    /// Reads by a command, and gives the key back the age it had before. The key is closed
    /// meanwhile, because its time may run out between opening it and the command.
    fn call(
        self,
        module: &Module,
        ctx: Ctx<'_>,
        command: &CStr,
        name: &Text,
        out: &mut Vec<u8>,
    ) -> Called {
        let (mut idle_ms, mut frequency) = (-1, -1);
        // SAFETY: the key is open; both functions write one number, -1 if the eviction policy
        // is of the other kind.
        unsafe {
            api!(RedisModule_GetLRU)(self.0, &raw mut idle_ms);
            api!(RedisModule_GetLFU)(self.0, &raw mut frequency);
        }
        drop(self);
        let called = call(ctx, command, name, out);
        if matches!(called, Called::Text)
            && let Some(again) = Opened::new(ctx, name, module.read_mode.get())
        {
            // SAFETY: the key is open.
            unsafe {
                if idle_ms >= 0 {
                    api!(RedisModule_SetLRU)(again.0, idle_ms);
                } else if frequency >= 0 {
                    api!(RedisModule_SetLFU)(again.0, frequency);
                }
            }
        }
        called
    }
}

impl Drop for Opened {
    fn drop(&mut self) {
        // SAFETY: opened by `new`, closed once.
        unsafe { api!(RedisModule_CloseKey)(self.0) };
    }
}

/// What a command for reading replied.
enum Called {
    /// A string, which was appended.
    Text,
    /// Nothing: there is no such key.
    Nothing,
    /// The command is not for keys of this type; there is none that is.
    WrongType,
    /// The server does not run it now, a cluster without the slot for example.
    Refused,
}

/// Runs `command name` and appends the string it returns.
fn call(ctx: Ctx<'_>, command: &CStr, name: &Text, out: &mut Vec<u8>) -> Called {
    // SAFETY: "s" takes one string, which lives until after the call.
    let reply =
        unsafe { api!(RedisModule_Call)(ctx.raw(), command.as_ptr(), c"s".as_ptr(), name.raw()) };
    if reply.is_null() {
        // Without the JSON module, a key cannot be JSON.
        let error = std::io::Error::last_os_error().raw_os_error();
        return if error == Some(libc::ENOENT) { Called::WrongType } else { Called::Refused };
    }
    // SAFETY: the reply is valid until it is freed, and so are the bytes in it.
    unsafe {
        let called = match api!(RedisModule_CallReplyType)(reply) as isize {
            api::REDISMODULE_REPLY_STRING => {
                let mut len = 0;
                let start = api!(RedisModule_CallReplyStringPtr)(reply, &raw mut len);
                out.extend_from_slice(raw_bytes(start, len));
                Called::Text
            }
            api::REDISMODULE_REPLY_NULL => Called::Nothing,
            api::REDISMODULE_REPLY_ERROR => {
                let mut len = 0;
                let start = api!(RedisModule_CallReplyStringPtr)(reply, &raw mut len);
                wrong_type_or_refused(raw_bytes(start, len))
            }
            _ => Called::Refused,
        };
        api!(RedisModule_FreeCallReply)(reply);
        called
    }
}

/// Tells apart the errors of JSON.GET: RedisJSON's own word for a key that is not JSON, and any
/// other.
fn wrong_type_or_refused(error: &[u8]) -> Called {
    let error = String::from_utf8_lossy(error);
    if error.starts_with("WRONGTYPE") || error.contains("wrong Redis type") {
        Called::WrongType
    } else {
        Called::Refused
    }
}
