//! Where the connection string comes from, and what happens when it changes under a backlog.

use std::time::{Duration, Instant};

use crate::support::mongod::{Mongod, nowhere};
use crate::support::oracle::Mapping;
use crate::support::redis_server::{Redis, Setup};
use crate::support::wait::{SOON, became, wait_until};

fn write(redis: &Redis, keys: std::ops::Range<u32>, value: &str) {
    let script = "for i = ARGV[1], ARGV[2] - 1 do redis.call('SET', 'k:' .. i, ARGV[3]) end";
    let (from, to) = (keys.start.to_string(), keys.end.to_string());
    redis.cmd(&["EVAL", script, "0", &from, &to, value]);
}

fn set_uri(redis: &Redis, uri: &str) {
    redis.cmd(&["CONFIG", "SET", "writebehind.mongodb-uri", uri]);
}

#[test]
fn a_new_server_gets_everything_that_the_old_one_did_not_acknowledge() {
    let (old, new) = (Mongod::replica_set(), Mongod::replica_set());
    let redis = Setup::new(&old.uri()).setting("retry-backoff-max-ms", "500").start();
    let collection = |mongod: &Mongod| mongod.named_database("moved").collection("keys");
    redis.cmd(&["WB.REGISTER", "k:", &old.named_database("moved").namespace("keys")]);
    write(&redis, 0..1000, "acknowledged");
    redis.flush();
    // Some of it in flight, some waiting, when the address changes.
    old.freeze();
    write(&redis, 500..10_000, "backlog");
    wait_until("in flight", SOON, || redis.status().int("in_flight_keys") > 0);
    set_uri(&redis, &new.uri());
    write(&redis, 9_000..11_000, "later");
    let flushed = redis.flush_with(&["TIMEOUT", "15000"]);
    assert_eq!((flushed.failed, flushed.pending), (0, 0), "{flushed:?}");
    // What the old server had acknowledged is no longer ours to send.
    assert_eq!(collection(&new).count(), 10_500);
    for (id, value) in [("0", None), ("500", Some("backlog")), ("10999", Some("later"))] {
        let found = collection(&new).by_id(id);
        let found = found.map(|document| document.get_str("value").expect("value").to_owned());
        assert_eq!(found.as_deref(), value, "{id}");
    }
    old.thaw();
    assert_eq!(redis.status().int("dead_letters"), 0);
}

#[test]
fn there_and_back_again_under_a_backlog_ends_equal() {
    let mongod = Mongod::replica_set();
    let redis = Setup::new(&mongod.uri()).setting("retry-backoff-max-ms", "200").start();
    let database = mongod.named_database("moved");
    redis.cmd(&["WB.REGISTER", "k:", &database.namespace("keys"), "INTERVAL", "0"]);
    for turn in 0..10 {
        write(&redis, 0..2000, &turn.to_string());
        set_uri(&redis, &if turn % 2 == 0 { nowhere() } else { mongod.uri() });
    }
    Mapping::by_id("k:").holds(&redis, &database.collection("keys"));
}

#[test]
fn a_mongodb_srv_name_without_a_record_is_told_soon() {
    let redis = Redis::start("mongodb+srv://cluster0.nowhere.invalid");
    redis.cmd(&["WB.REGISTER", "k:", "db.keys"]);
    let start = Instant::now();
    redis.cmd(&["SET", "k:1", "x"]);
    let told = became(SOON, || redis.status().text("link") == "down");
    let error = redis.status().text("link_error");
    assert!(told && start.elapsed() < Duration::from_secs(10), "{:?} {error}", start.elapsed());
    assert!(error.contains("mongodb+srv"), "{error}");
    assert_eq!(redis.status().int("dirty_keys"), 1);
}
