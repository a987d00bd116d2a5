//! Keys that are handed over to the node that has their hash slot now.

use super::api::clock;
use super::api::context::{Ctx, PAUSED_US, Text, must_not_replicate};
use super::cluster::{Owner, Slots};
use super::nodes;
use super::read::value;
use super::replication::propagate;
use super::state::Module;
use crate::core::cluster::NodeId;
use crate::core::cluster::message::{Handed, Message};
use crate::core::hash_slot;
use crate::core::ids::{Db, RegistrationId};

/// A message is repeated so often until it is confirmed, microseconds.
const EVERY_US: u64 = 500_000;

/// Sends the keys that are to be handed over, if it is time.
pub fn step(module: &Module, ctx: Ctx<'_>, now_us: u64) {
    if due_us(module) > now_us {
        return;
    }
    let slots = Slots::default();
    let mut backlog = module.pipeline.backlog.borrow_mut();
    if backlog.handovers.is_looking() {
        let given = module.cluster.given_slots();
        let has_left = |key: &[u8]| given.contains(hash_slot::slot(key)) && !slots.has(ctx, key);
        backlog.find_removals(has_left, now_us);
    }
    if backlog.handovers.again_us > now_us {
        return;
    }
    backlog.handovers.again_us = now_us + EVERY_US;
    let parts = backlog.handed_over(now_us, |key| slots.has(ctx, key));
    drop(backlog);
    for (db, keys) in parts {
        nodes::broadcast(ctx, &Message::HandOver { db, keys });
    }
}

/// When [`step`] must be called, microseconds.
pub fn due_us(module: &Module) -> u64 {
    let backlog = module.pipeline.backlog.borrow();
    let due_us = match &backlog.handovers {
        handovers if handovers.is_looking() => 0,
        handovers if handovers.is_empty() => return u64::MAX,
        handovers => handovers.again_us,
    };
    if must_not_replicate() { due_us.max(clock::now_us() + PAUSED_US) } else { due_us }
}

/// A node hands keys over: those whose slots are here are written again. True if there were any.
pub fn take(module: &Module, ctx: Ctx<'_>, from: NodeId, (db, keys): (Db, &[Handed])) -> bool {
    let slots = Slots::default();
    ctx.select(db);
    let mut taken: Vec<Vec<u8>> = Vec::new();
    let mut marked: Vec<(RegistrationId, &[u8])> = Vec::new();
    for handed in keys {
        let name = Text::new(&handed.key);
        if slots.owner(ctx, &name, &handed.key) != Owner::This {
            continue;
        }
        let exists = value::expiry_ms(&module.pipeline.opener, ctx, &name).is_some();
        let mut backlog = module.pipeline.backlog.borrow_mut();
        let id = backlog.take_over(db, handed, exists, clock::now_us());
        marked.extend(id.map(|id| (id, handed.key.as_slice())));
        taken.push(handed.key.clone());
    }
    marked.sort_by_key(|(id, _)| *id);
    for of in marked.chunk_by(|a, b| a.0 == b.0) {
        let registration = {
            let backlog = module.pipeline.backlog.borrow();
            let active = of.first().and_then(|(id, _)| backlog.registry.at(*id));
            active.map(|active| active.registration.clone())
        };
        let Some(registration) = registration else { continue };
        let keys: Vec<Text> = of.iter().map(|(_, key)| Text::new(key)).collect();
        propagate::marked(ctx, &registration.prefix, &keys);
    }
    let has_any = !taken.is_empty();
    if has_any {
        nodes::send(ctx, &from, &Message::TookOver { db, keys: taken });
    }
    has_any
}
