//! A key changed many times between two writes is written once, with its last value.

use std::sync::atomic::{AtomicBool, Ordering};

use mongodb::bson::{Bson, doc};
use redis::Value;

use testkit::mongod::{Mongod, PooledMongod, TestDatabase};
use testkit::redis_server::{Redis, Setup};

/// A MongoDB that this test alone uses, so that its counters count this test's operations only.
fn start() -> (PooledMongod, Redis, TestDatabase) {
    let mongod = Mongod::pooled();
    let redis = Setup::new(&mongod.uri()).json().start();
    let database = mongod.database();
    let namespace = database.namespace("counters");
    redis.cmd(&["WB.REGISTER", "c:", &namespace]);
    // The first write also creates the collection: not one of the operations to count.
    redis.cmd(&["SET", "c:first", "x"]);
    redis.flush();
    (mongod, redis, database)
}

#[test]
fn a_thousand_writes_to_one_key_cost_at_most_twenty_operations() {
    let writes: [(&[&str], Bson); 3] = [
        (&["INCR", "c:1"], Bson::String("1000".into())),
        (&["HINCRBY", "c:1", "value", "1"], Bson::String("1000".into())),
        (&["JSON.NUMINCRBY", "c:1", "$.value", "1"], Bson::Int64(1000)),
    ];
    for (write, value) in writes {
        let (mongod, redis, database) = start();
        if write[0].starts_with("JSON") {
            redis.cmd(&["JSON.SET", "c:1", "$", r#"{"value":0}"#]);
        }
        let before = mongod.writes();
        for _ in 0..1000 {
            redis.cmd(write);
        }
        redis.flush();
        let operations = mongod.writes() - before;
        assert!((1..=20).contains(&operations), "{}: {operations} operations", write[0]);
        let counter = database.collection("counters").document("1");
        assert_eq!(counter, doc! { "_id": "1", "value": value }, "{}", write[0]);
    }
}

#[test]
fn a_hundred_thousand_pipelined_writes_cost_a_handful_of_operations() {
    let (mongod, redis, database) = start();
    let before = mongod.writes();
    for _ in 0..100 {
        let mut pipeline = redis::pipe();
        for _ in 0..1000 {
            pipeline.cmd("INCR").arg("c:views").ignore();
        }
        pipeline.exec(&mut redis.connection()).expect("INCR");
    }
    redis.flush();
    let operations = mongod.writes() - before;
    assert!((1..=100).contains(&operations), "{operations} operations");
    let counter = database.collection("counters").document("views");
    assert_eq!(counter.get("value"), Some(&Bson::from("100000")));
}

#[test]
fn status_counts_what_was_captured_coalesced_and_written() {
    let (_mongod, redis, database) = start();
    redis.cmd(&["WB.REGISTER", "c:", &database.namespace("counters"), "INTERVAL", "60000"]);
    let before = redis.status_of("c:");
    for _ in 0..50 {
        redis.cmd(&["INCR", "c:1"]);
    }
    let status = redis.status_of("c:");
    assert_eq!(status.int("dirty_keys"), 1);
    redis.flush();
    let after = redis.status_of("c:");
    let increase = |field| after.int(field) - before.int(field);
    assert_eq!(increase("captured_total"), 50);
    assert_eq!(increase("coalesced_total"), 49);
    assert_eq!(increase("written_total"), 1);
    assert_eq!((after.int("dirty_keys"), after.int("in_flight_keys")), (0, 0));
}

#[test]
fn keys_are_not_written_before_their_interval_unless_flushed() {
    let (mongod, redis, database) = start();
    redis.cmd(&["WB.REGISTER", "c:", &database.namespace("counters"), "INTERVAL", "60000"]);
    let before = mongod.writes();
    for turn in 0..300 {
        redis.cmd(&["SET", &format!("c:{}", turn % 3), &turn.to_string()]);
    }
    assert_eq!(mongod.writes(), before);
    redis.flush();
    assert_eq!(mongod.writes(), before + 3);
    let reply: Value = redis.run(&["GET", "c:2"]);
    assert_eq!(reply, Value::BulkString(b"299".to_vec()));
    assert_eq!(database.collection("counters").text("2", "value"), "299");
}

/// The number of commands of that name since mongod started.
fn commands(mongod: &Mongod, name: &str) -> i64 {
    let status = mongod.admin(doc! { "serverStatus": 1 });
    let metrics = status.get_document("metrics").expect("metrics");
    let commands = metrics.get_document("commands").expect("commands");
    commands.get_document(name).expect("a command").get_i64("total").expect("a total")
}

#[test]
fn batches_are_full_while_clients_keep_the_server_busy() {
    const KEYS: i64 = 20_000;
    let (mongod, redis, _) = start();
    let all = || ["insert", "update"].map(|name| commands(&mongod, name)).iter().sum::<i64>();
    let fill = "for i = 1, ARGV[1] do redis.call('SET', 'c:' .. i, i) end";
    for turn in 0..2 {
        redis.cmd(&["WB.PAUSE"]);
        redis.cmd(&["EVAL", fill, "0", &KEYS.to_string()]);
        let before = all();
        let mut client = redis.connect();
        let is_written = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !is_written.load(Ordering::Relaxed) {
                    redis::cmd("PING").exec(&mut client).expect("PING");
                }
            });
            redis.cmd(&["WB.RESUME"]);
            redis.flush();
            is_written.store(true, Ordering::Relaxed);
        });
        // A batch holds 1,000 keys; the first batches hold fewer.
        let commands = all() - before;
        assert!(
            (KEYS / 1000..=KEYS / 1000 + 15).contains(&commands),
            "{turn}: {commands} commands"
        );
    }
}
