//! The module's work in each iteration of the server's event loop, at two points.
//!
//! Before the loop sleeps: changes are folded, reports of finished batches are handled, their keys
//! acknowledged, the acknowledgements replicated, and WB.FLUSH clients replied to. The server then
//! writes the AOF and the replies.
//!
//! After the loop has slept: values of due keys are read and sent. At this point every value that
//! can be read is in the AOF already (and on disk with `appendfsync always`), so MongoDB never gets
//! a value that Redis would not have after a crash of its own.

use super::api::context::{Ctx, NOT_NOW, must_not_replicate};
use super::api::raw;
use super::api::{clock, wake};
use super::event_loop::{dead_letter_retries, lease, problem_log, rewrites};
use super::pipeline::Pipeline;
use super::replication::propagate;
use super::state::{Module, module};
use super::through::Through;
use super::{answers, exchange, handover};
use crate::core::cluster::NodeId;
use crate::core::cluster::message::Message;

/// Called when the event loop is about to sleep.
pub fn before_sleep(ctx: Ctx<'_>) {
    let module = module();
    let pipeline = &module.pipeline;
    let began_us = clock::now_us();
    pipeline.client_time.ends(began_us);
    let synced = module.scans.step(pipeline, ctx);
    let take_changed = || pipeline.backlog.borrow_mut().take_changed(began_us);
    let mut changed = take_changed();
    let redis70 = module.redis70.get();
    let retain = || redis70.is_some_and(|redis70| redis70.step(pipeline, ctx));
    let retained = retain();
    // Look-ahead retention opens keys, which may have deleted expired ones.
    changed |= retained && take_changed();
    let reported = module.reports.take(module.report_parts(), ctx) | rewrites::mark(pipeline, ctx);
    let loaded = module.loads.step(pipeline, ctx, began_us);
    let verified = module.verification.step(pipeline, ctx, clock::now_us());
    let found = module.through.finds.step(pipeline, ctx, clock::now_us());
    let exchanged = exchange_messages(module, ctx, began_us);
    let worked = synced
        | loaded
        | found
        | verified
        | exchanged
        | retained
        | reported
        | dead_letter_retries::retry(pipeline, ctx);
    let Through { readers, filter, writers, .. } = &module.through;
    if readers.answer(pipeline, ctx, (filter, writers), || module.units.end()) {
        // What these commands have written may be evicted before the next one.
        retain();
    }
    writers.answer(pipeline, ctx);
    if changed || worked || pipeline.backlog.borrow_mut().take_changed(began_us) {
        reschedule(module);
    }
    let has_flushes = !module.flushes.is_empty() || !module.node_flushes.is_empty();
    if changed || worked || has_flushes {
        module.flushes.answer(pipeline);
    }
    if module.nodes.is_on() {
        answers::step(module, ctx, began_us);
        answers::send(module, ctx, module.asks.step(began_us), began_us);
    }
    if worked {
        note_slice(pipeline, began_us);
    }
    lease::step(pipeline, ctx);
    pipeline.follow_need();
    problem_log::link(&mut pipeline.backlog.borrow_mut());
    problem_log::trouble(pipeline, began_us);
    module.missed_log.missed(pipeline);
    // While there is more work due at once, the loop must not sleep.
    let flags = ctx.flags();
    let retention_us = || redis70.map_or(u64::MAX, |redis70| redis70.next_us(pipeline));
    let due_us = if flags & NOT_NOW == 0 {
        let at_once = module.reports.has_any(pipeline)
            || module.scans.is_pending(pipeline, ctx)
            || module.nodes.has_any() && !must_not_replicate();
        let next_us = module.schedule.next_due_us.get().min(rewrites::due_us(pipeline));
        let next_us =
            next_us.min(module.flushes.next_us()).min(dead_letter_retries::due_us(pipeline));
        let next_us = next_us.min(module.loads.due_us(pipeline, ctx));
        let next_us = next_us.min(module.verification.due_us(pipeline, ctx));
        let next_us = next_us.min(module.through.finds.due_us(pipeline));
        let next_us = next_us.min(readers.due_us()).min(writers.due_us());
        let next_us = next_us.min(module.asks.next_us()).min(handover::due_us(module));
        if at_once { 0 } else { next_us.min(retention_us()) }
    } else if flags & NOT_NOW == raw::REDISMODULE_CTX_FLAGS_SLAVE {
        retention_us().min(handover::due_us(module))
    } else {
        u64::MAX
    };
    if module.schedule.set_timer(ctx, due_us) && redis70.is_some() {
        // Redis 7.0 has already computed how long it sleeps, without this timer: up to 1 / hz. The
        // next iteration includes the timer.
        wake::server();
    }
}

