//! A key's value, read in the way that leaves the fewest traces.

use std::ffi::{CStr, c_int};
use std::mem::ManuallyDrop;

use super::cursor::{Progress, ReadBudget, ValueCursor};
use super::request::ReadRequest;
use crate::core::mapping::error::{MAX_DOCUMENT_BYTES, MappingError};
use crate::core::mapping::value::{Content, NO_EXPIRY};
use crate::core::registration::KeyType;
use crate::redis::api::access_age::Age;
use crate::redis::api::clock;
use crate::redis::api::context::{Ctx, Text, raw_bytes};
use crate::redis::api::key::{KeyOpener, Opened};
use crate::redis::api::raw;
use crate::redis::api::raw::api;
use crate::redis::api::read_mode;
use crate::redis::api::read_mode::known_modes;
use crate::redis::api::run_command::{Called, call};

/// A longer string is certainly stored raw, so its bytes can be read in place; asking for those
/// of a shorter one would change its encoding.
const IN_PLACE_BYTES: usize = 256;

/// No more JSON text is kept, which may take six bytes for one.
const MOST_BYTES_OF_JSON: usize = 8 * MAX_DOCUMENT_BYTES;
/// A value with more elements or bytes is large: reading it may take longer than a slice.
const LARGE_ELEMENTS: usize = 500;
const LARGE_BYTES: usize = 256 * 1024;

/// What was found under a key.
pub enum ReadOutcome {
    /// A value, appended to the buffer.
    Value(Content),
    /// The beginning of a value, appended to the buffer; time was up.
    Unfinished(ValueCursor),
    /// A large value, which was not begun.
    Later,
    /// A short string of this age, which was left as wanted.
    Short(Age),
    /// More than a document can hold.
    TooLarge,
    /// No such key.
    Missing,
    /// A type that the registration does not take: as good as deleted.
    WrongType,
    /// A type that is ours and cannot be written.
    Unwritable(&'static str),
    /// The server refuses to read it now.
    Unreadable,
}

/// What reading a key gave.
pub struct ReadResult {
    /// What was found.
    pub found: ReadOutcome,
    /// When the key expires, milliseconds since 1970, or [`NO_EXPIRY`].
    pub expire_ms: i64,
    /// How long it took, microseconds; 0 for what is small.
    pub took_us: u64,
}

/// Whether the selected database has that key, in the midst of a command: a logically expired key
/// stays. Nothing where the server cannot tell without letting it go.
pub fn is_there(ctx: Ctx<'_>, name: &Text) -> Option<bool> {
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
    wanted: ReadRequest,
    out: &mut Vec<u8>,
) -> ReadResult {
    let mut reading = ReadResult { found: ReadOutcome::Missing, expire_ms: NO_EXPIRY, took_us: 0 };
    let Some(opened) = opener.open(ctx, name) else { return reading };
    if wanted.expiry {
        reading.expire_ms = opened.expire_ms();
    }
    let large = opened.is_large();
    if large && wanted.end_us.is_none() {
        reading.found = ReadOutcome::Later;
        return reading;
    }
    // The size of a JSON value is not known.
    let timed = large || opened.key_type() == raw::REDISMODULE_KEYTYPE_MODULE;
    let began_us = timed.then(clock::now_us);
    reading.found = value_of(opened, opener, ctx, name, wanted, out);
    if let Some(began_us) = began_us {
        reading.took_us = clock::now_us() - began_us;
    }
    reading
}

fn value_of(
    opened: Opened,
    opener: &KeyOpener,
    ctx: Ctx<'_>,
    name: &Text,
    wanted: ReadRequest,
    out: &mut Vec<u8>,
) -> ReadOutcome {
    match opened.key_type() {
        raw::REDISMODULE_KEYTYPE_STRING if wanted.takes(KeyType::String) => {
            opened.string(opener, ctx, name, wanted, out)
        }
        raw::REDISMODULE_KEYTYPE_MODULE if wanted.takes(KeyType::Json) => {
            let start = out.len();
            match opened.call(opener, ctx, c"JSON.GET", name, out) {
                Called::Text if out.len() - start > MOST_BYTES_OF_JSON => {
                    out.truncate(start);
                    ReadOutcome::TooLarge
                }
                Called::Text => ReadOutcome::Value(Content::Json),
                Called::Nothing => ReadOutcome::Missing,
                Called::Refused => ReadOutcome::Unreadable,
                Called::WrongType if wanted.key_type == KeyType::Any => ReadOutcome::Unwritable(
                    "only JSON values of modules can be written: register a longer prefix for \
                     these keys or give this one a TYPE",
                ),
                Called::WrongType => ReadOutcome::WrongType,
            }
        }
        other => match collection(other) {
            Some((key_type, content)) if wanted.takes(key_type) => {
                opened.walk(content, wanted, out)
            }
            None if wanted.key_type == KeyType::Any => ReadOutcome::Unwritable(
                "values of this type cannot be written: register a longer prefix for these keys \
                 or give this one a TYPE",
            ),
            _ => ReadOutcome::WrongType,
        },
    }
}

/// The types of the server that are collections.
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

/// The types that are read in steps where they are large.
fn steps(key_type: isize) -> Option<(KeyType, Content)> {
    match key_type {
        raw::REDISMODULE_KEYTYPE_STRING => Some((KeyType::String, Content::String)),
        other => collection(other),
    }
}

/// The value behind a key that the server opened for us, and when it expires: also of a
/// logically expired key, which cannot be opened by its name. All types but JSON.
///
/// # Safety
/// `key` is open, and stays so during the call.
pub unsafe fn of_open_key(
    key: *mut raw::RedisModuleKey,
    wanted: ReadRequest,
    out: &mut Vec<u8>,
) -> Option<(Content, i64)> {
    // SAFETY: the caller vouches for the key, which the server closes: see ManuallyDrop.
    let opened = ManuallyDrop::new(unsafe { Opened::of(key) });
    let found = match opened.key_type() {
        raw::REDISMODULE_KEYTYPE_STRING if wanted.takes(KeyType::String) => {
            opened.in_place(wanted, out)
        }
        other => {
            let (_, content) = collection(other).filter(|(kind, _)| wanted.takes(*kind))?;
            opened.walk(content, wanted, out)
        }
    };
    let content = match found {
        ReadOutcome::Value(content) => content,
        ReadOutcome::TooLarge => too_large(out),
        _ => return None,
    };
    Some((content, opened.expire_ms()))
}

/// Appends the reason why a value cannot be written that is [`ReadOutcome::TooLarge`].
pub fn too_large(out: &mut Vec<u8>) -> Content {
    out.extend_from_slice(MappingError::TooLarge.to_string().as_bytes());
    Content::Unwritable
}

/// Reads on in a large value, of which the bytes of `out` from `start` on are read; with it comes
/// when the key expires. Nothing when the value is not there any more.
pub fn read_on(
    opener: &KeyOpener,
    ctx: Ctx<'_>,
    name: &Text,
    walk: &mut ValueCursor,
    wanted: ReadRequest,
    (out, start): (&mut Vec<u8>, usize),
) -> Option<(Progress, i64)> {
    let opened = opener.open(ctx, name)?;
    steps(opened.key_type()).filter(|(_, content)| *content == walk.content())?;
    let expire_ms = if wanted.expiry { opened.expire_ms() } else { NO_EXPIRY };
    let step = opened.step(walk, wanted, out, start);
    let expired = step == Progress::Done && all_fields_expired(walk.content(), &out[start..]);
    (!expired).then_some((step, expire_ms))
}

/// True for a hash whose fields have all expired: Redis is about to delete it. A caller that captures it
/// takes it as it is, because its name may be another key's at once.
pub fn all_fields_expired(content: Content, read: &[u8]) -> bool {
    content == Content::Hash && read.is_empty()
}

impl Opened {
    /// True if reading may take long.
    fn is_large(&self) -> bool {
        match self.key_type() {
            raw::REDISMODULE_KEYTYPE_STRING => self.len() > LARGE_BYTES,
            raw::REDISMODULE_KEYTYPE_MODULE => false,
            _ => self.len() > LARGE_ELEMENTS,
        }
    }

