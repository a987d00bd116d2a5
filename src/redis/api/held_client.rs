//! Clients that are held until the module has run their commands for them.
//!
//! A command is run in a callback of the event loop, so that nothing happens between what made it ready and the command
//! itself; its reply waits at the client's handle. A reply callback would run later: from Redis 7.2 on, and on Valkey,
//! after other commands.

use super::blocked::{Callback, OnDisconnect};
use super::client;
use super::context::{Ctx, Text, bytes};
use super::raw;
use super::raw::api;
use super::reply::Reply;
use super::run_for_client::{self, CommandReply};
use crate::core::resp;

/// Of a longer reply no copy is kept, bytes.
const LONGEST_KEPT: usize = 65_536;

/// The functions that only some releases of Redis 7.0 have.
pub fn is_possible() -> bool {
    // SAFETY: the table was filled when the module was loaded; reading it is a copy.
    unsafe {
        { raw::RedisModule_SetContextUser }.is_some()
            && { raw::RedisModule_GetModuleUserFromUserName }.is_some()
            && { raw::RedisModule_ACLCheckCommandPermissions }.is_some()
            && { raw::RedisModule_GetClientUserNameById }.is_some()
            && { raw::RedisModule_GetCommandKeysWithFlags }.is_some()
    }
}

/// A command that is run later, as the client that has sent it.
#[derive(Debug)]
pub struct LaterCommand {
    words: Vec<Text>,
    user: Vec<u8>,
    db: i32,
    is_resp3: bool,
}

impl LaterCommand {
    /// The command `words` of the client of `ctx`, whose user is `user`.
    ///
    /// # Safety
    /// The words are those of the running command.
    pub unsafe fn new(ctx: Ctx<'_>, words: &[*mut raw::RedisModuleString], user: Vec<u8>) -> Self {
        LaterCommand {
            // SAFETY: the caller vouches for the words.
            words: words.iter().map(|word| unsafe { Text::hold(*word) }).collect(),
            user,
            db: ctx.raw_db(),
            is_resp3: ctx.flags() & raw::REDISMODULE_CTX_FLAGS_RESP3 != 0,
        }
    }

    /// Its words.
    pub fn words(&self) -> Vec<&[u8]> {
        // SAFETY: the strings are held, and nothing changes them.
        self.words.iter().map(|word| unsafe { bytes(word.raw()) }).collect()
    }

    /// The same as the server has them.
    pub fn raw_words(&self) -> Vec<*mut raw::RedisModuleString> {
        self.words.iter().map(Text::raw).collect()
    }

    /// Selects its database, as the server numbers it.
    pub fn select(&self, ctx: Ctx<'_>) {
        ctx.select_raw(self.db);
    }

    /// Runs it in `ctx`, that of a callback of the event loop, and writes its reply to `reply`. `after` gets the reply, if
    /// the user may run the command.
    fn run<T>(
        &self,
        ctx: Ctx<'_>,
        reply: Ctx<'_>,
        after: impl FnOnce(Option<&CommandReply>) -> T,
    ) -> T {
        ctx.select_raw(self.db);
        let words = self.raw_words();
        let name = Text::new(&self.user);
        // SAFETY: the names and words live until after the calls; the user is freed once, after the context has
        // forgotten it.
        unsafe {
            let user = api!(RedisModule_GetModuleUserFromUserName)(name.raw());
            if user.is_null() {
                Reply::new(reply).error_with_code(NO_PERMISSION);
                return after(None);
            }
            // On Redis 7.0 a call that the user may not make would end the server.
            let refused = api!(RedisModule_ACLCheckCommandPermissions)(
                user,
                words.as_ptr().cast_mut(),
                words.len() as i32,
            ) != raw::REDISMODULE_OK as i32;
            let result = if refused {
                Reply::new(reply).error_with_code(NO_PERMISSION);
                after(None)
            } else {
                api!(RedisModule_SetContextUser)(ctx.raw(), user);
                let ran = run_for_client::run_as_user(ctx, &words, self.is_resp3);
                ran.send(reply);
                let result = after(Some(&ran));
                drop(ran);
                api!(RedisModule_SetContextUser)(ctx.raw(), std::ptr::null());
                result
            };
            api!(RedisModule_FreeModuleUser)(user);
            result
        }
    }
}

