//! `CLUSTER` behind a command: all masters of the cluster are asked, and the client gets all their answers.

use std::ffi::c_int;

use crate::core::cluster::NodeId;
use crate::core::ids::Db;
use crate::core::resp::{self, Part};
use crate::redis::answers;
use crate::redis::api::blocked::{self, Handle};
use crate::redis::api::clock;
use crate::redis::api::context::Ctx;
use crate::redis::api::guard::{broken_error, guard};
use crate::redis::api::raw;
use crate::redis::api::raw::api;
use crate::redis::api::reply::{REPLIED, Reply};
use crate::redis::asks::{Outcome, Question};
use crate::redis::call::Call;
use crate::redis::command_spec::{Arg, flag};
use crate::redis::nodes;
use crate::redis::state::module;

/// The argument.
pub const ALL_NODES: Arg = flag(c"cluster", c"CLUSTER");

/// The words in front of a last word CLUSTER, which is meant as the option: in cluster mode, or if no prefix
/// has this name.
pub fn without_option<'a, 'w>(call: &Call<'_>, words: &'w [&'a [u8]]) -> Option<&'w [&'a [u8]]> {
    let (last, others) = words.split_last()?;
    let is_prefix = || call.module.pipeline.backlog.borrow().registry.find(call.db, last).is_some();
    let is_option = last.eq_ignore_ascii_case(b"CLUSTER");
    (is_option && (call.module.nodes.is_on() || !is_prefix())).then_some(others)
}

/// Asks all masters for their replies to a command: a map by node.
pub fn ask(call: &Call<'_>, words: &[&[u8]]) {
    let words = words.iter().map(|word| word.to_vec()).collect();
    begin(call, Question::Command(call.db, words), u64::MAX);
}

/// Flushes all masters: the sums.
pub fn flush(call: &Call<'_>, prefix: Option<&[u8]>, timeout_ms: u64) {
    let prefix: Option<(Db, Vec<u8>)> = prefix.map(|prefix| (call.db, prefix.to_vec()));
    let end_us = match timeout_ms {
        0 => u64::MAX,
        ms => clock::now_us().saturating_add(ms.saturating_mul(1000)),
    };
    begin(call, Question::Flush(prefix), end_us);
}

fn begin(call: &Call<'_>, question: Question, end_us: u64) {
    if !call.module.nodes.is_on() {
        return call
            .reply
            .error("CLUSTER asks all nodes of a cluster, and this server is not in cluster mode");
    }
    if !call.may_block() {
        return call
            .reply
            .error("CLUSTER waits for other nodes, so it cannot be used in MULTI or in a script");
    }
    let all = nodes::all(call.ctx);
    let masters = || all.iter().filter(|node| node.is_master);
    let own = masters().find(|node| node.is_own).map(|node| node.id);
    let asked: Vec<NodeId> =
        masters().filter(|node| !node.is_failing || node.is_own).map(|node| node.id).collect();
    // A failed master whose slots another one has is of no interest.
    let failed = masters().filter(|node| node.is_failing && !node.is_own && node.has_slots);
    let missing = failed.map(|node| node.id).collect();
    // Before the client is blocked, because a module's call is refused for a blocked one.
    let reply = match (&question, own) {
        (Question::Command(db, words), Some(_)) => answers::reply(call.ctx, *db, words),
        _ => None,
    };
    let now_us = clock::now_us();
    if let (Question::Flush(prefix), Some(own)) = (&question, own) {
        return begin_flush(call, (own, prefix.clone()), (asked, missing), (now_us, end_us));
    }
    let asks = &call.module.asks;
    let (id, message) =
        asks.begin(block(call.ctx), question, (asked.clone(), missing), (now_us, end_us));
    for node in asked.iter().filter(|node| Some(**node) != own) {
        nodes::send(call.ctx, node, &message);
    }
    if let Some((own, reply)) = own.zip(reply) {
        asks.answered(own, id, reply);
    }
}

fn begin_flush(
    call: &Call<'_>,
    (own, prefix): (NodeId, Option<(Db, Vec<u8>)>),
    nodes: (Vec<NodeId>, Vec<NodeId>),
    times: (u64, u64),
) {
    let (module, asked) = (call.module, nodes.0.clone());
    let question = Question::Flush(prefix.clone());
    let (id, message) = module.asks.begin(block(call.ctx), question, nodes, times);
    for node in asked.iter().filter(|node| **node != own) {
        nodes::send(call.ctx, node, &message);
    }
    let prefix = prefix.as_ref().map(|(db, prefix)| (*db, prefix.as_slice()));
    module.node_flushes.ask(&module.pipeline, (own, id), prefix, times.0);
}

fn block(ctx: Ctx<'_>) -> Handle<Outcome> {
    // SAFETY: the context is that of a command whose client may be blocked; the callbacks are for this type.
    unsafe { Handle::block(ctx, on_reply, on_unblocked, on_disconnect) }
}

unsafe extern "C" fn on_reply(
    ctx: *mut raw::RedisModuleCtx,
    _: *mut *mut raw::RedisModuleString,
    _: c_int,
) -> c_int {
    // SAFETY: the reply callback of a client that `block` has blocked.
    reply(ctx, || unsafe { blocked::outcome::<Outcome>(ctx) }.cloned())
}

/// CLIENT UNBLOCK: the client gets what was answered so far.
unsafe extern "C" fn on_unblocked(
    ctx: *mut raw::RedisModuleCtx,
    _: *mut *mut raw::RedisModuleString,
    _: c_int,
) -> c_int {
    reply(ctx, || {
        // SAFETY: the server's context of a client that is blocked.
        let (client, ctx) =
            unsafe { (api!(RedisModule_GetBlockedClientHandle)(ctx), Ctx::new(ctx)) };
        end_wait(ctx, client)
    })
}

unsafe extern "C" fn on_disconnect(
    ctx: *mut raw::RedisModuleCtx,
    client: *mut raw::RedisModuleBlockedClient,
) {
    guard((), || {
        // SAFETY: the server's context is valid during the callback.
        end_wait(unsafe { Ctx::new(ctx) }, client);
    });
}

fn end_wait(ctx: Ctx<'_>, client: *mut raw::RedisModuleBlockedClient) -> Option<Outcome> {
    let module = module();
    let (outcome, messages) = module.asks.take_client(client)?;
    answers::send(module, ctx, messages, clock::now_us());
    Some(outcome)
}

fn reply(ctx: *mut raw::RedisModuleCtx, outcome: impl FnOnce() -> Option<Outcome>) -> c_int {
    // SAFETY: both callers pass the server's context, which is valid during the callback.
    let reply = Reply::new(unsafe { Ctx::new(ctx) });
    let replied = guard(false, || outcome().map(|outcome| write(reply, outcome)).is_some());
    if !replied {
        reply.error(&broken_error());
    }
    REPLIED
}

fn write(reply: Reply<'_>, mut outcome: Outcome) {
    if let Some(sum) = &outcome.flushed {
        reply.map(5);
        reply.number_field(c"persisted", sum.persisted);
        reply.number_field(c"failed", sum.failed);
        reply.number_field(c"pending", sum.pending);
        let missing = "some nodes did not answer: what is dirty there is not counted";
        let error = if outcome.missing.is_empty() { &sum.error } else { missing };
        reply.text_field("error", error.as_bytes());
        return write_missing(reply, &outcome.missing);
    }
    // What cannot be read is no answer.
    let damaged = outcome.replies.iter().filter(|(_, bytes)| resp::parts(bytes).is_none());
    outcome.missing.extend(damaged.map(|(node, _)| *node));
    outcome.replies.retain(|_, bytes| resp::parts(bytes).is_some());
    reply.map(outcome.replies.len() + 1);
    for (node, bytes) in &outcome.replies {
        reply.bytes(node);
        for part in resp::parts(bytes).unwrap_or_default() {
            match part {
                Part::Simple(text) | Part::Error(text) | Part::Bytes(text) => reply.bytes(text),
                Part::Null => reply.bytes(b""),
                part => reply.part(&part),
            }
        }
    }
    write_missing(reply, &outcome.missing);
}

fn write_missing(reply: Reply<'_>, missing: &[NodeId]) {
    reply.bytes(b"missing");
    reply.array(missing.len());
    missing.iter().for_each(|node| reply.bytes(node));
}
