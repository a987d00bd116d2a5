//! WB.FLUSH: what it waits for, its counts, and when it does not wait.

use std::time::{Duration, Instant};

use mongodb::bson::doc;
use testkit::fixture::World;
use testkit::mongod::{Mongod, unreachable_uri};
use testkit::redis_server::reply::Flushed;
use testkit::redis_server::{Redis, Setup, command};
use testkit::wait::{SOON, wait_until};

/// No key is written before WB.FLUSH.
const LONG_INTERVAL: &str = "INTERVAL 60000";

fn counts(persisted: i64, failed: i64, pending: i64) -> Flushed {
    Flushed { persisted, failed, pending }
}

/// A server without MongoDB, with three dirty keys.
fn stuck() -> Redis {
    let redis = Redis::start(&unreachable_uri());
    redis.cmd(&["WB.REGISTER", "k:", "db.keys"]);
    redis.cmd(&["MSET", "k:1", "a", "k:2", "b", "k:3", "c"]);
    redis
}

#[test]
fn flush_counts_the_keys_that_mongodb_acknowledged() {
    let world = World::new();
    world.register("k:", "keys", LONG_INTERVAL);
    assert_eq!(world.redis.flush(), counts(0, 0, 0));
    for turn in 0..10 {
        world.redis.cmd(&["SET", &format!("k:{}", turn % 4), "x"]);
    }
    assert_eq!(world.redis.flush(), counts(4, 0, 0));
    assert_eq!(world.database.collection("keys").count(), 4);
    world.redis.cmd(&["DEL", "k:0", "k:1"]);
    assert_eq!(world.redis.flush(), counts(2, 0, 0));
    assert_eq!(world.database.collection("keys").count(), 2);
    assert_eq!(world.redis.flush(), counts(0, 0, 0));
}

#[test]
fn flush_of_a_prefix_writes_its_keys_only() {
    let world = World::new();
    world.register("a:", "a", LONG_INTERVAL);
    world.register("b:", "b", LONG_INTERVAL);
    world.redis.cmd(&["MSET", "a:1", "x", "a:2", "x", "b:1", "x"]);
    assert_eq!(world.redis.flush_with(&["a:"]), counts(2, 0, 0));
    assert_eq!(world.database.collection("b").count(), 0);
    assert_eq!(world.redis.status().int("dirty_keys"), 1);
    assert_eq!(world.redis.flush_with(&["b:"]), counts(1, 0, 0));
    assert!(world.redis.error(&["WB.FLUSH", "unknown:"]).contains("unknown:"));
}

#[test]
fn flush_of_keys_writes_these_keys_only() {
    let world = World::new();
    world.register("k:", "keys", LONG_INTERVAL);
    world.redis.cmd(&["MSET", "k:1", "x", "k:2", "x", "k:3", "x", "other", "x"]);
    let keys = world.database.collection("keys");
    assert_eq!(world.redis.flush_with(&["KEYS", "2", "k:1", "k:3"]), counts(2, 0, 0));
    assert_eq!((keys.count(), keys.by_id("2")), (2, None));
    // It waits neither for clean nor for unregistered keys.
    assert_eq!(world.redis.flush_with(&["KEYS", "2", "k:1", "other"]), counts(0, 0, 0));
    assert_eq!(
        world.redis.flush_with(&["k:", "KEYS", "1", "k:2", "TIMEOUT", "0"]),
        counts(1, 0, 0)
    );
    assert_eq!(keys.count(), 3);
}

#[test]
fn flush_reports_the_pending_keys_at_its_timeout() {
    let redis = stuck();
    let start = Instant::now();
    assert_eq!(redis.flush_with(&["TIMEOUT", "300"]), counts(0, 0, 3));
    let took = start.elapsed();
    assert!((Duration::from_millis(290)..Duration::from_secs(5)).contains(&took), "{took:?}");
    assert_eq!(redis.flush_with(&["k:", "KEYS", "1", "k:2", "TIMEOUT", "50"]), counts(0, 0, 1));
    assert_eq!(redis.status().int("dirty_keys"), 3);
}

#[test]
fn flush_in_a_transaction_starts_the_write_and_replies_at_once() {
    let redis = stuck();
    let mut transaction = redis::pipe();
    transaction.atomic().cmd("WB.FLUSH");
    let replies: Vec<Flushed> = transaction.query(&mut redis.connection()).expect("EXEC");
    assert_eq!(replies, [counts(0, 0, 3)]);
}

#[test]
fn flush_in_a_script_starts_the_write_and_replies_at_once() {
    let redis = stuck();
    let reply: Flushed = redis.run(&["EVAL", "return redis.call('WB.FLUSH')", "0"]);
    assert_eq!(reply, counts(0, 0, 3));

    let world = World::new();
    world.register("k:", "keys", LONG_INTERVAL);
    world.redis.cmd(&["SET", "k:1", "x"]);
    world.redis.cmd(&["EVAL", "return redis.call('WB.FLUSH')", "0"]);
    let keys = world.database.collection("keys");
    wait_until("the key is written", SOON, || keys.count() == 1);
}

#[test]
fn keys_dirtied_later_are_not_waited_for() {
    let mut mongod = Mongod::replica_set();
    let database = mongod.database();
    let redis = Redis::start(&mongod.uri());
    redis.cmd(&["WB.REGISTER", "k:", &database.namespace("keys"), "INTERVAL", "60000"]);
    mongod.stop();
    redis.cmd(&["SET", "k:1", "x"]);
    let mut other = redis.connect();
    let flush = std::thread::spawn(move || {
        command(&["WB.FLUSH"]).query::<Flushed>(&mut other).expect("reply")
    });
    wait_until("the flush waits", SOON, || {
        redis.run::<String>(&["INFO", "clients"]).contains("blocked_clients:1")
    });
    redis.cmd(&["MSET", "k:2", "later", "k:3", "later"]);
    mongod.restart();
    assert_eq!(flush.join().expect("flush"), counts(1, 0, 0));
    assert_eq!(redis.status().int("dirty_keys"), 2);
}

#[test]
fn permanently_refused_writes_are_counted_as_failed() {
    let world = World::new();
    let index = doc! { "key": { "email": 1 }, "name": "email", "unique": true };
    world.database.run(doc! { "createIndexes": "people", "indexes": [index] });
    world.register("p:", "people", LONG_INTERVAL);
    for (key, email) in [("p:1", "a@x"), ("p:2", "b@x"), ("p:3", "a@x"), ("p:4", "c@x")] {
        world.redis.cmd(&["HSET", key, "email", email]);
    }
    assert_eq!(world.redis.flush(), counts(3, 1, 0));
    let status = world.redis.status();
    assert_eq!((status.int("dead_letters"), status.int("dirty_keys")), (1, 0));
    assert_eq!(status.int("failed_total"), 1);
    assert!(status.text("last_error").contains("email"), "{}", status.text("last_error"));
    assert_eq!(world.database.collection("people").count(), 3);
}

#[test]
fn a_hundred_thousand_keys_are_flushed_in_one_call() {
    let mongod = Mongod::shared();
    let database = mongod.database();
    let redis = Setup::new(&mongod.uri()).start();
    redis.cmd(&["WB.REGISTER", "k:", &database.namespace("keys"), "INTERVAL", "60000"]);
    redis.cmd(&["EVAL", "for i = 1, 100000 do redis.call('SET', 'k:' .. i, i) end", "0"]);
    assert_eq!(redis.flush(), counts(100_000, 0, 0));
    assert_eq!(database.collection("keys").count(), 100_000);
}
