//! SHUTDOWN: keeps writing for a bounded time, then stops the background thread, and answers the clients that are held.
//!
//! The server has already saved its data. Keys that are written here are therefore still dirty in
//! the file and are written once more after the next start, which is idempotent. Keys that are not
//! written in time are in the file as well.

use std::time::Duration;

use super::api::context::{Ctx, NOT_NOW};
use super::api::{clock, log, run_for_client};
use super::state::{Module, module};
use crate::core::backlog::FlushScope;
use crate::worker::Worker;

/// Maximum wait for the thread's end, after the drain.
const STOP: Duration = Duration::from_secs(1);
/// Slice during the drain, microseconds: the server handles no commands any more, so it may be long.
const SLICE_US: u64 = 50_000;

/// Writes until no key is dirty except those of paused registrations, or `shutdown-drain-ms` has
/// passed. If the link is known to be down, it does not wait.
pub fn drain(ctx: Ctx<'_>) {
    let module = module();
    let (writers, readers) = (&module.through.writers, &module.through.readers);
    let has_clients = !writers.is_empty() || !readers.is_empty();
    // A replica writes nothing, and partially loaded data must not be written.
    if ctx.flags() & NOT_NOW == 0 {
        write_until_timeout(module, ctx);
    }
    module.pipeline.stop_worker(STOP);
    module.is_shut_down.set(true);
    if has_clients {
        // The server would close their connections without a reply.
        writers.shut_down(&module.pipeline, ctx);
        readers.shut_down(ctx);
        module.through.filter.last_ctx().handle_events();
        run_for_client::await_threads(ctx);
    }
}

fn write_until_timeout(module: &Module, ctx: Ctx<'_>) {
    let pipeline = &module.pipeline;
    let limit_ms = u64::try_from(pipeline.settings().shutdown_drain_ms).unwrap_or(0);
    let end_us = clock::now_us() + limit_ms * 1000;
    pipeline.backlog.borrow_mut().stop_letter_retries();
    settle(module);
    let is_down = pipeline.backlog.borrow().link.name() == "down";
    let end_us = if is_down { 0 } else { end_us };
    let waiter = pipeline.backlog.borrow_mut().flush(FlushScope::All, clock::now_us());
    let mut has_replies = false;
    loop {
        // These acknowledgements are not propagated: the AOF is already closed.
        settle(module);
        // A slow key, or a collection that refuses every write, does not keep the clients of other keys.
        has_replies |= module.through.writers.answer_at_end(pipeline, ctx);
        if has_replies {
            module.through.filter.ctx().handle_events();
        }
        let (dirty, unpaused) = {
            let backlog = pipeline.backlog.borrow();
            (backlog.dirty_len(), backlog.dirty_unpaused())
        };
        let now_us = clock::now_us();
        if unpaused == 0 || now_us >= end_us {
            let rescans = pipeline.backlog.borrow().rescans_len();
            report((unpaused, is_down), dirty.saturating_sub(unpaused), rescans);
            break;
        }
        // Nor are the acknowledgements of keys that needed no write.
        module.filler.send_due(pipeline, ctx, now_us, SLICE_US);
        if let Some(worker) = &*pipeline.worker.borrow() {
            wait(worker, end_us.saturating_sub(now_us).min(SLICE_US));
        }
    }
    pipeline.backlog.borrow_mut().end_flush(waiter);
}

fn settle(module: &Module) {
    module.reports.settle(module.report_parts(), SLICE_US, false, |_| ());
}

fn wait(worker: &Worker, limit_us: u64) {
    worker.wait_for_report(Duration::from_micros(limit_us));
}

fn report((dirty, is_down): (usize, bool), paused: usize, rescans: usize) {
    if paused > 0 {
        log::warning(&format!("{paused} keys were not written to MongoDB: writing is paused"));
    }
    if rescans > 0 {
        log::warning(&format!(
            "the keys of {rescans} prefixes must be scanned for changes that were missed past \
             dirty-max-bytes: that is done after the next start"
        ));
    }
    if dirty > 0 && is_down {
        log::warning(&format!("{dirty} keys were not written to MongoDB, which is not reached"));
    } else if dirty > 0 {
        log::warning(&format!(
            "{dirty} keys were not written to MongoDB before shutdown-drain-ms was over"
        ));
    } else if paused == 0 && rescans == 0 {
        log::notice("everything is written to MongoDB");
    }
}
