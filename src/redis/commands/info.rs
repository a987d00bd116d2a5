//! `INFO writebehind`: the figures of WB.STATUS as numbers that a monitoring system can read.

use std::ffi::{CStr, c_int};

use crate::core::backlog::State;
use crate::redis::api::clock;
use crate::redis::api::context::Ctx;
use crate::redis::api::guard::{guard, is_broken};
use crate::redis::api::key::KeyOpener;
use crate::redis::api::raw;
use crate::redis::api::raw::api;
use crate::redis::state::module;

/// Registers the section.
pub fn register(ctx: Ctx<'_>) {
    // SAFETY: called in RedisModule_OnLoad with its context; the callback is ours.
    unsafe { api!(RedisModule_RegisterInfoFunc)(ctx.raw(), Some(info)) };
}

unsafe extern "C" fn info(ctx: *mut raw::RedisModuleInfoCtx, for_crash_report: c_int) {
    // A crash may have happened anywhere, on any thread: our state must not be looked at.
    if for_crash_report != 0 {
        return;
    }
    if is_broken() {
        // SAFETY: as below.
        unsafe {
            api!(RedisModule_InfoAddSection)(ctx, std::ptr::null());
            api!(RedisModule_InfoAddFieldULongLong)(ctx, c"broken".as_ptr(), 1);
        }
    }
    guard((), || {
        let engine = module().pipeline.engine.borrow();
        let state = engine.state(clock::now_us());
        // SAFETY: the context is the server's; a section without a name is the module's own.
        unsafe { api!(RedisModule_InfoAddSection)(ctx, std::ptr::null()) };
        for (name, value) in numbers(&state, &module().pipeline.opener) {
            // SAFETY: as above; the name is copied.
            unsafe { api!(RedisModule_InfoAddFieldULongLong)(ctx, name.as_ptr(), value) };
        }
    });
}

/// Every figure by its name in WB.STATUS; `link_up` and `link_down` stand for `link`.
pub fn numbers(state: &State<'_>, opener: &KeyOpener) -> [(&'static CStr, u64); 30] {
    let counters = &state.counters;
    [
        (c"link_up", u64::from(state.link == "up")),
        (c"link_down", u64::from(state.link == "down")),
        (c"link_since_unix_ms", state.link_since_unix_ms),
        (c"paused", u64::from(state.paused)),
        (c"registrations", state.registrations as u64),
        (c"dirty_keys", state.dirty_keys as u64),
        (c"in_flight_keys", state.in_flight_keys as u64),
        (c"blocked_keys", state.blocked_keys as u64),
        (c"dead_letters", state.dead_letters as u64),
        (c"resting", state.resting as u64),
        (c"oldest_dirty_ms", state.oldest_dirty_ms),
        (c"rescans_pending", state.rescans_pending as u64),
        (c"syncs_pending", state.syncs_pending as u64),
        (c"captured_total", counters.captured_total),
        (c"coalesced_total", counters.coalesced_total),
        (c"written_total", counters.written_total),
        (c"deleted_total", counters.deleted_total),
        (c"failed_total", counters.failed_total),
        (c"retries_total", counters.retries_total),
        (c"batches_total", counters.batches_total),
        (c"bytes_total", counters.bytes_total),
        (c"lag_p50_us", state.lag.p50_us),
        (c"lag_p99_us", state.lag.p99_us),
        (c"last_write_unix_ms", counters.last_write_unix_ms),
        (c"memory_bytes", state.memory_bytes as u64),
        (c"lost_total", state.lost_total),
        (c"slice_max_us", state.slice_max_us),
        (c"own_hits_total", opener.hits.get()),
        (c"own_misses_total", opener.misses.get()),
        (c"broken", 0),
    ]
}
