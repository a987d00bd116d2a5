//! WB.READ, WB.RUN, WB.WRITE and WB.WRITEX: the command filter makes a command with missing keys, or one that writes to a prefix
//! with MODE THROUGH, an argument of one of these.

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
use crate::redis::state::{Module, module};
use crate::redis::through::call::{self, Decision, Waiting, decide};
use crate::redis::through::readers::{Reader, SHUT_DOWN, TIMED_OUT};
use crate::redis::through::writers::End;
use crate::redis::through::{clients, filter};

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

/// The declaration of WB.RUN. The server must not take it for a write: it would refuse scripts that only read.
pub const RUN: Spec = Spec {
    name: filter::RUN,
    run: Some(|call| {
        command(call, |access| matches!(access, Access::ReadAndReplicate | Access::Unknown));
    }),
    syntax: &["RUN <command> [<argument> ...]"],
    help: &["The same for scripts, and for commands that may replicate what they have read."],
    flags: c"readonly may-replicate no-monitor no-slowlog",
    summary: c"As WB.READ, for scripts, which then wait for MongoDB (MODE THROUGH), and for commands that may replicate what they have read.",
    ..READ
};

/// The declaration of WB.WRITE.
pub const WRITE: Spec = Spec {
    name: filter::WRITE,
    run: Some(|call| {
        command(call, |access| matches!(access, Access::Write | Access::WriteIfMemory));
    }),
    syntax: &["WRITE <command> [<argument> ...]"],
    help: &["The same for commands that write; under MODE THROUGH they wait for MongoDB, too."],
    flags: c"write deny-oom no-monitor no-slowlog",
    acl: c"write",
    summary: c"Runs a command that writes, once its missing keys are loaded (READTHROUGH), and waits for MongoDB (MODE THROUGH).",
    ..COMMON
};

/// The declaration of WB.WRITEX.
pub const WRITE_ALWAYS: Spec = Spec {
    name: filter::WRITE_ALWAYS,
    syntax: &["WRITEX <command> [<argument> ...]"],
    help: &["The same for commands that write and need no memory."],
    flags: c"write no-monitor no-slowlog",
    summary: c"As WB.WRITE, for commands that need no memory.",
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
    let in_script = call.ctx.flags() & raw::REDISMODULE_CTX_FLAGS_LUA != 0;
    let Some(inner) = inner.filter(|inner| takes(inner.access) && !in_script) else {
        let name = call.words.first().copied().unwrap_or_default().to_ascii_uppercase();
        let name = String::from_utf8_lossy(&name).into_owned();
        return call.reply.error(&format!(
            "{name} is for the module's own use; send the command itself, which waits for its keys under READTHROUGH \
             and for MongoDB under MODE THROUGH"
        ));
    };
    let is_replica = call.ctx.flags() & raw::REDISMODULE_CTX_FLAGS_SLAVE != 0;
    // Another module may run commands for no client at all.
    let is_there = Client::is_there(call.ctx);
    let client = through.filter.client(call.ctx);
    let waiting = if is_replica || !is_there {
        Waiting::Never
    } else if !call.may_wait() {
        Waiting::Multi
    } else if !client.may_block() {
        Waiting::Refused
    } else if client.tracks && !inner.access.may_write() {
        // The server would not remember that the client keeps the key; the load makes it forget, and read again.
        Waiting::Behind
    } else {
        Waiting::Allowed
    };
    let pipeline = &call.module.pipeline;
    let has_readers = pipeline.backlog.borrow().registry.has_readers();
    let decision = match has_readers {
        true => {
            let looked =
                call::Call { db: call.db, command: &inner, words, raw, absent: &[], counts: true };
            decide(pipeline, call.ctx, looked, waiting)
        }
        false => Decision::Run,
    };
    match decision {
        Decision::Run if !inner.access.may_write() => {
            run_for_client::run(call.ctx, raw, is_there).send(call.ctx);
        }
        Decision::Run => write(call, raw, is_there, waiting == Waiting::Allowed),
        Decision::Refuse(error) => call.reply.error_with_code(&error),
        Decision::Wait { wait, has_others } => {
            // SAFETY: the context is that of a command whose client may be blocked, and the words are its.
            let (client, command) = unsafe {
                let client = HeldClient::hold(call.ctx, on_unblocked, on_disconnect);
                let user = Client::user(call.ctx).unwrap_or_default();
                (client, LaterCommand::new(call.ctx, raw, user))
            };
            let Some(client) = client else {
                pipeline.backlog.borrow_mut().reads.end_wait(wait);
                return call.reply.error("the server does not run the command at present");
            };
            let timeout_ms = pipeline.settings().through_timeout_ms.unsigned_abs();
            let end_us = clock::now_us() + timeout_ms * 1000;
            let what = Reader { command, has_others };
            through.readers.add(wait, clients::Waiting { client, timeout_ms, end_us, what });
        }
    }
}

/// Runs a command that may write, whose client then waits for what it has changed under MODE THROUGH.
fn write(call: &Call<'_>, words: &[*mut raw::RedisModuleString], has_user: bool, may_wait: bool) {
    let pipeline = &call.module.pipeline;
    let collects = pipeline.backlog.borrow_mut().collect_writes();
    let reply = run_for_client::run(call.ctx, words, has_user);
    if !collects {
        return reply.send(call.ctx);
    }
    let held = pipeline.backlog.borrow_mut().hold_write(may_wait, clock::now_us());
    let Some(held) = held else { return reply.send(call.ctx) };
    // SAFETY: the context is that of a command whose client may be blocked.
    let client = unsafe { HeldClient::hold(call.ctx, on_unblocked, on_disconnect) };
    let Some(client) = client else {
        pipeline.backlog.borrow_mut().cannot_hold(held);
        return reply.send(call.ctx);
    };
    let kept = client.keep(&reply);
    call.module.through.writers.add(pipeline, client, held, kept);
}

/// The error of a client of which nothing is known: it has been let go already, or the module is broken.
const UNKNOWN: &str = "WBTIMEOUT the client was unblocked: it is not known if the command has run, and if MongoDB has \
                       what it wrote";

/// The timeout of a client that has written, the end of the server, or CLIENT UNBLOCK, which is like a timeout.
unsafe extern "C" fn on_unblocked(
    ctx: *mut raw::RedisModuleCtx,
    _: *mut *mut raw::RedisModuleString,
    _: c_int,
) -> c_int {
    let end = guard(None, || {
        // SAFETY: the server's context of a client that is blocked.
        let client = unsafe { api!(RedisModule_GetBlockedClientHandle)(ctx) };
        let Module { through, pipeline, is_shut_down, .. } = module();
        match through.readers.gone(pipeline, client) {
            true if is_shut_down.get() => Some(End::Error(SHUT_DOWN.to_owned())),
            true => Some(End::Error(TIMED_OUT.to_owned())),
            false => through.writers.unblocked(pipeline, client),
        }
    });
    // SAFETY: as above.
    let reply = Reply::new(unsafe { Ctx::new(ctx) });
    match end {
        Some(end) => end.send(reply),
        None => reply.error_with_code(UNKNOWN),
    }
    REPLIED
}

unsafe extern "C" fn on_disconnect(
    _: *mut raw::RedisModuleCtx,
    client: *mut raw::RedisModuleBlockedClient,
) {
    guard((), || {
        let (through, pipeline) = (&module().through, &module().pipeline);
        through.readers.gone(pipeline, client);
        through.writers.gone(pipeline, client);
    });
}
