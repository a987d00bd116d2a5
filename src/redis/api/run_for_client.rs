//! Runs the command that a client has sent, as the client, and passes on the reply.

use std::ffi::{CStr, CString, c_char};

use super::context::{Ctx, bytes, raw_bytes};
use super::raw;
use super::raw::api;
use super::reply::Reply;

/// Up to this length the server may store a value in another form if nothing else holds the string.
const SHORT: usize = 20;

/// The reply of a command that has run, to be used before the context of the call ends.
#[derive(Debug)]
pub struct CommandReply(*mut raw::RedisModuleCallReply);

impl CommandReply {
    /// The bytes that [`CommandReply::send`] sends; none if the server did not run the command.
    pub fn protocol(&self) -> &[u8] {
        if self.0.is_null() {
            return &[];
        }
        let mut len = 0;
        // SAFETY: the reply is valid until it is freed, when this value is dropped; the server writes the length of what
        // it returns, which is a part of the reply.
        unsafe {
            let start = api!(RedisModule_CallReplyProto)(self.0, &raw mut len);
            raw_bytes(start, len)
        }
    }

    /// Writes it to the client of `to`; an error if the server did not run the command.
    pub fn send(&self, to: Ctx<'_>) {
        if self.0.is_null() {
            return Reply::new(to).error("the server does not run the command at present");
        }
        // SAFETY: the reply is valid until it is freed, when this value is dropped.
        unsafe { api!(RedisModule_ReplyWithCallReply)(to.raw(), self.0) };
    }
}

impl Drop for CommandReply {
    fn drop(&mut self) {
        if !self.0.is_null() {
            // SAFETY: it is freed once.
            unsafe { api!(RedisModule_FreeCallReply)(self.0) };
        }
    }
}

/// Runs `words`, a command with its name, with the rights of the client of `ctx`, if it has a user. The reply is in the
/// protocol of the client.
pub fn run(ctx: Ctx<'_>, words: &[*mut raw::RedisModuleString], has_user: bool) -> CommandReply {
    let formats = if has_user { [c"!0ECMv", c"!0ECMsbv"] } else { [c"!0EMv", c"!0EMsbv"] };
    call(ctx, words, formats)
}

/// The same with the rights of the user of `ctx`, and the reply in RESP2 or RESP3.
pub fn run_as_user(
    ctx: Ctx<'_>,
    words: &[*mut raw::RedisModuleString],
    is_resp3: bool,
) -> CommandReply {
    let formats = if is_resp3 { [c"!3ECMv", c"!3ECMsbv"] } else { [c"!ECMv", c"!ECMsbv"] };
    call(ctx, words, formats)
}

fn call(
    ctx: Ctx<'_>,
    words: &[*mut raw::RedisModuleString],
    [all, with_value]: [&CStr; 2],
) -> CommandReply {
    let Some((name, arguments)) = words.split_first() else {
        return CommandReply(std::ptr::null_mut());
    };
    // SAFETY: the words are valid strings: those of the running command, or held.
    let name = CString::new(unsafe { bytes(*name) }).unwrap_or_default();
    // SAFETY: the name ends with NUL. The formats take the arguments as they are given: an array of strings and its
    // length, or a string, bytes and their number, and the array; all live until after the call.
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
        CommandReply(reply)
    }
}

/// Has the server unblock a client as at its timeout. False if it is not blocked.
pub fn unblock(ctx: Ctx<'_>, client: u64) -> bool {
    let id = client.cast_signed();
    // SAFETY: "c" takes a string that ends with NUL, "l" a number; the reply is freed.
    unsafe {
        let reply = api!(RedisModule_Call)(
            ctx.raw(),
            c"CLIENT".as_ptr(),
            c"cl".as_ptr(),
            c"UNBLOCK".as_ptr(),
            id,
        );
        if reply.is_null() {
            return false;
        }
        let is_unblocked = api!(RedisModule_CallReplyInteger)(reply) == 1;
        api!(RedisModule_FreeCallReply)(reply);
        is_unblocked
    }
}

/// Has the server close the connection of a client.
pub fn kill(ctx: Ctx<'_>, client: u64) {
    let id = client.cast_signed();
    // SAFETY: "c" takes strings that end with NUL, "l" a number; the reply is freed.
    unsafe {
        let (kill, by) = (c"KILL".as_ptr(), c"ID".as_ptr());
        let reply =
            api!(RedisModule_Call)(ctx.raw(), c"CLIENT".as_ptr(), c"ccl".as_ptr(), kill, by, id);
        if !reply.is_null() {
            api!(RedisModule_FreeCallReply)(reply);
        }
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

/// Waits until the I/O threads of the server have sent what they had to: the server itself does so for CLIENT LIST.
pub fn await_threads(ctx: Ctx<'_>) {
    protocol(ctx, c"CLIENT", c"LIST");
}

/// What CLIENT LIST tells of all clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Clients {
    /// True if one has selected another database than the first.
    pub other_dbs: bool,
    /// True if one has subscribed to a channel, or keeps keys itself.
    pub special: bool,
}

impl Clients {
    /// Asks the server; if it does not tell, everything may be true.
    pub fn known(ctx: Ctx<'_>) -> Self {
        match protocol(ctx, c"CLIENT", c"LIST") {
            Some(reply) => Clients::of_list(&String::from_utf8_lossy(&reply)),
            None => Clients { other_dbs: true, special: true },
        }
    }

    fn of_list(list: &str) -> Self {
        let fields = || list.split([' ', '\n', '\r']);
        let flags = fields().filter_map(|field| field.strip_prefix("flags="));
        Clients {
            other_dbs: fields().any(|field| field.starts_with("db=") && field != "db=0"),
            special: { flags }.any(|flags| flags.contains(['P', 't'])),
        }
    }
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
        let bytes = raw_bytes(start, len).to_vec();
        api!(RedisModule_FreeCallReply)(reply);
        Some(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_tells_of_databases_subscriptions_and_tracking() {
        for (list, other_dbs, special) in [
            ("id=3 name=db=3 db=0 flags=N\r\nid=4 db=0 flags=x", false, false),
            ("id=3 db=0 flags=N\nid=4 db=12 flags=N\n", true, false),
            ("id=3 db=0 flags=P\n", false, true),
            ("id=3 db=0 flags=tN db=0\n", false, true),
        ] {
            assert_eq!(Clients::of_list(list), Clients { other_dbs, special }, "{list}");
        }
    }
}
