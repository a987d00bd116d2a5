//! Runs commands that read keys, for values that the module API cannot read.

use std::ffi::{CStr, CString};

use super::context::{Ctx, Text, raw_bytes};
use super::raw;
use super::raw::api;

/// The reply of a command that reads a key.
pub enum Called {
    /// A string, which was appended to the buffer.
    Text,
    /// Nothing: there is no such key.
    Nothing,
    /// The key is not of the type that the command reads.
    WrongType,
    /// The server refuses to run the command at present, for example in a cluster without the hash
    /// slot.
    Refused,
}

/// The reply of a command that changes a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ran {
    /// Anything but an error.
    Done,
    /// An error.
    Refused,
    /// In a cluster: this node does not have the slot of the key, or it is about to leave or to come.
    Elsewhere,
    /// The cluster is down.
    NotNow,
    /// The server does not have the command.
    Absent,
}

/// Runs `command name words…`, and replicates nothing.
pub fn run(ctx: Ctx<'_>, command: &CStr, name: &Text, words: &[Text]) -> Ran {
    run_as(ctx, c"v", command, name, words)
}

/// The same as a client would do it.
pub fn run_replicated(ctx: Ctx<'_>, command: &CStr, name: &Text, words: &[Text]) -> Ran {
    run_as(ctx, c"!v", command, name, words)
}

fn run_as(ctx: Ctx<'_>, format: &CStr, command: &CStr, name: &Text, words: &[Text]) -> Ran {
    let mut raw: Vec<*mut raw::RedisModuleString> =
        std::iter::once(name).chain(words).map(Text::raw).collect();
    // SAFETY: "v" takes an array of strings and its length, which live until after the call.
    let reply = unsafe {
        api!(RedisModule_Call)(
            ctx.raw(),
            command.as_ptr(),
            format.as_ptr(),
            raw.as_mut_ptr(),
            raw.len(),
        )
    };
    // SAFETY: the reply is used nowhere else.
    unsafe { ran(reply) }
}

/// Runs `command name value`, and replicates nothing. The server has its own copy of the value, so it stores a number
/// as a number.
pub fn run_with_bytes(ctx: Ctx<'_>, command: &CStr, name: &Text, value: &[u8]) -> Ran {
    // SAFETY: "s" takes a string, "b" bytes and their number, which live until after the call.
    let reply = unsafe {
        api!(RedisModule_Call)(
            ctx.raw(),
            command.as_ptr(),
            c"sb".as_ptr(),
            name.raw(),
            value.as_ptr().cast::<std::ffi::c_char>(),
            value.len(),
        )
    };
    // SAFETY: the reply is used nowhere else.
    unsafe { ran(reply) }
}

