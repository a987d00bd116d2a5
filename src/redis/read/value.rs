//! Reads a key's value with the fewest side effects.

use std::ffi::{CStr, c_int};
use std::mem::ManuallyDrop;

use super::cursor::{Progress, ReadBudget, ValueCursor};
use super::request::ReadRequest;
use crate::core::mapping::error::{MAX_DOCUMENT_BYTES, MappingError};
use crate::core::mapping::value::{Content, NO_EXPIRY};
use crate::core::registration::KeyType;
use crate::redis::api::access_age::AccessAge;
use crate::redis::api::clock;
use crate::redis::api::context::{Ctx, Text, raw_bytes};
use crate::redis::api::key::{KeyOpener, Opened};
use crate::redis::api::raw;
use crate::redis::api::raw::api;
use crate::redis::api::read_mode;
use crate::redis::api::read_mode::known_modes;
use crate::redis::api::run_command::{Called, call};

/// A longer string certainly has the encoding `raw`, so its bytes can be read in place; StringDMA
/// of a shorter one would change its encoding.
const IN_PLACE_BYTES: usize = 256;

/// Maximum length of JSON text, bytes; it may use six bytes for one of the document.
const MAX_BYTES_OF_JSON: usize = 8 * MAX_DOCUMENT_BYTES;
/// A value with more elements, or a string with more bytes, is large: reading it may take longer
/// than a slice.
const LARGE_ELEMENTS: usize = 500;
const LARGE_BYTES: usize = 256 * 1024;

