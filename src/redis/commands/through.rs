//! WB.READ, WB.WRITE and WB.WRITEX: the command filter of read-through makes a command with missing keys an argument of
//! one of these.

use std::ffi::c_int;

use crate::core::command_table::Access;
use crate::redis::api::client::Client;
use crate::redis::api::clock;
use crate::redis::api::context::Ctx;
use crate::redis::api::guard::guard;
use crate::redis::api::held_client::{HeldClient, LaterCommand};
use crate::redis::api::raw;
use crate::redis::api::raw::api;
use crate::redis::api::reply::{REPLIED, Reply};
use crate::redis::api::run_for_client;
use crate::redis::call::Call;
use crate::redis::command_spec::{Arg, ArgKind, KeySpec, Spec, arg};
use crate::redis::state::module;
use crate::redis::through::call::{self, Decision, Waiting, decide};
use crate::redis::through::filter;
use crate::redis::through::readers::{Reader, TIMED_OUT};

const ARGS: &[Arg] = &[
    arg(c"command", ArgKind::Text),
    Arg { optional: true, multiple: true, ..arg(c"argument", ArgKind::Text) },
];

const COMMON: Spec = Spec {
    name: c"",
    run: None,
    flags: c"",
    acl: c"",
    arity: -2,
    summary: c"",
    complexity: c"That of the command; loading is O(N) where N is the number of its missing keys",
    since: c"0.1.0",
    args: ARGS,
    keys: Some(KeySpec::Inner),
    syntax: &[],
    help: &[],
};

/// The declaration of WB.READ.
pub const READ: Spec = Spec {
    name: filter::READ,
    run: Some(|call| command(call, |access| access == Access::Read)),
    syntax: &["READ <command> [<argument> ...]"],
    help: &["For the module's own use: a command that waits until its missing keys are loaded."],
    flags: c"readonly no-monitor no-slowlog",
    acl: c"read",
    summary: c"Runs a command that reads, once its missing keys are loaded (READTHROUGH).",
    ..COMMON
};

/// The declaration of WB.WRITE.
pub const WRITE: Spec = Spec {
    name: filter::WRITE,
    run: Some(|call| command(call, |access| access != Access::Read)),
    syntax: &["WRITE <command> [<argument> ...]"],
    help: &["The same for commands that write."],
    flags: c"write deny-oom no-monitor no-slowlog",
    acl: c"write",
    summary: c"Runs a command that writes, once its missing keys are loaded (READTHROUGH).",
    ..COMMON
};

/// The declaration of WB.WRITEX.
pub const WRITE_ALWAYS: Spec = Spec {
    name: filter::WRITE_ALWAYS,
    syntax: &["WRITEX <command> [<argument> ...]"],
    help: &["The same for commands that write and need no memory."],
    flags: c"write no-monitor no-slowlog",
    summary: c"As WB.WRITE, for commands that need no memory (READTHROUGH).",
    ..WRITE
};

/// The declaration of a command that does nothing.
pub const NOTHING: Spec = Spec {
    name: filter::NOTHING,
    // For the module, which ignores the reply.
    run: Some(|call| call.reply.error("WB._NOP is for the module's own use")),
    flags: c"readonly fast no-monitor no-slowlog no-mandatory-keys",
    arity: 1,
    summary: c"Internal: does nothing.",
    complexity: c"O(1)",
    args: &[],
    keys: None,
    ..COMMON
};

fn command(call: &Call<'_>, takes: impl Fn(Access) -> bool) {
    let through = &call.module.through;
    let words = call.arguments();
    let raw = call.raw.get(1..).unwrap_or_default();
    let inner = through.filter.command(words);
    let Some(inner) = inner.filter(|inner| takes(inner.access)) else {
        let name = call.words.first().copied().unwrap_or_default().to_ascii_uppercase();
        let name = String::from_utf8_lossy(&name).into_owned();
        return call.reply.error(&format!(
            "{name} is for the module's own use; send the command itself, which waits for its keys under READTHROUGH"
        ));
    };
    let is_replica = call.ctx.flags() & raw::REDISMODULE_CTX_FLAGS_SLAVE != 0;
    // Another module may run commands for no client at all.
    let user = Client::user(call.ctx);
    let client = through.filter.client(call.ctx);
    let waiting = if is_replica || user.is_none() {
        Waiting::Never
    } else if !call.may_wait() {
        Waiting::Multi
    } else if !client.may_block() {
        Waiting::Refused
    } else if client.tracks && inner.access == Access::Read {
        // The server would not remember that the client keeps the key; the load makes it forget, and read again.
        Waiting::Behind
    } else {
        Waiting::Allowed
    };
    let (db, command) = (call.db, &inner);
    let looked = call::Call { db, command, words, raw, absent: &[], counts: true };
    let pipeline = &call.module.pipeline;
    match decide(pipeline, call.ctx, looked, waiting) {
        Decision::Run => run_for_client::run(call.ctx, raw, user.is_some()),
        Decision::Refuse(error) => call.reply.error_with_code(&error),
        Decision::Wait { wait, has_others } => {
            // SAFETY: the context is that of a command whose client may be blocked, and the words are its.
            let (client, command) = unsafe {
                let client = HeldClient::hold(call.ctx, on_unblocked, on_disconnect);
                (client, LaterCommand::new(call.ctx, raw, user.unwrap_or_default()))
            };
            let Some(client) = client else {
                pipeline.backlog.borrow_mut().reads.end_wait(wait);
                return call.reply.error("the server does not run the command at present");
            };
            let timeout_us = pipeline.settings().through_timeout_ms.unsigned_abs() * 1000;
            let end_us = clock::now_us() + timeout_us;
            through.readers.add(wait, Reader { client, command, has_others, end_us });
        }
    }
}

/// CLIENT UNBLOCK: as at the timeout.
unsafe extern "C" fn on_unblocked(
    ctx: *mut raw::RedisModuleCtx,
    _: *mut *mut raw::RedisModuleString,
    _: c_int,
) -> c_int {
    // SAFETY: the server's context of a client that is blocked.
    Reply::new(unsafe { Ctx::new(ctx) }).error_with_code(TIMED_OUT);
    guard((), || {
        // SAFETY: as above.
        let client = unsafe { api!(RedisModule_GetBlockedClientHandle)(ctx) };
        module().through.readers.gone(&module().pipeline, client);
    });
    REPLIED
}

unsafe extern "C" fn on_disconnect(
    _: *mut raw::RedisModuleCtx,
    client: *mut raw::RedisModuleBlockedClient,
) {
    guard((), || module().through.readers.gone(&module().pipeline, client));
}
