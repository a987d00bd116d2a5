//! WB.STATUS: how things stand, for an operator at a glance.

use super::warning;
use crate::core::backlog::{Counters, Engine};
use crate::core::registration::args;
use crate::redis::api::clock;
use crate::redis::api::raw::REDISMODULE_CTX_FLAGS_SLAVE;
use crate::redis::api::reply::Reply;
use crate::redis::call::Call;
use crate::redis::durability_warnings;
use crate::redis::event_loop::key_scan;

/// Runs the command.
pub fn command(call: &Call<'_>) {
    let mut engine = call.module.pipeline.engine.borrow_mut();
    engine.fold(clock::now_us());
    match call.arguments() {
        [] => {
            let sharing = engine.sharing_warning();
            module_status(call, &engine, sharing);
        }
        [prefix] => match engine.live_slot(call.db, prefix) {
            Some(slot) => prefix_status(call, &engine, slot),
            None => call.no_registration(&engine, prefix),
        },
        _ => call.reply.wrong_arity(),
    }
}

fn module_status(call: &Call<'_>, engine: &Engine, sharing: Option<String>) {
    let reply = call.reply;
    let state = engine.state(clock::now_us());
    let kept = durability_warnings::all(call.ctx).into_iter().map(str::to_owned);
    let mut warnings: Vec<String> = engine.pause_warning().into_iter().chain(kept).collect();
    warnings.extend(limit_warning(engine));
    warnings.extend(sharing);
    warnings.extend(engine.key_warnings());
    warnings.extend(blocked_warning(engine));
    warnings.extend(call.module.pipeline.sources.borrow().warning().map(str::to_owned));
    warnings.extend(warning::of_prefixes(engine));
    let warnings = warnings.join("; ");
    reply.map(34);
    reply.text_field("version", env!("CARGO_PKG_VERSION").as_bytes());
    let replica = call.ctx.flags() & REDISMODULE_CTX_FLAGS_SLAVE != 0;
    reply.text_field("role", if replica { b"replica" } else { b"master" });
    reply.text_field("link", state.link.as_bytes());
    reply.text_field("link_error", state.link_error.as_bytes());
    reply.number_field(c"link_since_unix_ms", state.link_since_unix_ms);
    reply.number_field(c"paused", u64::from(state.paused));
    reply.number_field(c"registrations", state.registrations as u64);
    reply.number_field(c"dirty_keys", state.dirty_keys as u64);
    reply.number_field(c"in_flight_keys", state.in_flight_keys as u64);
    reply.number_field(c"blocked_keys", state.blocked_keys as u64);
    reply.number_field(c"dead_letters", state.dead_letters as u64);
    reply.number_field(c"resting", state.resting as u64);
    reply.number_field(c"oldest_dirty_ms", state.oldest_dirty_ms);
    reply.number_field(c"rescans_pending", state.rescans_pending as u64);
    reply.number_field(c"syncs_pending", state.syncs_pending as u64);
    totals(reply, &state.counters);
    reply.number_field(c"lag_p50_us", state.lag.p50_us);
    reply.number_field(c"lag_p99_us", state.lag.p99_us);
    reply.text_field("last_error", engine.last_error().as_bytes());
    reply.number_field(c"last_write_unix_ms", state.counters.last_write_unix_ms);
    reply.number_field(c"memory_bytes", state.memory_bytes as u64);
    reply.number_field(c"lost_total", state.lost_total);
    reply.number_field(c"slice_max_us", state.slice_max_us);
    reply.number_field(c"own_hits_total", call.module.pipeline.opener.hits.get());
    reply.number_field(c"own_misses_total", call.module.pipeline.opener.misses.get());
    reply.text_field("warning", warnings.as_bytes());
    reply.bytes(b"prefixes");
    reply.array(state.registrations);
    for slot in engine.live_slots().filter_map(|slot| engine.slot(slot)) {
        reply.bytes(&slot.registration.prefix);
    }
}