/// The outcome of reading a key.
pub enum ReadOutcome {
    /// A value, appended to the buffer.
    Value(Content),
    /// The beginning of a value, appended to the buffer; the time budget was used up.
    Unfinished(ValueCursor),
    /// A large value, of which nothing was read.
    Deferred,
    /// A short string with this access age, which was put off as requested.
    Short(AccessAge),
    /// More than a document can hold.
    TooLarge,
    /// No such key.
    Missing,
    /// The key has another type than the registration's; it is handled like a deleted key.
    WrongType,
    /// The registration accepts the type, but it cannot be written, with the reason.
    Unwritable(&'static str),
    /// The server refuses to read the key at present.
    Unreadable,
}

/// The result of reading a key.
pub struct ReadResult {
    /// The outcome.
    pub outcome: ReadOutcome,
    /// When the key expires, milliseconds since 1970, or [`NO_EXPIRY`].
    pub expire_ms: i64,
    /// How long the read took, microseconds; 0 for small values, which are not timed.
    pub took_us: u64,
}

/// True if the selected database has that key. May be called in the middle of a command: it does
/// not delete a logically expired key. Nothing on servers that cannot look a key up without
/// deleting it then.
pub fn exists(ctx: Ctx<'_>, name: &Text) -> Option<bool> {
    if known_modes() & raw::REDISMODULE_OPEN_KEY_NOEXPIRE == 0 {
        return None;
    }
    let mode = read_mode::mode(false) | raw::REDISMODULE_OPEN_KEY_NOEXPIRE as c_int;
    Some(Opened::with_mode(ctx, name, mode).is_some())
}

/// When the key `name` of the selected database expires, milliseconds since 1970, or
/// [`NO_EXPIRY`]; nothing when there is no such key.
pub fn expiry_ms(opener: &KeyOpener, ctx: Ctx<'_>, name: &Text) -> Option<i64> {
    Some(opener.open(ctx, name)?.expire_ms())
}

/// Reads the value of the key `name` in the selected database and appends it to `out`.
pub fn value(
    opener: &KeyOpener,
    ctx: Ctx<'_>,
    name: &Text,
    request: ReadRequest,
    out: &mut Vec<u8>,
) -> ReadResult {
    let mut result = ReadResult { outcome: ReadOutcome::Missing, expire_ms: NO_EXPIRY, took_us: 0 };
    let Some(opened) = opener.open(ctx, name) else { return result };
    if request.expiry {
        result.expire_ms = opened.expire_ms();
    }
    let large = opened.is_large();
    if large && request.end_us.is_none() {
        result.outcome = ReadOutcome::Deferred;
        return result;
    }
    // The size of a JSON value is not known.
    let timed = large || opened.key_type() == raw::REDISMODULE_KEYTYPE_MODULE;
    let began_us = timed.then(clock::now_us);
    result.outcome = value_of(opened, opener, ctx, name, request, out);
    if let Some(began_us) = began_us {
        result.took_us = clock::now_us() - began_us;
    }
    result
}

fn value_of(
    opened: Opened,
    opener: &KeyOpener,
    ctx: Ctx<'_>,
    name: &Text,
    request: ReadRequest,
    out: &mut Vec<u8>,
) -> ReadOutcome {
    match opened.key_type() {
        raw::REDISMODULE_KEYTYPE_STRING if request.accepts(KeyType::String) => {
            opened.string(opener, ctx, name, request, out)
        }
        raw::REDISMODULE_KEYTYPE_MODULE if request.accepts(KeyType::Json) => {
            let start = out.len();
            match opened.call(opener, ctx, c"JSON.GET", name, out) {
                Called::Text if out.len() - start > MAX_BYTES_OF_JSON => {
                    out.truncate(start);
                    ReadOutcome::TooLarge
                }
                Called::Text => ReadOutcome::Value(Content::Json),
                Called::Nothing => ReadOutcome::Missing,
                Called::Refused => ReadOutcome::Unreadable,
                Called::WrongType if request.key_type == KeyType::Any => ReadOutcome::Unwritable(
                    "only JSON values of modules can be written: register a longer prefix for \
                     these keys or give this one a TYPE",
                ),
                Called::WrongType => ReadOutcome::WrongType,
            }
        }
        other => match collection(other) {
            Some((key_type, content)) if request.accepts(key_type) => {
                opened.read(content, request, out)
            }
            None if request.key_type == KeyType::Any => ReadOutcome::Unwritable(
                "values of this type cannot be written: register a longer prefix for these keys \
                 or give this one a TYPE",
            ),
            _ => ReadOutcome::WrongType,
        },
    }
}

/// The server's collection types.
fn collection(key_type: isize) -> Option<(KeyType, Content)> {
    Some(match key_type {
        raw::REDISMODULE_KEYTYPE_HASH => (KeyType::Hash, Content::Hash),
        raw::REDISMODULE_KEYTYPE_LIST => (KeyType::List, Content::List),
        raw::REDISMODULE_KEYTYPE_SET => (KeyType::Set, Content::Set),
        raw::REDISMODULE_KEYTYPE_ZSET => (KeyType::Zset, Content::Zset),
        raw::REDISMODULE_KEYTYPE_STREAM => (KeyType::Stream, Content::Stream),
        _ => return None,
    })
}

/// The types whose large values are read in steps.
fn steppable(key_type: isize) -> Option<(KeyType, Content)> {
    match key_type {
        raw::REDISMODULE_KEYTYPE_STRING => Some((KeyType::String, Content::String)),
        other => collection(other),
    }
}

/// The value of a key that the server has opened, and when it expires, milliseconds since 1970 or
/// [`NO_EXPIRY`]. It also reads a logically expired key, which cannot be opened by its name. All
/// types except JSON.
///
/// # Safety
/// `key` is open, and stays so during the call.
pub unsafe fn of_open_key(
    key: *mut raw::RedisModuleKey,
    request: ReadRequest,
    out: &mut Vec<u8>,
) -> Option<(Content, i64)> {
    // SAFETY: the caller vouches for the key, which the server closes: see ManuallyDrop.
    let opened = ManuallyDrop::new(unsafe { Opened::of(key) });
    let outcome = match opened.key_type() {
        raw::REDISMODULE_KEYTYPE_STRING if request.accepts(KeyType::String) => {
            opened.in_place(request, out)
        }
        other => {
            let (_, content) = collection(other).filter(|(kind, _)| request.accepts(*kind))?;
            opened.read(content, request, out)
        }
    };
    let content = match outcome {
        ReadOutcome::Value(content) => content,
        ReadOutcome::TooLarge => too_large(out),
        _ => return None,
    };
    Some((content, opened.expire_ms()))
}

/// Appends the reason why a value that is [`ReadOutcome::TooLarge`] cannot be written.
pub fn too_large(out: &mut Vec<u8>) -> Content {
    out.extend_from_slice(MappingError::TooLarge.to_string().as_bytes());
    Content::Unwritable
}

/// Continues to read a large value, whose part read so far is in `out` from `start` on. Also
/// returns when the key expires. Nothing when the key is missing or has another type by now.
pub fn continue_reading(
    opener: &KeyOpener,
    ctx: Ctx<'_>,
    name: &Text,
    cursor: &mut ValueCursor,
    request: ReadRequest,
    (out, start): (&mut Vec<u8>, usize),
) -> Option<(Progress, i64)> {
    let opened = opener.open(ctx, name)?;
    steppable(opened.key_type()).filter(|(_, content)| *content == cursor.content())?;
    let expire_ms = if request.expiry { opened.expire_ms() } else { NO_EXPIRY };
    let step = opened.step(cursor, request, out, start);
    let expired = step == Progress::Done && all_fields_expired(cursor.content(), &out[start..]);
    (!expired).then_some((step, expire_ms))
}

/// True for a hash whose fields have all expired: Redis is about to delete it. Code that retains a
/// value does not check this and retains the empty hash, because another key may have its name
/// right after.
pub fn all_fields_expired(content: Content, read: &[u8]) -> bool {
    content == Content::Hash && read.is_empty()
}

impl Opened {
    /// True if reading the value may take longer than a slice.
    fn is_large(&self) -> bool {
        match self.key_type() {
            raw::REDISMODULE_KEYTYPE_STRING => self.len() > LARGE_BYTES,
            raw::REDISMODULE_KEYTYPE_MODULE => false,
            _ => self.len() > LARGE_ELEMENTS,
        }
    }

