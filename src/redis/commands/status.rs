//! WB.STATUS: the state of the module, or of one prefix, for an operator.

use super::all_nodes::{self, ALL_NODES};
use super::warning;
use crate::core::backlog::{Backlog, BacklogState, Figure};
use crate::core::delivery::lease::{LeaseState, hex};
use crate::core::ids::RegistrationId;
use crate::core::registration::args;
use crate::core::registration::printable::printable;
use crate::redis::api::clock;
use crate::redis::api::context::Ctx;
use crate::redis::api::raw::REDISMODULE_CTX_FLAGS_SLAVE;
use crate::redis::call::Call;
use crate::redis::command_spec::{PREFIX, Spec};
use crate::redis::durability_warnings;
use crate::redis::event_loop::key_scan;
use crate::redis::pipeline::Pipeline;

/// The declaration of the command.
pub const SPEC: Spec = Spec {
    name: c"WB.STATUS",
    run: Some(command),
    flags: c"readonly fast allow-stale no-mandatory-keys",
    acl: c"read fast",
    arity: -1,
    summary: c"Reports whether MongoDB is reachable, how far it is behind, and why.",
    complexity: c"O(N) where N is the number of registrations",
    since: c"0.1.0",
    args: &[PREFIX, ALL_NODES],
    keys: None,
    syntax: &["STATUS [<prefix>] [CLUSTER]"],
    help: &["Whether MongoDB is reachable, and how far it is behind, since when and why."],
};

/// The first keys that a verification has found, of each kind.
const KEYS_OF_VERIFY: [&[u8]; 3] =
    [b"verify_missing_keys", b"verify_different_keys", b"verify_extra_keys"];

/// Runs the command.
fn command(call: &Call<'_>) {
    if let Some(words) = all_nodes::without_option(call, &call.words) {
        return all_nodes::ask(call, words);
    }
    let mut backlog = call.module.pipeline.backlog.borrow_mut();
    let sharing = backlog.sharing_warning();
    let backlog = backlog.up_to_date(clock::now_us());
    match call.arguments() {
        [] => module_status(call, backlog, sharing),
        [prefix] => match backlog.registry.find_live(call.db, prefix) {
            Some(id) => prefix_status(call, backlog, id),
            None => call.no_registration(backlog, prefix),
        },
        _ => call.reply.wrong_arity(),
    }
}

fn module_status(call: &Call<'_>, backlog: &Backlog, sharing: Option<String>) {
    let reply = call.reply;
    let state = backlog.state(clock::now_us());
    let kept = durability_warnings::all(call.ctx).into_iter().map(str::to_owned);
    let mut warnings: Vec<String> = backlog.pause_warning().into_iter().chain(kept).collect();
    warnings.extend(limit_warning(backlog));
    warnings.extend(sharing);
    warnings.extend(backlog.key_warnings());
    warnings.extend(blocked_warning(backlog));
    if let LeaseState::Refused { error } = &backlog.lease.state {
        warnings.push(error.clone());
    }
    warnings.extend(call.module.pipeline.sources.borrow().warning().map(str::to_owned));
    warnings.extend(call.module.peers.warning(clock::now_us()));
    warnings.extend(backlog.handover_warning(clock::now_us()));
    warnings.extend(warning::of_prefixes(backlog));
    let warnings = warnings.join("; ");
    let figures = figures(&state, &call.module.pipeline);
    reply.map(figures.len() + 9);
    reply.text_field("version", env!("CARGO_PKG_VERSION").as_bytes());
    reply.text_field("role", role(call.ctx).as_bytes());
    reply.text_field("link", state.link.as_bytes());
    reply.text_field("link_error", state.link_error.as_bytes());
    reply.text_field("last_error", backlog.last_error().as_bytes());
    reply.text_field("lease", backlog.lease.state.name().as_bytes());
    let shard = backlog.lease.shard().map(|shard| hex(&shard.id)).unwrap_or_default();
    reply.text_field("shard", shard.as_bytes());
    figures.iter().for_each(|(name, value)| reply.number_field(name, *value));
    reply.text_field("warning", warnings.as_bytes());
    reply.bytes(b"prefixes");
    reply.array(state.registrations);
    for active in backlog.registry.live_ids().filter_map(|id| backlog.registry.at(id)) {
        reply.bytes(&active.registration.prefix);
    }
}

