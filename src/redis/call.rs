//! Commands that read one key, for what modules cannot read natively.

use std::ffi::CStr;

use super::api::{self, api};
use super::ctx::{Ctx, Text, raw_bytes};

/// What a command for reading replied.
pub enum Called {
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
pub fn call(ctx: Ctx<'_>, command: &CStr, name: &Text, out: &mut Vec<u8>) -> Called {
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
