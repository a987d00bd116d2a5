//! WB.FLUSH: writes dirty keys at once and replies when MongoDB has acknowledged them.

use std::ffi::c_int;

use super::all_nodes::{self, ALL_NODES};
use crate::core::backlog::FlushScope;
use crate::core::registration::args;
use crate::redis::api::blocked::{self, Handle};
use crate::redis::api::clock;
use crate::redis::api::context::Ctx;
use crate::redis::api::guard::{broken_error, guard};
use crate::redis::api::raw;
use crate::redis::api::raw::api;
use crate::redis::api::reply::{REPLIED, Reply};
use crate::redis::call::Call;
use crate::redis::command_spec::{Arg, ArgKind, KeySpec, PREFIX, Spec, arg, option};
use crate::redis::flush_clients::{FailedScope, FlushOutcome, WaitingClient, end};
use crate::redis::state::module;

/// The declaration of the command.
pub const SPEC: Spec = Spec {
    name: c"WB.FLUSH",
    run: Some(command),
    flags: c"readonly blocking no-mandatory-keys",
    acl: c"read blocking",
    arity: -1,
    summary: c"Writes what is dirty at once and replies when MongoDB has acknowledged it.",
    complexity: c"O(N) where N is the number of registrations or of keys given",
    since: c"0.1.0",
    args: ARGS,
    keys: Some(KeySpec::Counted),
    syntax: &["FLUSH [<prefix>] [KEYS <n> <key> ...] [TIMEOUT <ms>] [CLUSTER]"],
    help: &["Write what is dirty now at once; reply when MongoDB has acknowledged it."],
};

const ARGS: &[Arg] = &[
    PREFIX,
    Arg {
        token: Some(c"KEYS"),
        optional: true,
        parts: &[
            arg(c"numkeys", ArgKind::Number),
            Arg { multiple: true, ..arg(c"key", ArgKind::Key) },
        ],
        ..arg(c"keys", ArgKind::Block)
    },
    option(c"timeout-ms", c"TIMEOUT", ArgKind::Number),
    ALL_NODES,
];

/// Runs the command.
fn command(call: &Call<'_>) {
    let args = match args::flush(call.arguments()) {
        Ok(args) => args,
        Err(error) => return call.reply.error(&error),
    };
    let flags = call.ctx.flags();
    if flags & raw::REDISMODULE_CTX_FLAGS_SLAVE != 0 {
        return call.reply.error("WB.FLUSH is for the master: a replica writes nothing to MongoDB");
    }
    if args.all_nodes {
        return all_nodes::flush(call, args.prefix, u64::try_from(args.timeout_ms).unwrap_or(0));
    }
    let db = call.db;
    let mut id = None;
    if let Some(prefix) = args.prefix {
        id = call.module.pipeline.backlog.borrow().registry.find(db, prefix);
        if id.is_none() {
            return call.no_registration(&call.module.pipeline.backlog.borrow(), prefix);
        }
    }
    let keys = args.keys.map(|mut keys| {
        let backlog = call.module.pipeline.backlog.borrow();
        keys.retain(|key| id.is_none() || backlog.registry.route(db, key) == id);
        keys
    });
    let (begin, scope) = match (id, &keys) {
        (_, Some(keys)) => {
            let copies = keys.iter().map(|key| key.to_vec()).collect();
            (FlushScope::Keys(db, keys), FailedScope::Keys(db, copies))
        }
        (Some(id), None) => (FlushScope::Registration(id), FailedScope::Registration(id)),
        (None, None) => (FlushScope::All, FailedScope::All),
    };
    let flush = call.module.pipeline.backlog.borrow_mut().flush(begin, clock::now_us());
    let finished = call.module.pipeline.backlog.borrow().is_flushed(flush);
    if finished || !call.may_block() {
        let outcome = end(&call.module.pipeline, flush, &scope);
        return write(call.reply, &outcome);
    }
    let end_us = match u64::try_from(args.timeout_ms) {
        Ok(ms @ 1..) => clock::now_us().saturating_add(ms.saturating_mul(1000)),
        _ => u64::MAX,
    };
    let handle = block(call.ctx);
    call.module.flushes.add(WaitingClient { handle, flush, scope, end_us });
}

fn write(reply: Reply<'_>, outcome: &FlushOutcome) {
    reply.map(4);
    reply.number_field(c"persisted", outcome.persisted);
    reply.number_field(c"failed", outcome.failed);
    reply.number_field(c"pending", outcome.pending);
    reply.text_field("error", outcome.error.as_bytes());
}

fn block(ctx: Ctx<'_>) -> Handle<FlushOutcome> {
    // SAFETY: the context is that of a command whose client may be blocked; the callbacks are for this type.
    unsafe { Handle::block(ctx, on_reply, on_unblocked, on_disconnect) }
}

unsafe extern "C" fn on_reply(
    ctx: *mut raw::RedisModuleCtx,
    _: *mut *mut raw::RedisModuleString,
    _: c_int,
) -> c_int {
    reply(ctx, || {
        // SAFETY: the reply callback of a client that `block` has blocked.
        unsafe { blocked::outcome::<FlushOutcome>(ctx) }.cloned()
    })
}

/// CLIENT UNBLOCK: the client gets the same reply as at a timeout.
unsafe extern "C" fn on_unblocked(
    ctx: *mut raw::RedisModuleCtx,
    _: *mut *mut raw::RedisModuleString,
    _: c_int,
) -> c_int {
    reply(ctx, || {
        // SAFETY: the server's context of a client that is blocked.
        end_wait(unsafe { api!(RedisModule_GetBlockedClientHandle)(ctx) })
    })
}

/// Replies with the outcome; without one, with the error of a broken module.
fn reply(ctx: *mut raw::RedisModuleCtx, outcome: impl FnOnce() -> Option<FlushOutcome>) -> c_int {
    // SAFETY: both callers pass the server's context, which is valid during the callback.
    let reply = Reply::new(unsafe { Ctx::new(ctx) });
    let replied = guard(false, || outcome().map(|outcome| write(reply, &outcome)).is_some());
    if !replied {
        reply.error(&broken_error());
    }
    REPLIED
}

unsafe extern "C" fn on_disconnect(
    _: *mut raw::RedisModuleCtx,
    client: *mut raw::RedisModuleBlockedClient,
) {
    guard((), || {
        end_wait(client);
    });
}

/// Ends the flush of a client that the server has unblocked or disconnected, and unblocks its
/// handle.
fn end_wait(client: *mut raw::RedisModuleBlockedClient) -> Option<FlushOutcome> {
    let module = module();
    let waiting = module.flushes.take_client(client)?;
    Some(end(&module.pipeline, waiting.flush, &waiting.scope))
}
