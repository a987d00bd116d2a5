//! Registrations are the same on all nodes of a cluster: each node sends what a command has changed at once,
//! and a digest of all from time to time; a node with another digest asks for the statements behind it.
//!
//! Masters do so. Replicas and the AOF get what was changed from their master.

use std::ffi::CStr;

use super::api::context::{Ctx, Text};
use super::api::{clock, log};
use super::commands::{Source, run_registration};
use super::nodes;
use super::peers;
use super::replication::propagate;
use super::state::Module;
use crate::core::backlog::revisions::{Change, Revised, Stamp};
use crate::core::cluster::NodeId;
use crate::core::cluster::agreed::{Mark, PrefixState, Revision, Statement};
use crate::core::cluster::message::{Message, STATEMENTS_BYTES};
use crate::core::ids::Db;
use crate::core::registration::args;
use crate::core::registration::printable::printable;

/// Sends what is new, and from time to time the digest. True if a registration was ended.
pub fn step(module: &Module, ctx: Ctx<'_>, now_us: u64) -> bool {
    let ended = end_again(module, ctx) | leave(module, ctx);
    let news = module.peers.take_news();
    if !news.is_empty() {
        // A node that is not linked yet hears of it a moment later.
        module.peers.next_us.set(module.peers.next_us.get().min(now_us + peers::LOOK_US));
    }
    for of in news {
        let statement = module.pipeline.backlog.borrow().statement(&of);
        let statements = statement.into_iter().collect();
        nodes::broadcast(ctx, &Message::Statements(statements));
    }
    if module.cluster.take_slots_move() {
        // The new node of the slot must have the registrations before its first key.
        messages(module).iter().for_each(|message| nodes::broadcast(ctx, message));
        module.cluster.slots_moved(ctx);
        module.pipeline.backlog.borrow_mut().look_for_removals();
    }
    if now_us >= module.peers.look_us.get() {
        module.peers.look_us.set(now_us + peers::LOOK_US);
        let count = nodes::count();
        if now_us >= module.peers.next_us.get() || count != module.peers.nodes.get() {
            module.peers.next_us.set(now_us + peers::EVERY_US);
            let is_other = module.peers.nodes.replace(count) != count;
            let digest = module.pipeline.backlog.borrow_mut().revisions_digest();
            if is_other || now_us >= module.peers.follow_us.get() {
                module.peers.follow_us.set(now_us + peers::FOLLOW_US);
                module.peers.follow(&nodes::all(ctx), digest, now_us);
            }
            nodes::broadcast(ctx, &Message::Digest(digest));
        }
    }
    ended
}

/// After CLUSTER RESET of a replica: what it knows is a copy of what its master has, and it may join another
/// cluster.
fn leave(module: &Module, ctx: Ctx<'_>) -> bool {
    if !module.cluster.take_has_left() {
        return false;
    }
    let prefixes: Vec<(Db, Vec<u8>)> = {
        let backlog = module.pipeline.backlog.borrow();
        let live = backlog.registry.iter().filter(|active| active.live && !active.from_file);
        live.map(|active| (active.registration.db, active.registration.prefix.clone())).collect()
    };
    for (db, prefix) in &prefixes {
        unregister(module, ctx, *db, prefix, true);
    }
    let mut backlog = module.pipeline.backlog.borrow_mut();
    backlog.revisions = Default::default();
    // No message reaches a node any more.
    backlog.handovers = Default::default();
    drop(backlog);
    log::notice("CLUSTER RESET: this server has left its cluster, and forgets its registrations");
    true
}

/// Ends registrations that a registrations file has brought back.
fn end_again(module: &Module, ctx: Ctx<'_>) -> bool {
    let ended = module.pipeline.backlog.borrow_mut().take_ended_prefixes();
    for (db, prefix) in &ended {
        unregister(module, ctx, *db, prefix, false);
    }
    !ended.is_empty()
}

/// A node has sent its digest.
pub fn digest(module: &Module, ctx: Ctx<'_>, from: NodeId, digest: u64) {
    let own = module.pipeline.backlog.borrow_mut().revisions_digest();
    if module.peers.heard(from, digest, own, clock::now_us()) {
        nodes::send(ctx, &from, &Message::Pull);
    }
}

/// A node asks for all statements.
pub fn pull(module: &Module, ctx: Ctx<'_>, from: NodeId) {
    messages(module).iter().for_each(|message| nodes::send(ctx, &from, message));
}

