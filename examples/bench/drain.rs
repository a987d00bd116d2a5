//! The rate at which dirty keys are written to MongoDB, compared with a bare loop of upserts.

use mongodb::bson::doc;

use crate::bare::{Bare, Shape};
use crate::plot;
use crate::report::{Goal, Report};
use crate::sample::{median, paired};
use crate::{cpu, load, servers};
use testkit::mongod::Mongod;
use testkit::redis_server::Redis;

const EXISTING: &str = "bench.existing";

pub fn run(report: &mut Report) {
    let keys = report.scaled(1_000_000, 20_000);
    let rounds = report.scaled(3, 3);
    let mongod = servers::mongod();
    let bare = Bare::new(&mongod.uri());
    let shape = best_shape(report, &bare, keys);
    let redis = servers::ours(&mongod.uri());
    redis.cmd(&["WB.REGISTER", "user:", EXISTING]);
    // So that all documents exist and the link is up.
    bare.upsert(EXISTING, 0..keys, 0, shape);
    load::fill_users(&redis, 0..1, 0);
    redis.flush();

    let forms = [None, Some(DEFAULT), Some(shape)];
    let mut turn = 0;
    let mut existing: Runs = Default::default();
    interleaved(rounds, |at| {
        turn += 1;
        existing[at].add(match forms[at] {
            None => bare_rate(&bare, EXISTING, keys, turn, shape),
            Some(form) => {
                form.set(&redis);
                drain(report, &redis, &mongod, keys, turn)
            }
        });
    });
    let mut new: Runs = Default::default();
    interleaved(rounds, |at| {
        turn += 1;
        let name = format!("new{turn}");
        let namespace = format!("bench.{name}");
        mongod.named_database("bench").run(doc! { "create": &name });
        new[at].add(match forms[at] {
            None => bare_rate(&bare, &namespace, keys, turn, shape),
            Some(form) => {
                form.set(&redis);
                redis.cmd(&["WB.REGISTER", "user:", &namespace]);
                drain(report, &redis, &mongod, keys, turn)
            }
        });
        mongod.named_database("bench").run(doc! { "drop": &name });
    });
    let existing = report_rates(report, "existing documents", &existing, 0.95, shape);
    let new = report_rates(report, "new documents", &new, 2.0, shape);
    let groups = [("existing documents".to_owned(), existing), ("new documents".to_owned(), new)];
    let title = "Documents per second to MongoDB, medians";
    let kinds = ["bare loop", "module, defaults", "module, settings of the loop"];
    plot::bars(&report.file("drain.svg"), title, "1/s", &kinds, &groups);
}

/// The default settings of the module.
const DEFAULT: Shape = Shape { batch: 1000, connections: 2 };

impl Shape {
    fn set(self, redis: &Redis) {
        servers::set(redis, "batch-max-keys", &self.batch.to_string());
        servers::set(redis, "max-in-flight-batches", &self.connections.to_string());
    }
}

/// The measurements of one kind of documents: of the bare loop, of the module with its default
/// settings, and of the module with the loop's batch size and number of connections.
type Runs = [Rates; 3];

/// Runs all three in each round, in rotating order.
fn interleaved(rounds: u64, mut run: impl FnMut(usize)) {
    for round in 0..rounds as usize {
        for step in 0..3 {
            run((round + step) % 3);
        }
    }
}

fn bare_rate(bare: &Bare, namespace: &str, keys: u64, turn: u64, shape: Shape) -> (f64, f64, f64) {
    let took = bare.upsert(namespace, 0..keys, turn, shape);
    (keys as f64 / took.as_secs_f64(), 0.0, 0.0)
}

fn report_rates(
    report: &mut Report,
    what: &str,
    [bare, ours @ ..]: &Runs,
    least: f64,
    shape: Shape,
) -> Vec<f64> {
    let mut all = vec![median(&bare.rate)];
    let Shape { batch, connections } = shape;
    let forms = ["defaults".to_owned(), format!("{connections} batches of {batch}")];
    for (ours, form) in ours.iter().zip(forms) {
        let (rate, plain) = (median(&ours.rate), median(&bare.rate));
        let ratio = paired(&ours.rate, &bare.rate);
        let (server_us, worker_us) = (median(&ours.server_us), median(&ours.worker_us));
        let note =
            format!("CPU per key: server thread {server_us:.2} µs, worker {worker_us:.2} µs");
        let what = format!("{what}, {form}");
        report.value(&what, rate, plain, "/s", ratio, Goal::AtLeast(least), note);
        all.push(rate);
    }
    all
}

/// The measurements of each drain.
#[derive(Default)]
struct Rates {
    rate: Vec<f64>,
    /// CPU time of the server thread and of the worker per key, in microseconds.
    server_us: Vec<f64>,
    worker_us: Vec<f64>,
}

impl Rates {
    fn add(&mut self, (rate, server_us, worker_us): (f64, f64, f64)) {
        self.rate.push(rate);
        self.server_us.push(server_us);
        self.worker_us.push(worker_us);
    }
}

/// Makes `keys` hashes dirty and lets the module write them.
fn drain(report: &Report, redis: &Redis, mongod: &Mongod, keys: u64, turn: u64) -> (f64, f64, f64) {
    servers::hold(redis);
    load::fill_users(redis, 0..keys, turn);
    assert_eq!(redis.status().int("dirty_keys"), keys as i64);
    let pid = redis.pid();
    let server = cpu::of_main_thread(pid);
    let worker = cpu::of_threads_named(pid, "wb-worker");
    let mongo = cpu::of_process(mongod.pid());
    servers::drain(redis);
    let took = servers::until_clean(redis);
    let each =
        |from, to: std::time::Duration| to.saturating_sub(from).as_secs_f64() * 1e6 / keys as f64;
    let server_us = each(server, cpu::of_main_thread(pid));
    let worker_us = each(worker, cpu::of_threads_named(pid, "wb-worker"));
    let mongo_us = each(mongo, cpu::of_process(mongod.pid()));
    let rate = keys as f64 / took.as_secs_f64();
    report.progress(&format!(
        "{rate:.0}/s; CPU per key: server thread {server_us:.2} µs, worker {worker_us:.2} µs, \
         mongod {mongo_us:.1} µs"
    ));
    (rate, server_us, worker_us)
}

/// The batch size and number of connections with which the loop is fastest on this machine.
fn best_shape(report: &Report, bare: &Bare, keys: u64) -> Shape {
    let keys = (keys / 10).clamp(10_000, 50_000);
    bare.upsert("bench.shape", 0..keys, 0, Shape { batch: 1000, connections: 2 });
    let mut shapes = Vec::new();
    for batch in [500, 1000, 4000] {
        for connections in [1, 2, 4] {
            shapes.push(Shape { batch, connections });
        }
    }
    let fastest =
        |shape: &Shape| (1..4).map(|turn| bare.upsert("bench.shape", 0..keys, turn, *shape)).min();
    let best = shapes.into_iter().min_by_key(fastest).expect("a shape");
    report.progress(&format!("the loop is fastest with {best:?}"));
    best
}