/// A copy of a reply, for a client that must get it when its handle is of no use any more.
#[derive(Debug, Default)]
pub struct KeptReply {
    /// Nothing if it is too long.
    copy: Box<[u8]>,
    /// The length of the reply itself, bytes.
    len: usize,
}

impl KeptReply {
    /// A copy of `reply`; of a long one there is none.
    pub fn of(reply: &CommandReply) -> Self {
        let protocol = reply.protocol();
        let len = protocol.len();
        let copy = if len <= LONGEST_KEPT { protocol.into() } else { Box::default() };
        KeptReply { copy, len }
    }

    /// Memory of the reply at the handle, and of the copy, bytes.
    pub fn memory_bytes(&self) -> usize {
        self.len + self.copy.len()
    }

    /// Writes it. False if there is none, or it has parts that are not known.
    pub fn send(&self, to: Reply<'_>) -> bool {
        let Some(parts) = resp::parts(&self.copy) else { return false };
        parts.iter().for_each(|part| to.part(part));
        true
    }
}

const NO_PERMISSION: &str =
    "NOPERM this user has no permissions to run the command or to access one of its keys";

/// The server's handle of a client, which is let go exactly once: at the latest when the handle is dropped, then without
/// a reply.
#[derive(Debug)]
pub struct HeldClient {
    raw: *mut raw::RedisModuleBlockedClient,
    id: u64,
}

impl HeldClient {
    /// Holds the client of a command; nothing if the server does not.
    ///
    /// # Safety
    /// `ctx` is that of a command whose client may be blocked.
    pub unsafe fn hold(
        ctx: Ctx<'_>,
        on_unblocked: Callback,
        on_disconnect: OnDisconnect,
    ) -> Option<Self> {
        // SAFETY: the caller vouches for the context; the handle is used nowhere else.
        unsafe {
            let id = client::id(ctx);
            let raw = api!(RedisModule_BlockClient)(ctx.raw(), None, Some(on_unblocked), None, 0);
            if raw.is_null() {
                return None;
            }
            api!(RedisModule_SetDisconnectCallback)(raw, Some(on_disconnect));
            Some(HeldClient { raw, id })
        }
    }

    /// The pointer itself, by which the server identifies the client in its callbacks.
    pub fn raw(&self) -> *mut raw::RedisModuleBlockedClient {
        self.raw
    }

    /// The number of the client.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// Runs the command of the client, which gets the reply when it is let go. `ctx` is that of a callback of the event
    /// loop. `after` gets the reply, if the user may run the command.
    pub fn run<T>(
        &self,
        ctx: Ctx<'_>,
        command: &LaterCommand,
        after: impl FnOnce(Option<&CommandReply>) -> T,
    ) -> T {
        self.reply(|reply| command.run(ctx, reply, after))
    }

    /// The client gets this reply when it is let go. Returns a copy.
    pub fn keep(&self, reply: &CommandReply) -> KeptReply {
        self.reply(|to| reply.send(to));
        KeptReply::of(reply)
    }

    /// Lets the client go with an error, which begins with its own code.
    pub fn fail(self, error: &str) {
        self.reply(|reply| Reply::new(reply).error_with_code(error));
    }

    fn reply<T>(&self, write: impl FnOnce(Ctx<'_>) -> T) -> T {
        // SAFETY: the handle is valid until the client is let go, when this value is dropped; the context is freed
        // before that.
        unsafe {
            let reply = api!(RedisModule_GetThreadSafeContext)(self.raw);
            let result = write(Ctx::new(reply));
            api!(RedisModule_FreeThreadSafeContext)(reply);
            result
        }
    }
}

impl Drop for HeldClient {
    fn drop(&mut self) {
        // SAFETY: the handle is valid until now, and used no more.
        unsafe { api!(RedisModule_UnblockClient)(self.raw, std::ptr::null_mut()) };
    }
}
