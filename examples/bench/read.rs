//! The cost of a dirty key for the server thread after it was marked: reading it, and processing
//! its acknowledgement. MongoDB is frozen in between, so that the two can be measured separately.

use std::time::{Duration, Instant};

use crate::report::{Goal, Report};
use crate::sample::{least, median};
use crate::{cpu, load, servers};
use testkit::mongod::Mongod;
use testkit::redis_server::Redis;

/// Batches that the worker accepts before the first of them ends: two in flight, two built.
const BATCHES: u64 = 4;

pub fn run(report: &mut Report) {
    let mongod = servers::mongod();
    let redis = servers::ours(&mongod.uri());
    redis.cmd(&["WB.REGISTER", "", "bench.read"]);
    let keys = report.scaled(40_000, 8_000);
    servers::set(&redis, "batch-max-keys", &(keys / BATCHES).to_string());
    servers::set(&redis, "batch-max-bytes", &(64 << 20).to_string());
    // A slice that ended early would end its batch, and the cost of waiting would be spread over
    // few keys.
    servers::set(&redis, "read-slice-us", "100000");
    let rounds = report.scaled(8, 3);
    // So that the link is up and the number of batches in flight is at its maximum.
    for turn in 0..4 {
        load::fill_users(&redis, 0..keys, turn);
        redis.flush();
    }
    for (what, hashes, most_us) in [("a hash of 8 fields", true, 1.5), ("a string", false, 0.8)] {
        let (mut reading, mut settling) = (Vec::new(), Vec::new());
        for turn in 0..rounds {
            servers::hold(&redis);
            match hashes {
                true => load::fill_users(&redis, 0..keys, turn),
                false => load::fill_strings(&redis, "key", 0..keys),
            }
            let (read_us, settle_us) = measure(&redis, &mongod, keys);
            reading.push(read_us);
            settling.push(settle_us);
        }
        let ours = least(&reading);
        let note = format!(
            "minimum; median {:.2}; its acknowledgement {:.2}",
            median(&reading),
            least(&settling)
        );
        let goal = Goal::AtMost(most_us);
        report.value(&format!("reading {what}"), ours, most_us, "µs", ours, goal, note);
    }
}

/// Microseconds of the server thread per key: for reading it, and for its acknowledgement.
fn measure(redis: &Redis, mongod: &Mongod, keys: u64) -> (f64, f64) {
    let each = |time: Duration, keys: i64| time.as_secs_f64() * 1e6 / keys as f64;
    mongod.freeze();
    let before = cpu::of_main_thread(redis.pid());
    servers::drain(redis);
    let in_flight = wait_until_credits_are_used(redis);
    let read = cpu::of_main_thread(redis.pid());
    servers::hold(redis);
    mongod.thaw();
    let start = Instant::now();
    while redis.status().int("in_flight_keys") > 0 {
        std::thread::sleep(Duration::from_millis(10));
        assert!(start.elapsed() < Duration::from_secs(60), "MongoDB does not acknowledge");
    }
    let settled = cpu::of_main_thread(redis.pid());
    assert!(in_flight > 0 && in_flight <= keys as i64, "{in_flight} keys in flight");
    redis.flush();
    (each(read - before, in_flight), each(settled - read, in_flight))
}

/// Waits until no more batches are read, and returns the number of keys in flight.
pub fn wait_until_credits_are_used(redis: &Redis) -> i64 {
    let start = Instant::now();
    let (mut last, mut since) = (0, Instant::now());
    loop {
        std::thread::sleep(Duration::from_millis(50));
        let now = redis.status().int("in_flight_keys");
        if now != last {
            (last, since) = (now, Instant::now());
        } else if now > 0 && since.elapsed() > Duration::from_millis(200) {
            return now;
        }
        assert!(start.elapsed() < Duration::from_secs(30), "no key is read");
    }
}
