//! Runs the command that a client has sent, as the client, and passes on the reply.

use std::ffi::{CStr, CString, c_char};

use super::context::{Ctx, bytes};
use super::raw;
use super::raw::api;
use super::reply::Reply;

/// Up to this length the server may store a value in another form if nobody else holds the string.
const SHORT: usize = 20;

/// Runs `words`, a command with its name, with the rights of the client of `ctx`, and replies with the server's own
/// reply.
pub fn run(ctx: Ctx<'_>, words: &[*mut raw::RedisModuleString]) {
    call(ctx, words, [c"!0ECMv", c"!0ECMsbv"], ctx);
}

/// The same with the rights of the user of `ctx`, and the reply in RESP2 or RESP3 to `reply`.
pub fn run_into(
    ctx: Ctx<'_>,
    words: &[*mut raw::RedisModuleString],
    is_resp3: bool,
    reply: Ctx<'_>,
) {
    let formats = if is_resp3 { [c"!3ECMv", c"!3ECMsbv"] } else { [c"!ECMv", c"!ECMsbv"] };
    call(ctx, words, formats, reply);
}

fn call(
    ctx: Ctx<'_>,
    words: &[*mut raw::RedisModuleString],
    [all, with_value]: [&CStr; 2],
    reply_to: Ctx<'_>,
) {
    let Some((name, arguments)) = words.split_first() else { return };
    // SAFETY: the words are valid strings: those of the running command, or held.
    let name = CString::new(unsafe { bytes(*name) }).unwrap_or_default();
    // SAFETY: the name ends with NUL. The formats take the arguments as they are given: an array of strings and its
    // length, or a string, bytes and their number, and the array; all live until after the call. The reply is freed.
    unsafe {
        let reply = match arguments {
            // With its own copy of a short value the server stores a number as a number.
            [key, value, rest @ ..] if bytes(*value).len() <= SHORT => {
                let value = bytes(*value);
                api!(RedisModule_Call)(
                    ctx.raw(),
                    name.as_ptr(),
                    with_value.as_ptr(),
                    *key,
                    value.as_ptr().cast::<c_char>(),
                    value.len(),
                    rest.as_ptr().cast_mut(),
                    rest.len(),
                )
            }
            arguments => api!(RedisModule_Call)(
                ctx.raw(),
                name.as_ptr(),
                all.as_ptr(),
                arguments.as_ptr().cast_mut(),
                arguments.len(),
            ),
        };
        if reply.is_null() {
            return Reply::new(reply_to).error("the server does not run the command at present");
        }
        api!(RedisModule_ReplyWithCallReply)(reply_to.raw(), reply);
        api!(RedisModule_FreeCallReply)(reply);
    }
}

/// Runs a command that does nothing, so that the server replicates what opening a key has removed.
pub fn settle(ctx: Ctx<'_>, nothing: &CStr) {
    // SAFETY: the command takes no arguments; the reply is freed.
    unsafe {
        let reply = api!(RedisModule_Call)(ctx.raw(), nothing.as_ptr(), c"!".as_ptr());
        if !reply.is_null() {
            api!(RedisModule_FreeCallReply)(reply);
        }
    }
}

/// The reply to COMMAND, in RESP2; nothing if the server does not have it under this name.
pub fn commands(ctx: Ctx<'_>) -> Option<Vec<u8>> {
    protocol(ctx, c"COMMAND", c"")
}

/// True if a client has selected another database than the first, as far as CLIENT LIST tells.
pub fn other_databases(ctx: Ctx<'_>) -> bool {
    let Some(reply) = protocol(ctx, c"CLIENT", c"LIST") else { return true };
    let text = String::from_utf8_lossy(&reply);
    text.split([' ', '\n', '\r']).any(|field| field.starts_with("db=") && field != "db=0")
}

fn protocol(ctx: Ctx<'_>, name: &CStr, argument: &CStr) -> Option<Vec<u8>> {
    // SAFETY: "c" takes a string that ends with NUL; the reply and the bytes in it are valid until it is freed.
    unsafe {
        let reply = match argument.is_empty() {
            true => api!(RedisModule_Call)(ctx.raw(), name.as_ptr(), c"".as_ptr()),
            false => {
                api!(RedisModule_Call)(ctx.raw(), name.as_ptr(), c"c".as_ptr(), argument.as_ptr())
            }
        };
        if reply.is_null() {
            return None;
        }
        let mut len = 0;
        let start = api!(RedisModule_CallReplyProto)(reply, &raw mut len);
        let bytes = super::context::raw_bytes(start, len).to_vec();
        api!(RedisModule_FreeCallReply)(reply);
        Some(bytes)
    }
}