    /// Appends all elements or bytes, or as many as there is time for.
    fn walk(&self, content: Content, wanted: ReadRequest, out: &mut Vec<u8>) -> ReadOutcome {
        let start = out.len();
        let mut walk = ValueCursor::new(content, self.len());
        match self.step(&mut walk, wanted, out, start) {
            Progress::Done => ReadOutcome::Value(content),
            Progress::More => ReadOutcome::Unfinished(walk),
            Progress::TooLarge => ReadOutcome::TooLarge,
        }
    }

    fn step(
        &self,
        walk: &mut ValueCursor,
        wanted: ReadRequest,
        out: &mut Vec<u8>,
        start: usize,
    ) -> Progress {
        let end_us = wanted.end_us.unwrap_or(u64::MAX);
        let mut room = ReadBudget::new(out, start, wanted.most_bytes, end_us);
        // SAFETY: the key is open, and of the walk's type, as the callers have seen.
        let step = unsafe { walk.step(self.raw(), &mut room) };
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
        wanted: ReadRequest,
        out: &mut Vec<u8>,
    ) -> ReadOutcome {
        if self.len() > LARGE_BYTES {
            return self.walk(Content::String, wanted, out);
        }
        if self.len() > IN_PLACE_BYTES {
            return self.in_place(wanted, out);
        }
        if wanted.leaves_short {
            return ReadOutcome::Short(self.age());
        }
        match self.call(opener, ctx, c"GET", name, out) {
            Called::Text => ReadOutcome::Value(Content::String),
            Called::Nothing => ReadOutcome::Missing,
            // GET may be renamed, or refused by a cluster that is down. Better another encoding
            // than a value that is not written.
            Called::Refused | Called::WrongType => match opener.open(ctx, name) {
                Some(again) => again.in_place(wanted, out),
                None => ReadOutcome::Missing,
            },
        }
    }

    fn in_place(&self, wanted: ReadRequest, out: &mut Vec<u8>) -> ReadOutcome {
        if self.len() > wanted.most_bytes {
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

    /// Reads by a command, and gives the key back the age it had before. The key is closed
    /// meanwhile, because its time may run out between opening it and the command.
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
            keep_age(opener, ctx, name, age);
        }
        called
    }
}

/// Gives the key back the age it had before a command read it.
pub fn keep_age(opener: &KeyOpener, ctx: Ctx<'_>, name: &Text, age: Age) {
    if age.is_changed_by_a_command()
        && let Some(again) = opener.open(ctx, name)
    {
        // SAFETY: the key is open.
        unsafe { age.give_to(again.raw()) };
    }
}
