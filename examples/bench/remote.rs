//! With MongoDB on another machine: what the module's own work costs the clients of Redis, and
//! whether their load leaves it enough.

use std::cell::RefCell;
use std::time::{Duration, Instant};

use crate::bare::Bare;
use crate::beside::{CLIENTS, in_turns};
use crate::hollow::Hollow;
use crate::report::{Goal, Report};
use crate::sample::{least, median, paired};
use crate::{load, servers};

/// What a document takes there. With two batches on the wire that is the rate of a real one here.
const EACH: Duration = Duration::from_micros(30);
/// Keys a second that reach MongoDB whatever the clients do.
const FLOOR: f64 = 50_000.0;

pub fn run(report: &mut Report) {
    clients(report);
    floor(report);
}

/// What clients notice while dirty keys are written.
fn clients(report: &mut Report) {
    let hollow = Hollow::start(EACH);
    let bare = Bare::new(&hollow.uri());
    let redis = servers::ours(&hollow.uri());
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
        let [idle, busy, draining] = in_turns(&redis, loops, rounds, clients, |round| {
            load::fill_users(&redis, 0..keys, round);
            let (before, start) = (hollow.written(), Instant::now());
            servers::drain(&redis);
            let p99_ms = clients();
            let seconds = start.elapsed().as_secs_f64();
            rates.borrow_mut().push((hollow.written() - before) as f64 / seconds);
            assert!(redis.status().int("dirty_keys") > 0, "the drain ended before the clients");
            p99_ms
        });
        let note = format!(
            "medians; {:.0} keys/s were drained; {:.2} × of when a bare loop writes as many",
            median(&rates.borrow()),
            paired(&draining, &busy)
        );
        let (ours, plain) = (median(&draining), median(&idle));
        let what = format!("p99 of {name} while draining to another machine");
        let ratio = paired(&draining, &idle);
        report.value(&what, ours, plain, "ms", ratio, Goal::AtMost(1.25), note);
    }
}

/// How many keys a second reach MongoDB while clients send all that the server takes.
fn floor(report: &mut Report) {
    let hollow = Hollow::start(Duration::ZERO);
    let redis = servers::ours(&hollow.uri());
    redis.cmd(&["WB.REGISTER", "", "bench.floor"]);
    servers::drain(&redis);
    let requests = report.scaled(1_000_000, 300_000);
    let mut rates = Vec::new();
    let mut commands = Vec::new();
    for _ in 0..report.scaled(8, 3) {
        let (before, start) = (hollow.written(), Instant::now());
        let options = "-P 16 -c 50 -r 10000000";
        let run = load::benchmark(&redis, requests, options, &["SET", "key:__rand_int__", "xxx"]);
        rates.push((hollow.written() - before) as f64 / start.elapsed().as_secs_f64());
        commands.push(run.rate);
        redis.flush();
    }
    let note =
        format!("the least; median {:.0}, beside {:.0} SET/s", median(&rates), median(&commands));
    let ours = least(&rates);
    let what = "keys drained under full load";
    report.value(what, ours, FLOOR, "/s", ours / FLOOR, Goal::AtLeast(1.0), note);
}