fn prefix_status(call: &Call<'_>, engine: &Engine, slot: u16) {
    let reply = call.reply;
    let Some(state) = engine.prefix_state(slot, clock::now_us()) else {
        return;
    };
    let registration = &state.slot.registration;
    let options = args::pairs(registration);
    let schema = registration.schema.as_deref().map(args::schema::words).unwrap_or_default();
    reply.map(options.len() + 29 + usize::from(!schema.is_empty()));
    reply.text_field("prefix", &registration.prefix);
    reply.number_field(c"db", u64::from(registration.db));
    reply.text_field("namespace", registration.namespace.to_string().as_bytes());
    for (option, value) in options {
        reply.text_field(&option.to_ascii_lowercase(), value.as_bytes());
    }
    reply.number_field(c"whole", u64::from(registration.key_whole));
    reply.number_field(c"shared", u64::from(registration.shared));
    reply.number_field(c"unwrap", u64::from(registration.unwraps));
    reply.bytes(b"exclude");
    reply.array(registration.exclude.len());
    registration.exclude.iter().for_each(|glob| reply.bytes(glob.text()));
    if !schema.is_empty() {
        reply.bytes(b"schema");
        reply.array(schema.len());
        schema.iter().for_each(|word| reply.bytes(word));
    }
    reply.number_field(c"paused", u64::from(state.paused));
    reply.number_field(c"dirty_keys", state.dirty_keys as u64);
    reply.number_field(c"in_flight_keys", state.in_flight_keys as u64);
    reply.number_field(c"blocked_keys", state.blocked_keys as u64);
    reply.number_field(c"dead_letters", state.dead_letters as u64);
    reply.number_field(c"oldest_dirty_ms", state.oldest_dirty_ms);
    reply.number_field(c"rescans_pending", u64::from(state.rescan_pending));
    let scans = state.slot.sync_pending || state.rescan_pending;
    reply.number_field(c"sync_pending", u64::from(state.slot.sync_pending));
    reply.number_field(c"sync_marked", state.slot.scanned.marked);
    let percent = if scans { key_scan::percent(call.ctx, state.slot.scanned) } else { 100 };
    reply.number_field(c"sync_percent", percent);
    totals(reply, &state.counters);
    reply.number_field(c"lag_p50_us", state.lag.p50_us);
    reply.number_field(c"lag_p99_us", state.lag.p99_us);
    reply.text_field("last_error", engine.error_of(slot).as_bytes());
    reply.number_field(c"last_write_unix_ms", state.counters.last_write_unix_ms);
}

/// Which prefixes have keys whose documents cannot be written now, in a sentence.
fn blocked_warning(engine: &Engine) -> Option<String> {
    let prefixes: Vec<String> = engine
        .blocked_keys()
        .map(|(of, keys)| format!("{keys} of '{}'", String::from_utf8_lossy(&of.prefix)))
        .collect();
    (!prefixes.is_empty()).then(|| {
        format!(
            "MongoDB does not let the documents of some keys be written now, which wait and are \
             tried again: {}; last_error of the prefix says why",
            prefixes.join(", ")
        )
    })
}

/// Which prefixes missed changes, in a sentence.
fn limit_warning(engine: &Engine) -> Option<String> {
    let prefixes: Vec<String> = engine
        .rescans_of(None)
        .iter()
        .map(|(_, registration)| format!("'{}'", String::from_utf8_lossy(&registration.prefix)))
        .collect();
    (!prefixes.is_empty()).then(|| {
        format!(
            "dirty-max-bytes was reached: all keys under {} are written again when MongoDB is \
             back, because not every change could be remembered",
            prefixes.join(", ")
        )
    })
}

/// Eight pairs.
fn totals(reply: Reply<'_>, counters: &Counters) {
    for (name, total) in [
        (c"captured_total", counters.captured_total),
        (c"coalesced_total", counters.coalesced_total),
        (c"written_total", counters.written_total),
        (c"deleted_total", counters.deleted_total),
        (c"failed_total", counters.failed_total),
        (c"retries_total", counters.retries_total),
        (c"batches_total", counters.batches_total),
        (c"bytes_total", counters.bytes_total),
    ] {
        reply.number_field(name, total);
    }
}