/// All statements, in messages of a limited size.
fn messages(module: &Module) -> Vec<Message> {
    let (mut messages, mut part, mut bytes) = (Vec::new(), Vec::new(), 0);
    for statement in module.pipeline.backlog.borrow().statements() {
        let mut encoded = Vec::new();
        statement.encode(&mut encoded);
        if bytes + encoded.len() > STATEMENTS_BYTES && !part.is_empty() {
            messages.push(Message::Statements(std::mem::take(&mut part)));
            bytes = 0;
        }
        bytes += encoded.len();
        part.push(statement);
    }
    messages.push(Message::Statements(part));
    messages
}

/// Follows the statements of a node. True if anything was changed.
pub fn statements(module: &Module, ctx: Ctx<'_>, statements: &[Statement]) -> bool {
    let mut changed = false;
    for statement in statements {
        match follow(module, ctx, statement) {
            Ok(did) => changed |= did,
            Err(error) => {
                let was = module.peers.refusal.replace(error.clone());
                if was != error {
                    log::warning(&error);
                }
            }
        }
    }
    changed
}

fn follow(module: &Module, ctx: Ctx<'_>, statement: &Statement) -> Result<bool, String> {
    let change = module.pipeline.backlog.borrow().change_by(statement);
    match (&change, statement) {
        (Change::Nothing, _) => return Ok(false),
        (Change::Pause(paused), Statement::Pause { revision, .. }) => {
            module.pipeline.backlog.borrow_mut().set_all_paused(*paused);
            module.pipeline.backlog.borrow_mut().took(statement);
            let mark = if *paused { Mark::Registered } else { Mark::Unregistered };
            propagate::revision(ctx, None, &Stamp { revision: *revision, mark });
            let done = if *paused { "paused" } else { "resumed" };
            log::notice(&format!("another node of the cluster has {done} writing to MongoDB"));
        }
        (_, Statement::Prefix { db, prefix, revision, state }) => {
            follow_prefix(module, ctx, &change, (*db, prefix, state))?;
            let pause_changed = module.pipeline.backlog.borrow_mut().took(statement);
            let command = |paused| if paused { c"WB.PAUSE" } else { c"WB.RESUME" };
            match state {
                PrefixState::Registered { paused, .. } if pause_changed => {
                    replicate(ctx, *db, command(*paused), &[prefix]);
                }
                _ => {}
            }
            revised(module, ctx, (*db, prefix), *revision);
        }
        _ => {}
    }
    Ok(true)
}

fn follow_prefix(
    module: &Module,
    ctx: Ctx<'_>,
    change: &Change,
    (db, prefix, state): (Db, &[u8], &PrefixState),
) -> Result<(), String> {
    match (change, state) {
        (Change::Register { sync }, PrefixState::Registered { registration, .. }) => {
            if u32::from(db.0) >= module.databases.get() {
                return Err(format!(
                    "another node of the cluster has a registration in database {db}, which this server does \
                     not have"
                ));
            }
            let words = args::words(registration);
            let words: Vec<&[u8]> = words.iter().map(Vec::as_slice).collect();
            let id = run_registration(module, db, &words, Source::Node)?.id;
            replicate(ctx, db, c"WB.REGISTER", &words);
            if *sync {
                module.pipeline.backlog.borrow_mut().begin_sync(id);
                module.scans.restart(id);
                replicate(ctx, db, c"WB.SYNC", &[prefix]);
            }
            let prefix = printable(prefix);
            log::notice(&format!("another node of the cluster has registered prefix '{prefix}'"));
        }
        (Change::Unregister { discards }, _) => {
            unregister(module, ctx, db, prefix, *discards);
            let prefix = printable(prefix);
            log::notice(&format!("another node of the cluster has unregistered prefix '{prefix}'"));
        }
        _ => {}
    }
    Ok(())
}

fn unregister(module: &Module, ctx: Ctx<'_>, db: Db, prefix: &[u8], discards: bool) {
    let now_us = clock::now_us();
    module.pipeline.backlog.borrow_mut().unregister(db, prefix, discards, now_us);
    let words: &[&[u8]] = if discards { &[prefix, b"DISCARD"] } else { &[prefix] };
    replicate(ctx, db, c"WB.UNREGISTER", words);
}

/// Replicates the stamp that a prefix has now, if it has the revision.
fn revised(module: &Module, ctx: Ctx<'_>, (db, prefix): (Db, &[u8]), revision: Revision) {
    let of: Revised = Some((db, prefix.to_vec()));
    let stamp = module.pipeline.backlog.borrow().revisions.stamp(&of);
    if let Some(stamp) = stamp.filter(|stamp| stamp.revision == revision) {
        ctx.select(db);
        propagate::revision(ctx, Some(prefix), &stamp);
    }
}

fn replicate(ctx: Ctx<'_>, db: Db, command: &CStr, words: &[&[u8]]) {
    ctx.select(db);
    let words: Vec<Text> = words.iter().map(|word| Text::new(word)).collect();
    ctx.replicate(command, &words);
}
