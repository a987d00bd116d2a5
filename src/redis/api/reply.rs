//! Replies to clients: maps in RESP3, flat arrays in RESP2, as the server itself does it.

use std::ffi::{CStr, CString, c_int, c_long};

use super::context::Ctx;
use super::raw;
use super::raw::api;
use crate::core::resp::Part;

/// Writes replies to the client of a context.
#[derive(Clone, Copy)]
pub struct Reply<'a>(Ctx<'a>);

impl<'a> Reply<'a> {
    /// Replies to the client of `ctx`.
    pub fn new(ctx: Ctx<'a>) -> Self {
        Reply(ctx)
    }

    /// `+OK`.
    pub fn ok(self) {
        // SAFETY: the context is that of a running callback with a client; the same holds in all
        // methods below.
        unsafe { api!(RedisModule_ReplyWithSimpleString)(self.0.raw(), c"OK".as_ptr()) };
    }

    /// An error; `ERR ` is put in front.
    pub fn error(self, text: &str) {
        self.error_with_code(&format!("ERR {text}"));
    }

    /// An error that begins with its own code.
    pub fn error_with_code(self, text: &str) {
        let text = text.replace(char::is_control, " ");
        let text = CString::new(text).unwrap_or_default();
        // SAFETY: as above; the text is copied.
        unsafe { api!(RedisModule_ReplyWithError)(self.0.raw(), text.as_ptr()) };
    }

    /// The error for a wrong number of arguments.
    pub fn wrong_arity(self) {
        // SAFETY: as above.
        unsafe { api!(RedisModule_WrongArity)(self.0.raw()) };
    }

    /// A number.
    pub fn integer(self, number: u64) {
        let number = i64::try_from(number).unwrap_or(i64::MAX);
        // SAFETY: as above.
        unsafe { api!(RedisModule_ReplyWithLongLong)(self.0.raw(), number) };
    }

    /// A number that may be negative.
    pub fn signed(self, number: i64) {
        // SAFETY: as above.
        unsafe { api!(RedisModule_ReplyWithLongLong)(self.0.raw(), number) };
    }

    /// A string.
    pub fn bytes(self, bytes: &[u8]) {
        // SAFETY: as above; the bytes are copied.
        unsafe {
            api!(RedisModule_ReplyWithStringBuffer)(
                self.0.raw(),
                bytes.as_ptr().cast(),
                bytes.len(),
            );
        }
    }

    /// Begins an array of `len` elements.
    pub fn array(self, len: usize) {
        // SAFETY: as above.
        unsafe { api!(RedisModule_ReplyWithArray)(self.0.raw(), len as c_long) };
    }

    /// Begins a map of `len` pairs.
    pub fn map(self, len: usize) {
        // SAFETY: as above.
        unsafe { api!(RedisModule_ReplyWithMap)(self.0.raw(), len as c_long) };
    }

    /// A part of a reply that the server has made.
    pub fn part(self, part: &Part<'_>) {
        let text = |text: &[u8]| CString::new(text).unwrap_or_default();
        let ctx = self.0.raw();
        // SAFETY: as above; the texts end with NUL, or have their lengths, and are copied.
        unsafe {
            match *part {
                Part::Simple(line) => {
                    api!(RedisModule_ReplyWithSimpleString)(ctx, text(line).as_ptr());
                }
                Part::Error(line) => self.error_with_code(&String::from_utf8_lossy(line)),
                Part::Integer(number) => self.signed(number),
                Part::Bytes(bytes) => self.bytes(bytes),
                Part::Array(len) => self.array(len),
                Part::Set(len) => {
                    api!(RedisModule_ReplyWithSet)(ctx, len as c_long);
                }
                Part::Map(len) => self.map(len),
                Part::Null => {
                    api!(RedisModule_ReplyWithNull)(ctx);
                }
                Part::NullArray => {
                    api!(RedisModule_ReplyWithNullArray)(ctx);
                }
                Part::Boolean(is_true) => {
                    api!(RedisModule_ReplyWithBool)(ctx, c_int::from(is_true));
                }
                Part::Double(line) => {
                    let number = String::from_utf8_lossy(line).parse().unwrap_or(f64::NAN);
                    api!(RedisModule_ReplyWithDouble)(ctx, number);
                }
                Part::BigNumber(line) => {
                    api!(RedisModule_ReplyWithBigNumber)(ctx, line.as_ptr().cast(), line.len());
                }
                Part::Verbatim(bytes) => {
                    let (format, bytes) = bytes.split_at_checked(4).unwrap_or((b"txt:", bytes));
                    let (start, len) = (bytes.as_ptr().cast(), bytes.len());
                    let format = format.as_ptr().cast();
                    api!(RedisModule_ReplyWithVerbatimStringType)(ctx, start, len, format);
                }
            }
        }
    }

    /// One pair of a map: a name and a number.
    pub fn number_field(self, name: &CStr, number: u64) {
        self.bytes(name.to_bytes());
        self.integer(number);
    }

    /// One pair of a map: a name and a text.
    pub fn text_field(self, name: &str, text: &[u8]) {
        self.bytes(name.as_bytes());
        self.bytes(text);
    }
}

/// Return value of every command callback, whatever it replied.
pub const REPLIED: i32 = raw::REDISMODULE_OK as i32;