fn prefix_status(call: &Call<'_>, backlog: &Backlog, id: RegistrationId) {
    let reply = call.reply;
    let Some(state) = backlog.prefix_state(id, clock::now_us()) else {
        return;
    };
    let registration = &state.active.registration;
    let options = args::pairs(registration);
    let schema = registration.schema.as_deref().map(args::schema::words).unwrap_or_default();
    let figures = state.figures(key_scan::percent(call.ctx, state.active.scanned));
    let read_through = args::read_through(registration);
    let mode = args::mode(registration);
    let texts = 15 + options.len() + usize::from(!schema.is_empty());
    reply.map(figures.len() + texts);
    reply.text_field("prefix", &registration.prefix);
    reply.number_field(c"db", u64::from(registration.db.0));
    reply.text_field("namespace", registration.namespace.to_string().as_bytes());
    for (option, value) in options {
        reply.text_field(&option.to_ascii_lowercase(), value.as_bytes());
    }
    reply.number_field(c"whole", u64::from(registration.key_whole));
    reply.number_field(c"shared", u64::from(registration.shared));
    reply.number_field(c"unwrap", u64::from(registration.unwraps));
    reply.text_field("mode", mode.as_bytes());
    reply.text_field("readthrough", read_through.as_bytes());
    reply.bytes(b"exclude");
    reply.array(registration.exclude.len());
    registration.exclude.iter().for_each(|glob| reply.bytes(glob.text()));
    if !schema.is_empty() {
        reply.bytes(b"schema");
        reply.array(schema.len());
        schema.iter().for_each(|word| reply.bytes(word));
    }
    reply.text_field("last_error", backlog.error_of(id).as_bytes());
    reply.text_field("load_error", state.load.error.as_bytes());
    reply.text_field("verify_error", state.verify.error.as_bytes());
    for (name, keys) in KEYS_OF_VERIFY.iter().zip(&state.verify.keys) {
        reply.bytes(name);
        reply.array(keys.len());
        keys.iter().for_each(|key| reply.bytes(key));
    }
    figures.iter().for_each(|(name, value)| reply.number_field(name, *value));
}

/// `master` or `replica`.
pub fn role(ctx: Ctx<'_>) -> &'static str {
    if ctx.flags() & REDISMODULE_CTX_FLAGS_SLAVE != 0 { "replica" } else { "master" }
}

/// All figures of the module.
fn figures(state: &BacklogState<'_>, pipeline: &Pipeline) -> Vec<Figure> {
    let mut figures = state.figures();
    let (in_flight, allowed) = pipeline.concurrency();
    figures.extend([
        (c"batches_in_flight", u64::from(in_flight)),
        (c"batches_allowed", u64::from(allowed)),
        (c"lease_epoch", state.lease_epoch),
        (c"own_hits_total", pipeline.opener.hits.get()),
        (c"own_misses_total", pipeline.opener.misses.get()),
    ]);
    figures
}

/// All figures, with those that stand for the texts of WB.STATUS, for INFO and WB.METRICS.
pub fn numbers(state: &BacklogState<'_>, pipeline: &Pipeline) -> Vec<Figure> {
    let mut numbers = vec![
        (c"link_up", u64::from(state.link == "up")),
        (c"link_down", u64::from(state.link == "down")),
        (c"lease_held", u64::from(state.lease_epoch > 0)),
    ];
    numbers.extend(figures(state, pipeline));
    numbers.push((c"broken", 0));
    numbers
}

/// A sentence that names the prefixes with blocked keys.
fn blocked_warning(backlog: &Backlog) -> Option<String> {
    let prefixes: Vec<String> = backlog
        .blocked_keys()
        .map(|(of, keys)| format!("{keys} of '{}'", printable(&of.prefix)))
        .collect();
    (!prefixes.is_empty()).then(|| {
        format!(
            "MongoDB does not let the documents of some keys be written now, which wait and are \
             tried again: {}; last_error of the prefix says why",
            prefixes.join(", ")
        )
    })
}

/// A sentence that names the prefixes with missed changes.
fn limit_warning(backlog: &Backlog) -> Option<String> {
    let prefixes: Vec<String> = backlog
        .rescans_of(None)
        .iter()
        .map(|(_, registration)| format!("'{}'", printable(&registration.prefix)))
        .collect();
    (!prefixes.is_empty()).then(|| {
        format!(
            "dirty-max-bytes was reached: all keys under {} are written again when MongoDB is \
             back, because not every change could be remembered",
            prefixes.join(", ")
        )
    })
}