    /// Appends all elements or bytes, or as many as the time budget allows.
    fn read(&self, content: Content, request: ReadRequest, out: &mut Vec<u8>) -> ReadOutcome {
        let start = out.len();
        let mut cursor = ValueCursor::new(content, self.len());
        match self.step(&mut cursor, request, out, start) {
            Progress::Done => ReadOutcome::Value(content),
            Progress::More => ReadOutcome::Unfinished(cursor),
            Progress::TooLarge => ReadOutcome::TooLarge,
        }
    }

    fn step(
        &self,
        cursor: &mut ValueCursor,
        request: ReadRequest,
        out: &mut Vec<u8>,
        start: usize,
    ) -> Progress {
        let end_us = request.end_us.unwrap_or(u64::MAX);
        let mut budget = ReadBudget::new(out, start, request.max_bytes, end_us);
        // SAFETY: the key is open, and has the cursor's type, as the callers have checked.
        let step = unsafe { cursor.step(self.raw(), &mut budget) };
        if step == Progress::TooLarge {
            out.truncate(start);
        }
        step
    }

    /// Appends the string's bytes.
    fn string(
        self,
        opener: &KeyOpener,
        ctx: Ctx<'_>,
        name: &Text,
        request: ReadRequest,
        out: &mut Vec<u8>,
    ) -> ReadOutcome {
        if self.len() > LARGE_BYTES {
            return self.read(Content::String, request, out);
        }
        if self.len() > IN_PLACE_BYTES {
            return self.in_place(request, out);
        }
        if request.defers_short {
            return ReadOutcome::Short(self.age());
        }
        match self.call(opener, ctx, c"GET", name, out) {
            Called::Text => ReadOutcome::Value(Content::String),
            Called::Nothing => ReadOutcome::Missing,
            // GET may be renamed, or refused by a cluster that is down. Changing the string's
            // encoding is better than not writing its value.
            Called::Refused | Called::WrongType => match opener.open(ctx, name) {
                Some(again) => again.in_place(request, out),
                None => ReadOutcome::Missing,
            },
        }
    }

    fn in_place(&self, request: ReadRequest, out: &mut Vec<u8>) -> ReadOutcome {
        if self.len() > request.max_bytes {
            return ReadOutcome::TooLarge;
        }
        let mut len = 0;
        // SAFETY: the key is an open string; its bytes stay until it is closed.
        let value = unsafe {
            let start = api!(RedisModule_StringDMA)(
                self.raw(),
                &raw mut len,
                raw::REDISMODULE_READ as c_int,
            );
            raw_bytes(start, len)
        };
        out.extend_from_slice(value);
        ReadOutcome::Value(Content::String)
    }

    /// Reads the key with a command, and restores its access age afterwards. The key is closed
    /// before, because it may expire between opening it and the command.
    fn call(
        self,
        opener: &KeyOpener,
        ctx: Ctx<'_>,
        command: &CStr,
        name: &Text,
        out: &mut Vec<u8>,
    ) -> Called {
        let age = self.age();
        drop(self);
        let called = call(ctx, command, name, out);
        match called {
            Called::Text | Called::WrongType => opener.count(true),
            Called::Nothing => opener.count(false),
            Called::Refused => {}
        }
        if matches!(called, Called::Text) {
            restore_age(opener, ctx, name, age);
        }
        called
    }
}

/// Restores the access age that the key had before a command read it.
pub fn restore_age(opener: &KeyOpener, ctx: Ctx<'_>, name: &Text, age: AccessAge) {
    if age.is_changed_by_a_command()
        && let Some(again) = opener.open(ctx, name)
    {
        // SAFETY: the key is open.
        unsafe { age.restore(again.raw()) };
    }
}
