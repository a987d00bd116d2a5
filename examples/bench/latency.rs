//! The latency of Redis clients while the module drains at full rate.

use std::sync::atomic::{AtomicBool, Ordering};

use crate::bare::{Bare, Shape};
use crate::read::wait_until_credits_are_used;
use crate::report::{Goal, Report};
use crate::sample::{median, paired};
use crate::{load, servers};
use testkit::redis_server::Redis;

/// The default of `read-slice-us`.
const SLICE_US: f64 = 500.0;
pub const CLIENTS: &str = "-c 10 -r 100000";
/// The same batches as the module's.
const SHAPE: Shape = Shape { batch: 1000, connections: 2 };

pub fn run(report: &mut Report) {
    let mongod = servers::mongod();
    let bare = Bare::new(&mongod.uri());
    let redis = servers::ours(&mongod.uri());
    redis.cmd(&["WB.REGISTER", "user:", "bench.beside"]);
    let keys = report.scaled(100_000, 20_000);
    let requests = report.scaled(30_000, 10_000);
    let rounds = report.scaled(8, 3);
    for (name, command) in [
        ("GET", &["GET", "key:__rand_int__"][..]),
        ("SET", &["SET", "key:__rand_int__", "xxx"][..]),
    ] {
        let clients = || load::benchmark(&redis, requests, CLIENTS, command).p99_ms;
        let loops = (&bare, "bench.beside");
        let [idle, busy, draining] = interleaved(&redis, loops, rounds, clients, |round| {
            load::fill_users(&redis, 0..keys, round);
            servers::drain(&redis);
            let p99_ms = clients();
            report.progress(&format!("{} keys left", redis.status().int("dirty_keys")));
            p99_ms
        });
        let (ours, plain) = (median(&draining), median(&idle));
        let note = format!(
            "medians; {:.2} × of while a bare loop writes the same to MongoDB",
            paired(&draining, &busy)
        );
        let ratio = paired(&draining, &idle);
        let what = format!("p99 of {name} while draining");
        report.value(&what, ours, plain, "ms", ratio, Goal::AtMost(1.25), note);
    }
    slices(report);
}

/// The longest read slice while MongoDB is frozen, so that the server thread has a processor. Each
/// server reads as many batches as may be in flight.
fn slices(report: &mut Report) {
    let mongod = servers::mongod();
    let keys = 4_000;
    let rounds = report.scaled(15, 5);
    let mut longest = Vec::new();
    for round in 0..rounds {
        let redis = servers::ours(&mongod.uri());
        redis.cmd(&["WB.REGISTER", "user:", "bench.slices"]);
        load::fill_users(&redis, 0..1, round);
        redis.flush();
        load::fill_users(&redis, 0..keys, round);
        mongod.freeze();
        servers::drain(&redis);
        wait_until_credits_are_used(&redis);
        longest.push(redis.status().int("slice_max_us") as f64);
        mongod.thaw();
        redis.flush();
    }
    let (ours, worst) = (median(&longest), longest.iter().copied().fold(0.0, f64::max));
    let note = format!("read-slice-us is 500; median of {rounds} servers, the worst {worst:.0}");
    let ratio = ours / SLICE_US;
    report.value("longest slice", ours, SLICE_US, "µs", ratio, Goal::AtMost(2.0), note);
}

/// The measurements of `clients` in each round: without writes to MongoDB, while a bare loop of
/// upserts writes to MongoDB, and the measurement of `draining`. The bare loop takes the processor
/// time that any writer to MongoDB takes.
pub fn interleaved(
    redis: &Redis,
    (bare, namespace): (&Bare, &str),
    rounds: u64,
    clients: impl Fn() -> f64,
    draining: impl Fn(u64) -> f64,
) -> [Vec<f64>; 3] {
    let mut found: [Vec<f64>; 3] = Default::default();
    for round in 0..rounds {
        servers::hold(redis);
        redis.flush();
        found[0].push(clients());
        let upserts = |stop: &AtomicBool| {
            while !stop.load(Ordering::Relaxed) {
                bare.upsert(namespace, 0..10_000, round, SHAPE);
            }
        };
        found[1].push(while_running(upserts, &clients));
        found[2].push(draining(round));
    }
    found
}

/// Runs `clients` while `other` runs in another thread.
fn while_running(other: impl FnOnce(&AtomicBool) + Send, clients: impl FnOnce() -> f64) -> f64 {
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| other(&stop));
        let p99_ms = clients();
        stop.store(true, Ordering::Relaxed);
        p99_ms
    })
}
