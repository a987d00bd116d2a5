//! Keys that Redis does not have, and keys that have no document.

use std::time::Duration;

use testkit::wait::became;

use super::*;

#[test]
fn a_missing_key_is_answered_as_if_it_had_been_there() {
    let world = World::new();
    strings(&world, "", 100);
    let redis = &world.redis;
    assert_eq!(get(redis, "k:7").as_deref(), Some("value-7"));
    assert_eq!(redis.run::<i64>(&["DBSIZE"]), 1, "it is loaded");
    assert_eq!(get(redis, "k:7").as_deref(), Some("value-7"));
    assert_eq!(get(redis, "other:7"), None);
    assert_eq!(get(redis, "k:none"), None);
    // Some of several keys.
    let values: Vec<Option<String>> = redis.run(&["MGET", "k:7", "k:8", "k:none", "k:9", "k:8"]);
    let expected = [Some("value-7"), Some("value-8"), None, Some("value-9"), Some("value-8")];
    assert_eq!(values, expected.map(|value| value.map(str::to_owned)));
    assert_eq!(redis.run::<i64>(&["EXISTS", "k:10", "k:11", "k:none"]), 2);
    assert_eq!(redis.run::<i64>(&["DBSIZE"]), 5);
    is_untouched(redis);
    let figures = ["reads_total", "read_hits_total", "read_misses_total", "read_loads_total"];
    // A key that a command names twice counts twice.
    assert_eq!(figures.map(|name| figure(redis, name)), [11, 2, 9, 5]);
    assert_eq!(figure(redis, "read_hit_percent"), 18);
    assert!(figure(redis, "read_p50_us") > 0);
    assert_eq!(redis.status().int("readers_waiting"), 0);
}

#[test]
fn a_key_without_a_document_is_remembered_for_a_while() {
    let world = World::new();
    strings(&world, "ABSENT 60000", 1);
    let redis = &world.redis;
    let keys = world.database.collection("keys");
    let finds = || world.redis.status().int("read_absent_total");
    assert_eq!(get(redis, "k:new"), None);
    keys.insert_many([doc! { "_id": "new", "value": "later" }]);
    assert_eq!(get(redis, "k:new"), None, "remembered");
    assert_eq!(finds(), 2);
    // A write and a deletion by Redis, and FLUSHALL, end that.
    redis.cmd(&["SET", "k:new", "written"]);
    redis.flush();
    redis.cmd(&["FLUSHALL"]);
    assert_eq!(get(redis, "k:new").as_deref(), Some("written"));
    redis.cmd(&["DEL", "k:new"]);
    assert_eq!(get(redis, "k:new"), None, "the deletion is pending or done");
    redis.flush();
    assert_eq!(get(redis, "k:new"), None);
    keys.insert_many([doc! { "_id": "new", "value": "again" }]);
    redis.cmd(&["FLUSHALL"]);
    assert_eq!(get(redis, "k:new").as_deref(), Some("again"));
    // Without it, each read asks MongoDB.
    register(&world, "k:", "keys", "TYPE STRING READTHROUGH ABSENT 0");
    assert_eq!(get(redis, "k:later"), None);
    keys.insert_many([doc! { "_id": "later", "value": "x" }]);
    assert_eq!(get(redis, "k:later").as_deref(), Some("x"));
}

#[test]
fn while_mongodb_is_away_the_error_says_so_at_once() {
    let world = World::new();
    strings(&world, "", 2);
    let redis = &world.redis;
    assert!(get(redis, "k:0").is_some());
    world.disconnect_mongodb();
    wait_until("the outage is known", 3 * SOON, || redis.status().text("link") == "down");
    assert_eq!(get(redis, "k:0").as_deref(), Some("value-0"), "what Redis has, it returns");
    let error = redis.error(&["GET", "k:1"]);
    assert!(error.contains("WBDOWN") && error.contains("MongoDB is not reached"), "{error}");
    let error = redis.error(&["APPEND", "k:1", "x"]);
    assert!(error.contains("WBDOWN"), "{error}");
    redis.cmd(&["SET", "k:1", "does not depend on the document"]);
    world.connect_mongodb();
    wait_until("MongoDB is back", 3 * SOON, || redis.status().text("link") == "up");
    redis.flush();
    redis.cmd(&["FLUSHALL"]);
    assert_eq!(get(redis, "k:1").as_deref(), Some("does not depend on the document"));
}

#[test]
fn a_client_waits_no_longer_than_the_timeout() {
    let mut mongod = testkit::mongod::Mongod::standalone();
    let redis = testkit::redis_server::Setup::new(&mongod.uri())
        .setting("through-timeout-ms", "300")
        .start();
    redis.cmd(&["WB.REGISTER", "k:", "reads.keys", "TYPE", "STRING", "READTHROUGH"]);
    redis.cmd(&["SET", "k:1", "one"]);
    redis.flush();
    redis.cmd(&["FLUSHALL"]);
    mongod.freeze();
    let began = std::time::Instant::now();
    let error = redis.error(&["GET", "k:1"]);
    let took = began.elapsed();
    assert!(error.contains("WBTIMEOUT") || error.contains("WBDOWN"), "{error}");
    assert!(took > Duration::from_millis(250) && took < Duration::from_secs(5), "{took:?}");
    mongod.thaw();
    assert!(became(3 * SOON, || redis.run::<redis::Value>(&["PING"]) != redis::Value::Nil
        && redis.status().text("link") == "up"));
    assert!(became(3 * SOON, || {
        let reply: redis::RedisResult<Option<String>> =
            testkit::redis_server::command(&["GET", "k:1"]).query(&mut redis.connection());
        reply.is_ok_and(|value| value.as_deref() == Some("one"))
    }));
    assert_eq!(redis.status().int("readers_waiting"), 0);
    mongod.kill();
}

#[test]
fn a_document_that_no_value_can_hold_is_an_error_with_field_and_type() {
    let world = World::new();
    strings(&world, "", 1);
    world.database.collection("keys").insert_many([doc! { "_id": "bad", "value": [1] }]);
    let error = world.redis.error(&["GET", "k:bad"]);
    assert!(error.contains("WBREFUSED") && error.contains("\"value\" is an array"), "{error}");
    let error = world.redis.error(&["MGET", "k:0", "k:bad"]);
    assert!(error.contains("WBREFUSED"), "{error}");
    assert_eq!(figure(&world.redis, "read_failed_total"), 2);
    assert!(get(&world.redis, "k:0").is_some());
}

#[test]
fn a_key_with_a_dead_letter_is_an_error() {
    let world = World::new();
    register(&world, "k:", "keys", "TYPE HASH READTHROUGH SCHEMA n INT64");
    let redis = &world.redis;
    redis.cmd(&["HSET", "k:1", "n", "1"]);
    redis.flush();
    redis.cmd(&["HSET", "k:1", "n", "no number"]);
    redis.flush();
    redis.cmd(&["FLUSHALL"]);
    let error = redis.error(&["HGET", "k:1", "n"]);
    assert!(error.contains("WBREFUSED") && error.contains("WB.DEADLETTER"), "{error}");
    redis.cmd(&["WB.DEADLETTER", "DROP"]);
    assert_eq!(redis.run::<String>(&["HGET", "k:1", "n"]), "1");
}
