//! WB.FLUSH: writes what is dirty at once and replies when MongoDB has acknowledged it.

use std::ffi::{c_int, c_void};

use super::Call;
use crate::core::args;
use crate::core::engine::{Engine, FlushScope};
use crate::core::flush::Progress;
use crate::redis::api::{self, api};
use crate::redis::ctx::Ctx;
use crate::redis::guard::{broken_error, guard};
use crate::redis::module::{FailedScope, Module, Waiting, module};
use crate::redis::reply::{REPLIED, Reply};
use crate::redis::{clock, tick};

/// Where a client may not be blocked.
pub const NO_BLOCKING: u32 = api::REDISMODULE_CTX_FLAGS_MULTI
    | api::REDISMODULE_CTX_FLAGS_LUA
    | api::REDISMODULE_CTX_FLAGS_DENY_BLOCKING;

/// What a client is told.
#[derive(Clone, Copy, Debug)]
struct Outcome {
    persisted: u64,
    failed: u64,
    pending: u64,
}

/// Runs the command.
pub fn command(call: &Call<'_>) {
    let args = match args::flush(call.arguments()) {
        Ok(args) => args,
        Err(error) => return call.reply.error(&error),
    };
    let flags = call.ctx.flags();
    if flags & api::REDISMODULE_CTX_FLAGS_SLAVE != 0 {
        return call.reply.error("WB.FLUSH is for the master: a replica writes nothing to MongoDB");
    }
    let db = call.ctx.db();
    let mut slot = None;
    if let Some(prefix) = args.prefix {
        slot = call.module.engine.borrow().slot_of(db, prefix);
        if slot.is_none() {
            return call.no_registration(prefix);
        }
    }
    let keys = args.keys.map(|mut keys| {
        let engine = call.module.engine.borrow();
        keys.retain(|key| slot.is_none() || engine.route(db, key) == slot);
        keys
    });
    let (begin, scope) = match (slot, &keys) {
        (_, Some(keys)) => {
            let copies = keys.iter().map(|key| key.to_vec()).collect();
            (FlushScope::Keys(db, keys), FailedScope::Keys(db, copies))
        }
        (Some(slot), None) => (FlushScope::Slot(slot), FailedScope::Slot(slot)),
        (None, None) => (FlushScope::All, FailedScope::All),
    };
    let flush = call.module.engine.borrow_mut().flush(begin, clock::now_us());
    tick::plan(call.module);
    let finished = call.module.engine.borrow().is_flushed(flush);
    if finished || flags & NO_BLOCKING != 0 {
        let outcome = end(call.module, flush, &scope);
        return write(call.reply, outcome);
    }
    let client = block(call.ctx, args.timeout_ms);
    call.module.waiting.borrow_mut().insert(flush, Waiting { client, scope });
}

/// Replies to the clients whose last key has ended.
pub fn answer_finished(module: &Module) {
    let finished = module.engine.borrow_mut().flushed();
    for flush in finished {
        let Some(waiting) = module.waiting.borrow_mut().remove(&flush) else {
            continue;
        };
        let outcome = end(module, flush, &waiting.scope);
        // SAFETY: the client is blocked: it is taken out of the map when it leaves. The outcome
        // is freed by `free_outcome`.
        unsafe {
            let outcome = Box::into_raw(Box::new(outcome)).cast::<c_void>();
            api!(RedisModule_UnblockClient)(waiting.client, outcome);
        }
    }
}

fn end(module: &Module, flush: u64, scope: &FailedScope) -> Outcome {
    let mut engine = module.engine.borrow_mut();
    let progress = engine.end_flush(flush).unwrap_or_default();
    let Progress { persisted, pending } = progress;
    Outcome { persisted, failed: failed(&engine, scope), pending: pending as u64 }
}

fn failed(engine: &Engine, scope: &FailedScope) -> u64 {
    let count = match scope {
        FailedScope::All => engine.dead.len(),
        FailedScope::Slot(slot) => engine.dead.count(*slot),
        FailedScope::Keys(db, keys) => {
            keys.iter().filter(|key| engine.dead.find(*db, key).is_some()).count()
        }
    };
    count as u64
}

fn write(reply: Reply<'_>, outcome: Outcome) {
    reply.map(3);
    reply.number_field(c"persisted", outcome.persisted);
    reply.number_field(c"failed", outcome.failed);
    reply.number_field(c"pending", outcome.pending);
}

fn block(ctx: Ctx<'_>, timeout_ms: i64) -> *mut api::RedisModuleBlockedClient {
    // SAFETY: the context is that of a command whose client may be blocked; the callbacks fit.
    unsafe {
        let client = api!(RedisModule_BlockClient)(
            ctx.raw(),
            Some(on_finished),
            Some(on_timeout),
            Some(free_outcome),
            timeout_ms,
        );
        api!(RedisModule_SetDisconnectCallback)(client, Some(on_disconnect));
        client
    }
}

unsafe extern "C" fn on_finished(
    ctx: *mut api::RedisModuleCtx,
    _: *mut *mut api::RedisModuleString,
    _: c_int,
) -> c_int {
    guard((), || {
        // SAFETY: the private data is the outcome that `answer_finished` gave; it is freed after
        // this callback.
        let outcome = unsafe {
            api!(RedisModule_GetBlockedClientPrivateData)(ctx).cast::<Outcome>().as_ref()
        };
        if let Some(outcome) = outcome {
            // SAFETY: the server's context is valid during the callback.
            write(Reply::new(unsafe { Ctx::new(ctx) }), *outcome);
        }
    });
    REPLIED
}

unsafe extern "C" fn on_timeout(
    ctx: *mut api::RedisModuleCtx,
    _: *mut *mut api::RedisModuleString,
    _: c_int,
) -> c_int {
    // SAFETY: the server's context is valid during the callback.
    let reply = Reply::new(unsafe { Ctx::new(ctx) });
    let answered = guard(false, || {
        // SAFETY: as above. The private data is null, or the outcome of a flush that ended at
        // the same moment and was not told yet; it is freed after this callback.
        let (client, told) = unsafe {
            let told = api!(RedisModule_GetBlockedClientPrivateData)(ctx).cast::<Outcome>();
            (api!(RedisModule_GetBlockedClientHandle)(ctx), told.as_ref().copied())
        };
        let outcome = leave(client).or(told);
        outcome.map(|outcome| write(reply, outcome)).is_some()
    });
    if !answered {
        reply.error(&broken_error());
    }
    REPLIED
}

unsafe extern "C" fn on_disconnect(
    _: *mut api::RedisModuleCtx,
    client: *mut api::RedisModuleBlockedClient,
) {
    guard((), || {
        leave(client);
        // The server unblocks the client itself when we do not.
    });
}

/// Forgets a client whose handle the server is about to free.
fn leave(client: *mut api::RedisModuleBlockedClient) -> Option<Outcome> {
    let module = module();
    let mut waiting = module.waiting.borrow_mut();
    let flush = waiting.iter().find(|(_, waiting)| waiting.client == client).map(|(id, _)| *id)?;
    let left = waiting.remove(&flush)?;
    Some(end(module, flush, &left.scope))
}

unsafe extern "C" fn free_outcome(_: *mut api::RedisModuleCtx, outcome: *mut c_void) {
    if !outcome.is_null() {
        // SAFETY: made by Box::into_raw in `answer_finished`, freed once.
        drop(unsafe { Box::from_raw(outcome.cast::<Outcome>()) });
    }
}