/// # Safety
/// `reply` is what RedisModule_Call has just returned, and is used nowhere else.
unsafe fn ran(reply: *mut raw::RedisModuleCallReply) -> Ran {
    if reply.is_null() {
        let error = std::io::Error::last_os_error().raw_os_error();
        return match error {
            Some(libc::ENOENT) => Ran::Absent,
            Some(libc::EPERM) => Ran::Elsewhere,
            Some(libc::ENETDOWN) => Ran::NotNow,
            _ => Ran::Refused,
        };
    }
    // SAFETY: the caller vouches for the reply, which is freed once.
    unsafe {
        let is_error =
            api!(RedisModule_CallReplyType)(reply) as isize == raw::REDISMODULE_REPLY_ERROR;
        api!(RedisModule_FreeCallReply)(reply);
        if is_error { Ran::Refused } else { Ran::Done }
    }
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
            raw::REDISMODULE_REPLY_STRING => {
                let mut len = 0;
                let start = api!(RedisModule_CallReplyStringPtr)(reply, &raw mut len);
                out.extend_from_slice(raw_bytes(start, len));
                Called::Text
            }
            raw::REDISMODULE_REPLY_NULL => Called::Nothing,
            raw::REDISMODULE_REPLY_ERROR => {
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

/// The reply to CLUSTER NODES: a line a node.
pub fn cluster_nodes(ctx: Ctx<'_>) -> Option<String> {
    // SAFETY: "c" takes a string that ends with NUL; the reply and the bytes in it are valid until it is freed.
    unsafe {
        let reply = api!(RedisModule_Call)(
            ctx.raw(),
            c"CLUSTER".as_ptr(),
            c"c".as_ptr(),
            c"NODES".as_ptr(),
        );
        if reply.is_null() {
            return None;
        }
        let mut len = 0;
        let start = api!(RedisModule_CallReplyStringPtr)(reply, &raw mut len);
        let text = String::from_utf8_lossy(raw_bytes(start, len)).into_owned();
        api!(RedisModule_FreeCallReply)(reply);
        Some(text)
    }
}

/// Runs a command of the module itself, and returns its reply in RESP3.
pub fn own_command(ctx: Ctx<'_>, words: &[&[u8]]) -> Option<Vec<u8>> {
    let (name, arguments) = words.split_first()?;
    let name = CString::new(*name).ok()?;
    let arguments: Vec<Text> = arguments.iter().map(|word| Text::new(word)).collect();
    let mut raw: Vec<*mut raw::RedisModuleString> = arguments.iter().map(Text::raw).collect();
    // Without "!" the server would not replicate what the command replicates.
    // SAFETY: "v" takes an array of strings and its length, which live until after the call; the reply and the
    // bytes in it are valid until it is freed.
    unsafe {
        let reply = api!(RedisModule_Call)(
            ctx.raw(),
            name.as_ptr(),
            c"3!v".as_ptr(),
            raw.as_mut_ptr(),
            raw.len(),
        );
        if reply.is_null() {
            return None;
        }
        let mut len = 0;
        let start = api!(RedisModule_CallReplyProto)(reply, &raw mut len);
        let bytes = raw_bytes(start, len).to_vec();
        api!(RedisModule_FreeCallReply)(reply);
        Some(bytes)
    }
}

/// Runs `command name ...` and passes each returned string to `each`, with its index. False if the
/// server does not run the command, for example because it was renamed.
pub fn call_many(
    ctx: Ctx<'_>,
    command: &CStr,
    names: &mut [*mut raw::RedisModuleString],
    mut each: impl FnMut(usize, &[u8]),
) -> bool {
    // SAFETY: "v" takes an array of strings and its length; the caller's strings live until after
    // the call. The reply and the bytes in it are valid until it is freed.
    unsafe {
        let reply = api!(RedisModule_Call)(
            ctx.raw(),
            command.as_ptr(),
            c"v".as_ptr(),
            names.as_mut_ptr(),
            names.len(),
        );
        if reply.is_null() {
            return false;
        }
        let runs = api!(RedisModule_CallReplyType)(reply) as isize == raw::REDISMODULE_REPLY_ARRAY;
        for at in (0..names.len()).take_while(|_| runs) {
            let element = api!(RedisModule_CallReplyArrayElement)(reply, at);
            let is_string = !element.is_null()
                && api!(RedisModule_CallReplyType)(element) as isize
                    == raw::REDISMODULE_REPLY_STRING;
            if is_string {
                let mut len = 0;
                let start = api!(RedisModule_CallReplyStringPtr)(element, &raw mut len);
                each(at, raw_bytes(start, len));
            }
        }
        api!(RedisModule_FreeCallReply)(reply);
        runs
    }
}

/// Classifies an error reply of JSON.GET: RedisJSON's message for a key that is not JSON, or any
/// other error.
fn wrong_type_or_refused(error: &[u8]) -> Called {
    let error = String::from_utf8_lossy(error);
    if error.starts_with("WRONGTYPE") || error.contains("wrong Redis type") {
        Called::WrongType
    } else {
        Called::Refused
    }
}
