//! With MongoDB on another machine: the effect of the module on the latency of Redis clients, and
//! the module's rate under full load of the clients.

use std::cell::RefCell;
use std::time::{Duration, Instant};

use crate::bare::Bare;
use crate::latency::{CLIENTS, interleaved};
use crate::null_mongod::NullMongod;
use crate::report::{Goal, Report};
use crate::sample::{least, median, paired};
use crate::{load, servers};

/// The time per document. With two batches in flight this gives the rate of a real MongoDB on this
/// machine.
const EACH: Duration = Duration::from_micros(30);
/// The minimum number of keys per second that are written to MongoDB, whatever the load of the
/// clients.
const FLOOR: f64 = 50_000.0;

pub fn run(report: &mut Report) {
    clients(report);
    floor(report);
}

/// The latency of clients while dirty keys are written.
fn clients(report: &mut Report) {
    let mongod = NullMongod::start(EACH);
    let bare = Bare::new(&mongod.uri());
    let redis = servers::ours(&mongod.uri());
    redis.cmd(&["WB.REGISTER", "user:", "bench.remote"]);
    let keys = report.scaled(150_000, 30_000);
    let requests = report.scaled(50_000, 10_000);
    let rounds = report.scaled(20, 5);
    for (name, command) in [
        ("GET", &["GET", "key:__rand_int__"][..]),
        ("SET", &["SET", "key:__rand_int__", "xxx"][..]),
    ] {
        let clients = || load::benchmark(&redis, requests, CLIENTS, command).p99_ms;
        let rates = RefCell::new(Vec::new());
        let loops = (&bare, "bench.remote");
        let [idle, busy, draining] = interleaved(&redis, loops, rounds, clients, |round| {
            load::fill_users(&redis, 0..keys, round);
            let (before, start) = (mongod.written(), Instant::now());
            servers::drain(&redis);
            let p99_ms = clients();
            let seconds = start.elapsed().as_secs_f64();
            rates.borrow_mut().push((mongod.written() - before) as f64 / seconds);
            assert!(redis.status().int("dirty_keys") > 0, "the drain ended before the clients");
            p99_ms
        });
        let note = format!(
            "medians; {:.0} keys/s were drained; {:.2} × of while a bare loop writes as many",
            median(&rates.borrow()),
            paired(&draining, &busy)
        );
        let (ours, plain) = (median(&draining), median(&idle));
        let what = format!("p99 of {name} while draining to another machine");
        let ratio = paired(&draining, &idle);
        report.value(&what, ours, plain, "ms", ratio, Goal::AtMost(1.25), note);
    }
}

/// The number of keys per second that are written to MongoDB while clients send as much as the
/// server accepts.
fn floor(report: &mut Report) {
    let mongod = NullMongod::start(Duration::ZERO);
    let redis = servers::ours(&mongod.uri());
    redis.cmd(&["WB.REGISTER", "", "bench.floor"]);
    servers::drain(&redis);
    let requests = report.scaled(1_000_000, 300_000);
    let mut rates = Vec::new();
    let mut commands = Vec::new();
    for _ in 0..report.scaled(8, 3) {
        let (before, start) = (mongod.written(), Instant::now());
        let options = "-P 16 -c 50 -r 10000000";
        let run = load::benchmark(&redis, requests, options, &["SET", "key:__rand_int__", "xxx"]);
        rates.push((mongod.written() - before) as f64 / start.elapsed().as_secs_f64());
        commands.push(run.rate);
        redis.flush();
    }
    let note =
        format!("minimum; median {:.0}, with {:.0} SET/s", median(&rates), median(&commands));
    let ours = least(&rates);
    let what = "keys drained under full load";
    report.value(what, ours, FLOOR, "/s", ours / FLOOR, Goal::AtLeast(1.0), note);
}
