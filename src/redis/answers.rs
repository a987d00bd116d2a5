//! What this node does for the clients of all nodes that ask with CLUSTER.

use super::api::context::Ctx;
use super::api::run_command;
use super::nodes;
use super::state::Module;
use crate::core::cluster::NodeId;
use crate::core::cluster::message::{Flushed, Message};
use crate::core::ids::Db;

/// The commands that other nodes may ask for.
const MAY_ASK: [&[u8]; 2] = [b"WB.STATUS", b"WB.DEADLETTER"];
/// A longer reply is not sent over the cluster bus, bytes.
const MAX_REPLY_BYTES: usize = 4 << 20;

/// The reply of this node to a command; nothing if it is none that may be asked for.
pub fn reply(ctx: Ctx<'_>, db: Db, words: &[Vec<u8>]) -> Option<Vec<u8>> {
    let may_ask = |word: &Vec<u8>| MAY_ASK.iter().any(|name| name.eq_ignore_ascii_case(word));
    words.first().filter(|word| may_ask(word))?;
    let words: Vec<&[u8]> = words.iter().map(Vec::as_slice).collect();
    ctx.select(db);
    let reply = run_command::own_command(ctx, &words)?;
    Some(match reply.len() {
        0..=MAX_REPLY_BYTES => reply,
        _ => b"-ERR the reply of this node is too large: ask it alone\r\n".to_vec(),
    })
}

/// A node asks for the reply to a command.
pub fn ask(ctx: Ctx<'_>, from: NodeId, (id, db, words): (u64, Db, &[Vec<u8>])) {
    if let Some(reply) = reply(ctx, db, words) {
        nodes::send(ctx, &from, &Message::Answer { id, reply });
    }
}

/// A node asks for a flush, or whether it is still under way.
pub fn flush(
    module: &Module,
    ctx: Ctx<'_>,
    (from, id): (NodeId, u64),
    prefix: Option<&(Db, Vec<u8>)>,
    now_us: u64,
) {
    let prefix = prefix.map(|(db, prefix)| (*db, prefix.as_slice()));
    module.node_flushes.ask(&module.pipeline, (from, id), prefix, now_us);
    nodes::send(ctx, &from, &Message::Flushing { id });
}

/// A node asks a replica, which writes nothing.
pub fn nothing_to_flush(ctx: Ctx<'_>, from: NodeId, id: u64) {
    nodes::send(ctx, &from, &Message::Flushed { id, result: Flushed::default() });
}

/// A node does not wait for a flush any longer.
pub fn cancel(module: &Module, ctx: Ctx<'_>, from: NodeId, id: u64) {
    if let Some(result) = module.node_flushes.cancel(&module.pipeline, (from, id)) {
        flushed(module, ctx, (from, id), result);
    }
}

/// Reports flushes that have ended.
pub fn step(module: &Module, ctx: Ctx<'_>, now_us: u64) {
    for (of, result) in module.node_flushes.take_ended(&module.pipeline, now_us) {
        flushed(module, ctx, of, result);
    }
}

fn flushed(module: &Module, ctx: Ctx<'_>, (to, id): (NodeId, u64), result: Flushed) {
    if nodes::own_id() == Some(to) {
        module.asks.flushed(to, id, &result);
    } else {
        nodes::send(ctx, &to, &Message::Flushed { id, result });
    }
}

/// Sends what the clients of this node need of others.
pub fn send(module: &Module, ctx: Ctx<'_>, messages: Vec<(NodeId, Message)>, now_us: u64) {
    let own = nodes::own_id();
    for (to, message) in messages {
        if own != Some(to) {
            nodes::send(ctx, &to, &message);
            continue;
        }
        // The flush of this node itself.
        match message {
            Message::Cancel { id } => cancel(module, ctx, to, id),
            Message::Flush { id, .. } => module.asks.flushing(to, id, now_us),
            _ => {}
        }
    }
}