/// Handles messages of the other nodes of a cluster for at most one slice, and sends what is due. True if
/// registrations were changed.
fn exchange_messages(module: &Module, ctx: Ctx<'_>, began_us: u64) -> bool {
    let pipeline = &module.pipeline;
    if !module.nodes.is_on() {
        return false;
    }
    if ctx.flags() & NOT_NOW != 0 {
        // A replica gets registrations from its master. To others it may still look like a master.
        module.node_flushes.clear(pipeline);
        while let Some((from, message)) = module.nodes.take() {
            match message {
                Message::Flush { id, .. } => answers::nothing_to_flush(ctx, from, id),
                Message::TookOver { db, keys } => {
                    pipeline.backlog.borrow_mut().handed_over_to(db, keys);
                }
                other => take_answer(module, from, other, began_us),
            }
        }
        if ctx.flags() & NOT_NOW == raw::REDISMODULE_CTX_FLAGS_SLAVE {
            // It was the master of slots that have moved.
            handover::step(module, ctx, began_us);
        }
        return false;
    }
    if must_not_replicate() {
        return false;
    }
    let end_us = began_us + pipeline.slice_us(began_us);
    let mut changed = false;
    while let Some((from, message)) = module.nodes.take() {
        match message {
            Message::Digest(digest) => exchange::digest(module, ctx, from, digest),
            Message::Pull => exchange::pull(module, ctx, from),
            Message::Ask { id, db, words } => answers::ask(ctx, from, (id, db, &words)),
            Message::Flush { id, prefix } => {
                answers::flush(module, ctx, (from, id), prefix.as_ref(), began_us);
            }
            Message::Cancel { id } => answers::cancel(module, ctx, from, id),
            Message::Statements(statements) => {
                changed |= exchange::statements(module, ctx, &statements);
            }
            Message::HandOver { db, keys } => {
                changed |= handover::take(module, ctx, from, (db, &keys));
            }
            Message::TookOver { db, keys } => {
                pipeline.backlog.borrow_mut().handed_over_to(db, keys);
            }
            other => take_answer(module, from, other, began_us),
        }
        if clock::now_us() >= end_us {
            break;
        }
    }
    handover::step(module, ctx, began_us);
    changed | exchange::step(module, ctx, began_us)
}

/// An answer that a client of this node may wait for.
fn take_answer(module: &Module, from: NodeId, message: Message, now_us: u64) {
    match message {
        Message::Answer { id, reply } => module.asks.answered(from, id, reply),
        Message::Flushing { id } => module.asks.flushing(from, id, now_us),
        Message::Flushed { id, result } => module.asks.flushed(from, id, &result),
        _ => {}
    }
}

/// Called when the event loop has slept, before it runs any command.
pub fn after_sleep(ctx: Ctx<'_>) {
    let module = module();
    let pipeline = &module.pipeline;
    let now_us = clock::now_us();
    if module.schedule.next_due_us.get() > now_us || ctx.flags() & NOT_NOW != 0 {
        return pipeline.client_time.begins(now_us);
    }
    let clean = module.filler.send_due(pipeline, ctx, now_us, pipeline.slice_us(now_us));
    pipeline.backlog.borrow_mut().see_written(&clean.keys);
    propagate::replicate(ctx, &clean);
    reschedule(module);
    note_slice(pipeline, now_us);
    pipeline.client_time.begins(clock::now_us());
}

/// Records the longest uninterrupted time that the module has used the server thread.
fn note_slice(pipeline: &Pipeline, began_us: u64) {
    let took_us = clock::now_us() - began_us;
    let mut backlog = pipeline.backlog.borrow_mut();
    backlog.slice_max_us = backlog.slice_max_us.max(took_us);
}

/// Computes anew when the next batch can be sent.
fn reschedule(module: &Module) {
    let mut backlog = module.pipeline.backlog.borrow_mut();
    let filler = &module.filler;
    filler.large.drop_old(&backlog);
    let continues = filler.large.is_in_progress() || filler.can_continue(&backlog);
    let due_us = if continues { Some(0) } else { backlog.next_due_us() };
    module.schedule.next_due_us.set(due_us.unwrap_or(u64::MAX));
}
