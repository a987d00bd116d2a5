//! MongoDB is down: writes to Redis continue at full speed, and all are written when it is up
//! again.

use std::time::{Duration, Instant};

use testkit::comparison::Mapping;
use testkit::faults::Comparison;
use testkit::faults::load::{GENTLE, Load};
use testkit::mongod::Mongod;
use testkit::redis_server::{Redis, Setup};
use testkit::wait::{SOON, repeat_for, wait_until};

/// A write that takes longer was delayed by the module: pauses of a busy machine are shorter.
const MAX_LATENCY: Duration = Duration::from_millis(500);

/// Writes one key after another for `time`; returns the number of writes and the slowest.
fn write_for(redis: &Redis, time: Duration) -> (u64, Duration) {
    let mut slowest = Duration::ZERO;
    let count = repeat_for(time, |turn| {
        let start = Instant::now();
        redis.cmd(&["HSET", &format!("k:{}", turn % 5000), "turn", &turn.to_string()]);
        slowest = slowest.max(start.elapsed());
    });
    (count, slowest)
}

/// Asserts that the rate during the outage is comparable to that without.
#[track_caller]
fn is_full_speed((count, slowest): (u64, Duration), (usual, _): (u64, Duration)) {
    assert!(slowest < MAX_LATENCY, "one write took {slowest:?}");
    assert!(
        count > usual / 3,
        "{count} writes during the outage, {usual} in the same time without"
    );
}

fn start(mongod: &Mongod, collection: &str) -> Redis {
    let redis = Setup::new(&mongod.uri()).setting("retry-backoff-max-ms", "500").start();
    redis.cmd(&["WB.REGISTER", "k:", &mongod.named_database("outage").namespace(collection)]);
    redis
}

#[test]
fn an_outage_of_mongodb_at_start_loses_nothing() {
    let mut mongod = Mongod::replica_set();
    mongod.stop();
    let redis = start(&mongod, "keys");
    let (count, slowest) = write_for(&redis, Duration::from_secs(2));
    assert!(count > 1000 && slowest < MAX_LATENCY, "{count} writes, the slowest {slowest:?}");
    wait_until("the link is down", SOON, || redis.status().text("link") == "down");
    assert_ne!(redis.status().text("link_error"), "");
    assert!(redis.status().int("oldest_dirty_ms") > 0);

    mongod.restart();
    let keys = mongod.named_database("outage").collection("keys");
    wait_until("all is written without a flush", SOON, || redis.status().int("dirty_keys") == 0);
    Mapping::by_id("k:").holds(&redis, &keys);
    assert_eq!(redis.status().text("link"), "up");
    assert!(redis.status().int("retries_total") > 0);
}

#[test]
fn an_outage_of_mongodb_for_five_seconds_loses_nothing() {
    let mut mongod = Mongod::replica_set();
    let redis = start(&mongod, "keys");
    let usual = write_for(&redis, Duration::from_secs(1));
    mongod.stop();
    let first = write_for(&redis, Duration::from_secs(1));
    let rest = write_for(&redis, Duration::from_secs(4));
    mongod.restart();
    write_for(&redis, Duration::from_millis(500));
    is_full_speed(first, usual);
    is_full_speed((rest.0 / 4, rest.1), usual);
    Mapping::by_id("k:").holds(&redis, &mongod.named_database("outage").collection("keys"));
}

#[test]
fn an_outage_of_a_standalone_mongodb_loses_nothing() {
    let mut mongod = Mongod::standalone();
    let redis = start(&mongod, "keys");
    write_for(&redis, Duration::from_millis(500));
    mongod.stop();
    let (_, slowest) = write_for(&redis, Duration::from_secs(1));
    assert!(slowest < MAX_LATENCY, "one write took {slowest:?}");
    for i in 0..100 {
        redis.cmd(&["DEL", &format!("k:{i}")]);
    }
    mongod.restart();
    Mapping::by_id("k:").holds(&redis, &mongod.named_database("outage").collection("keys"));
}

#[test]
fn a_frozen_mongodb_delays_no_write() {
    let mongod = Mongod::pooled();
    let redis = start(&mongod, "keys");
    let usual = write_for(&redis, Duration::from_secs(1));
    mongod.freeze();
    let first = write_for(&redis, Duration::from_secs(1));
    let rest = write_for(&redis, Duration::from_secs(4));
    mongod.thaw();
    is_full_speed(first, usual);
    is_full_speed((rest.0 / 4, rest.1), usual);
    Mapping::by_id("k:").holds(&redis, &mongod.named_database("outage").collection("keys"));
}

#[test]
fn a_mongodb_that_is_killed_repeatedly_under_load_loses_nothing() {
    let mut mongod = Mongod::replica_set();
    let redis = start(&mongod, "keys");
    let load = Load::start(&redis, "k:", GENTLE);
    for _ in 0..3 {
        let batches = redis.status().int("batches_total");
        wait_until("batches are acknowledged", SOON, || {
            redis.status().int("batches_total") > batches + 3
        });
        mongod.kill();
        wait_until("the link is down", SOON, || redis.status().text("link") == "down");
        mongod.restart();
    }
    let slowest = Duration::from_micros(load.latencies().max());
    load.stop();
    assert!(slowest < 2 * MAX_LATENCY, "one write took {slowest:?}");
    let keys = mongod.named_database("outage").collection("keys");
    let comparison = Comparison::after_flush(&redis, "k:", &keys);
    assert!(comparison.is_equal(), "{comparison}");
    assert_eq!(redis.status().int("dead_letters"), 0);
}
