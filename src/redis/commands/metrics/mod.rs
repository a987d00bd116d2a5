//! WB.METRICS: all figures in Prometheus' text format.

mod help;

use super::status;
use crate::core::backlog::{Backlog, Figure};
use crate::core::delivery::buckets::Buckets;
use crate::core::exposition::{Exposition, Kind, Unit, label_text, metric_of};
use crate::core::ids::RegistrationId;
use crate::redis::api::clock;
use crate::redis::call::Call;
use crate::redis::command_spec::Spec;

/// Number of registrations with metrics of their own. All of them are one reply, which the server
/// thread writes without a break: measured at 0.9 ms for so many.
const MOST_PREFIXES: usize = 256;

/// The declaration of the command.
pub const SPEC: Spec = Spec {
    name: c"WB.METRICS",
    run: Some(command),
    flags: c"readonly allow-stale no-mandatory-keys",
    acl: c"read",
    arity: 1,
    summary: c"Reports all figures in the text format of Prometheus.",
    complexity: c"O(N) where N is the number of registrations, of which 256 at most are reported",
    since: c"0.1.0",
    args: &[],
    keys: None,
    syntax: &["METRICS"],
    help: &["All figures, of every prefix too, in the text format of Prometheus."],
};

/// What is reported once the module is broken: its state can no longer be read.
pub fn when_broken() -> String {
    let mut out = Exposition::default();
    out.family("writebehind_broken", Kind::Gauge, help::of("broken"));
    out.sample("writebehind_broken", &[], 1, Unit::One);
    out.finish()
}

fn command(call: &Call<'_>) {
    let mut backlog = call.module.pipeline.backlog.borrow_mut();
    let backlog = backlog.up_to_date(clock::now_us());
    let mut out = Exposition::default();
    write_module(&mut out, call, backlog);
    write_prefixes(&mut out, backlog);
    call.reply.bytes(out.finish().as_bytes());
}

fn write_module(out: &mut Exposition, call: &Call<'_>, backlog: &Backlog) {
    let state = backlog.state(clock::now_us());
    let version = ("version", env!("CARGO_PKG_VERSION"));
    let role = ("role", status::role(call.ctx));
    out.family("writebehind_info", Kind::Gauge, help::of("info"));
    out.sample("writebehind_info", &[version, role], 1, Unit::One);
    let pipeline = &call.module.pipeline;
    for (name, value) in status::numbers(&state, pipeline) {
        let name = name.to_str().unwrap_or_default();
        let (metric, kind, unit) = metric_of("", name);
        out.family(&metric, kind, help::of(name));
        out.sample(&metric, &[], value, unit);
    }
    let metric = "writebehind_dead_letters_by_code";
    out.family(metric, Kind::Gauge, help::of("dead_letters_by_code"));
    for (code, count) in backlog.dead.codes() {
        out.sample(metric, &[("code", &code.to_string())], count as u64, Unit::One);
    }
    let lag = "Time from change to acknowledgement.";
    write_histogram(out, "writebehind_lag_seconds", lag, &backlog.times.lag);
    let batch = "Time from sending a batch to MongoDB's acknowledgement.";
    write_histogram(out, "writebehind_batch_seconds", batch, &backlog.times.batch);
}

fn write_histogram(out: &mut Exposition, name: &str, help: &str, buckets: &Buckets) {
    out.family(name, Kind::Histogram, help);
    out.histogram(name, buckets.cumulative(), buckets.sum_us(), buckets.count());
}

/// The figures of each prefix. All samples of a metric stand together, as the format requires.
fn write_prefixes(out: &mut Exposition, backlog: &Backlog) {
    let now_us = clock::now_us();
    let ids = backlog.registry.live_ids().take(MOST_PREFIXES);
    let figures_of = |id: RegistrationId| -> Option<(Labels, Vec<Figure>)> {
        let state = backlog.prefix_state(id, now_us)?;
        Some((Labels::of(backlog, id)?, state.figures(0)))
    };
    let prefixes: Vec<(Labels, Vec<Figure>)> = ids.filter_map(figures_of).collect();
    let omitted = backlog.registry.live_len().saturating_sub(MOST_PREFIXES);
    out.family("writebehind_prefixes_omitted", Kind::Gauge, help::of("prefixes_omitted"));
    out.sample("writebehind_prefixes_omitted", &[], omitted as u64, Unit::One);
    let Some((_, names)) = prefixes.first() else { return };
    out.family("writebehind_prefix_info", Kind::Gauge, "1, with the namespace as a label.");
    for (Labels { db, prefix, namespace }, _) in &prefixes {
        let labels = [("db", &**db), ("prefix", prefix), ("namespace", namespace)];
        out.sample("writebehind_prefix_info", &labels, 1, Unit::One);
    }
    for (at, (name, _)) in names.iter().enumerate() {
        let name = name.to_str().unwrap_or_default();
        // The number of keys of each database is needed for it, which a command knows of its own.
        if name == "sync_percent" {
            continue;
        }
        let (metric, kind, unit) = metric_of("prefix_", name);
        out.family(&metric, kind, help::of(name));
        for (labels, figures) in &prefixes {
            let Some((_, value)) = figures.get(at) else { continue };
            let labels = [("db", &*labels.db), ("prefix", &labels.prefix)];
            out.sample(&metric, &labels, *value, unit);
        }
    }
}

/// The labels of a registration.
struct Labels {
    db: String,
    prefix: String,
    namespace: String,
}

impl Labels {
    fn of(backlog: &Backlog, id: RegistrationId) -> Option<Labels> {
        let registration = &backlog.registry.at(id)?.registration;
        Some(Labels {
            db: registration.db.to_string(),
            prefix: label_text(&registration.prefix),
            namespace: registration.namespace.to_string(),
        })
    }
}
