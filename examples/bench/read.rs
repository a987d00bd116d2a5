//! What a dirty key costs the server thread after it was marked: reading and handing over, and
//! taking in its acknowledgement. MongoDB is frozen meanwhile, so that the two are apart.

use std::time::{Duration, Instant};

use crate::report::{Goal, Report};
use crate::sample::{least, median};
use crate::{cpu, load, servers};
use testkit::mongod::Mongod;
use testkit::redis_server::Redis;

/// Batches that the worker takes before the first of them ends: two on the wire, two built.
const BATCHES: u64 = 4;

pub fn run(report: &mut Report) {
    let mongod = servers::mongod();
    let redis = servers::ours(&mongod.uri());
    redis.cmd(&["WB.REGISTER", "", "bench.read"]);
    let keys = report.scaled(40_000, 8_000);
    servers::set(&redis, "batch-max-keys", &(keys / BATCHES).to_string());
    servers::set(&redis, "batch-max-bytes", &(64 << 20).to_string());
    // A slice that ended early would end its batch, and few keys would bear what the waiting costs.
    servers::set(&redis, "read-slice-us", "100000");
    let rounds = report.scaled(8, 3);
    // The link is up, and the number of batches on the wire has grown.
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
            "least; median {:.2}; its acknowledgement {:.2}",
            median(&reading),
            least(&settling)
        );
        let goal = Goal::AtMost(most_us);
        report.value(&format!("reading {what}"), ours, most_us, "µs", ours, goal, note);
    }
}

/// Server thread's microseconds a key: for reading it, and for its acknowledgement.
fn measure(redis: &Redis, mongod: &Mongod, keys: u64) -> (f64, f64) {
    let each = |time: Duration, keys: i64| time.as_secs_f64() * 1e6 / keys as f64;
    mongod.freeze();
    let before = cpu::of_main_thread(redis.pid());
    servers::drain(redis);
    let in_flight = until_all_credits_are_spent(redis);
    let read = cpu::of_main_thread(redis.pid());
    servers::hold(redis);
    mongod.thaw();
    let begun = Instant::now();
    while redis.status().int("in_flight_keys") > 0 {
        std::thread::sleep(Duration::from_millis(10));
        assert!(begun.elapsed() < Duration::from_secs(60), "MongoDB does not go on");
    }
    let settled = cpu::of_main_thread(redis.pid());
    assert!(in_flight > 0 && in_flight <= keys as i64, "{in_flight} keys in flight");
    redis.flush();
    (each(read - before, in_flight), each(settled - read, in_flight))
}

/// Keys that were read and sent before MongoDB had to answer.
pub fn until_all_credits_are_spent(redis: &Redis) -> i64 {
    let begun = Instant::now();
    let (mut last, mut since) = (0, Instant::now());
    loop {
        std::thread::sleep(Duration::from_millis(50));
        let now = redis.status().int("in_flight_keys");
        if now != last {
            (last, since) = (now, Instant::now());
        } else if now > 0 && since.elapsed() > Duration::from_millis(200) {
            return now;
        }
        assert!(begun.elapsed() < Duration::from_secs(30), "nothing is read");
    }
}
