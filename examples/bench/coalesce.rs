//! Counters: many changes of few keys cause few writes to MongoDB.

use std::time::Instant;

use crate::report::{Goal, Report};
use crate::{load, servers};
use testkit::redis_server::Redis;

const KEYS: u64 = 1_000;
/// The module's default interval.
const INTERVAL_S: f64 = 0.1;

pub fn run(report: &mut Report) {
    let mongod = servers::mongod();
    let redis = Redis::start(&mongod.uri());
    redis.cmd(&["WB.REGISTER", "counter:", "bench.counters"]);
    load::benchmark(&redis, 1_000, "-c 1 -r 1000", &["INCR", "counter:__rand_int__"]);
    redis.flush();
    let changes = report.scaled(1_000_000, 100_000);
    let before = mongod.writes();
    let start = Instant::now();
    load::benchmark(&redis, changes, "-P 16 -c 50 -r 1000", &["INCR", "counter:__rand_int__"]);
    redis.flush();
    let seconds = start.elapsed().as_secs_f64();
    let writes = (mongod.writes() - before) as f64;
    let limit = KEYS as f64 * (seconds / INTERVAL_S + 2.0);
    let what = format!("writes for {changes} INCR of {KEYS} keys");
    let note = format!("{seconds:.1} s; {:.0} changes per write", changes as f64 / writes);
    report.value(&what, writes, limit, "", writes / limit, Goal::AtMost(1.0), note);
}
