//! WB.METRICS: all figures in Prometheus' text format.

mod help;

use super::status;
use crate::core::backlog::Backlog;
use crate::core::delivery::buckets::Buckets;
use crate::core::exposition::{Exposition, Kind, Labels, Unit, label_text, metric_of};
use crate::core::registration::args::metrics;
use crate::redis::api::clock;
use crate::redis::call::Call;
use crate::redis::command_spec::{ArgKind, Spec, option};

/// Usual size of the figures of the module, and of those of a prefix, bytes.
const MODULE_BYTES: usize = 12_000;
const PREFIX_BYTES: usize = 1_800;

/// The declaration of the command.
pub const SPEC: Spec = Spec {
    name: c"WB.METRICS",
    run: Some(command),
    flags: c"readonly allow-stale no-mandatory-keys",
    acl: c"read",
    arity: -1,
    summary: c"Reports all figures in the text format of Prometheus.",
    complexity: c"O(N) where N is the number of prefixes that are reported",
    since: c"0.1.0",
    args: &[option(c"prefixes", c"PREFIXES", ArgKind::Number)],
    keys: None,
    syntax: &["METRICS [PREFIXES <n>]"],
    help: &[
        "All figures, of the first <n> prefixes too (default 100), in Prometheus' text format.",
    ],
};

/// What is reported once the module is broken: its state can no longer be read.
pub fn when_broken() -> String {
    let mut out = Exposition::default();
    write_gauge(&mut out, "broken", 1);
    out.finish()
}

fn command(call: &Call<'_>) {
    let most = match metrics::parse(call.arguments()) {
        Ok(most) => most,
        Err(why) => return call.reply.error(&why),
    };
    let mut backlog = call.module.pipeline.backlog.borrow_mut();
    let backlog = backlog.up_to_date(clock::now_us());
    let prefixes = backlog.registry.live_len().min(most);
    let mut out = Exposition::with_capacity(MODULE_BYTES + prefixes * PREFIX_BYTES);
    write_module(&mut out, call, backlog);
    write_prefixes(&mut out, backlog, most);
    call.reply.bytes(out.finish().as_bytes());
}

fn write_gauge(out: &mut Exposition, figure: &str, value: u64) {
    let (metric, kind, unit) = metric_of("", figure);
    out.family(&metric, kind, help::of(figure));
    out.sample(&metric, &Labels::default(), value, unit);
}

fn write_module(out: &mut Exposition, call: &Call<'_>, backlog: &Backlog) {
    let state = backlog.state(clock::now_us());
    let version = ("version", env!("CARGO_PKG_VERSION"));
    let labels = Labels::new(&[version, ("role", status::role(call.ctx))]);
    out.family("writebehind_info", Kind::Gauge, help::of("info"));
    out.sample("writebehind_info", &labels, 1, Unit::One);
    for (name, value) in status::numbers(&state, &call.module.pipeline) {
        write_gauge(out, name.to_str().unwrap_or_default(), value);
    }
    let metric = "writebehind_dead_letters_by_code";
    out.family(metric, Kind::Gauge, help::of("dead_letters_by_code"));
    for (code, count) in backlog.dead.codes() {
        let labels = Labels::new(&[("code", &code.to_string())]);
        out.sample(metric, &labels, count as u64, Unit::One);
    }
    write_histogram(out, "writebehind_lag_seconds", help::of("lag"), &backlog.times.lag);
    write_histogram(out, "writebehind_batch_seconds", help::of("batch"), &backlog.times.batch);
}

fn write_histogram(out: &mut Exposition, name: &str, help: &str, buckets: &Buckets) {
    out.family(name, Kind::Histogram, help);
    out.histogram(name, buckets.cumulative(), buckets.sum_us(), buckets.count());
}

/// The figures of the first `most` prefixes. The format requires all samples of a metric in one group.
fn write_prefixes(out: &mut Exposition, backlog: &Backlog, most: usize) {
    let now_us = clock::now_us();
    let omitted = backlog.registry.live_len().saturating_sub(most);
    write_gauge(out, "prefixes_omitted", omitted as u64);
    let prefixes: Vec<_> = (backlog.registry.live_ids().take(most))
        .filter_map(|id| {
            let state = backlog.prefix_state(id, now_us)?;
            Some((&*state.active.registration, state.figures(0)))
        })
        .collect();
    let Some((_, names)) = prefixes.first() else { return };
    out.family("writebehind_prefix_info", Kind::Gauge, help::of("prefix_info"));
    let mut labels = Vec::with_capacity(prefixes.len());
    for (registration, _) in &prefixes {
        let (db, prefix) = (registration.db.to_string(), label_text(&registration.prefix));
        let (db, prefix) = (("db", &*db), ("prefix", &*prefix));
        let namespace = registration.namespace.to_string();
        let with_namespace = Labels::new(&[db, prefix, ("namespace", &namespace)]);
        out.sample("writebehind_prefix_info", &with_namespace, 1, Unit::One);
        labels.push(Labels::new(&[db, prefix]));
    }
    for (at, (name, _)) in names.iter().enumerate() {
        let name = name.to_str().unwrap_or_default();
        // It needs the number of keys of the database, which a command knows of its own one only.
        if name == "sync_percent" {
            continue;
        }
        let (metric, kind, unit) = metric_of("prefix_", name);
        out.family(&metric, kind, help::of_prefix(name));
        for (labels, (_, figures)) in labels.iter().zip(&prefixes) {
            if let Some((_, value)) = figures.get(at) {
                out.sample(&metric, labels, *value, unit);
            }
        }
    }
}
