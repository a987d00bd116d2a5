//! WB.LOAD and WB.CANCEL: documents become keys again, and these are dirty nowhere.

mod durability;
mod options;
mod races;

use mongodb::bson::{Document, doc};
use redis::Value;
use testkit::fixture::World;
use testkit::mongod::major_version;
use testkit::redis_server::Redis;
use testkit::redis_server::reply::Fields;
use testkit::wait::{SOON, wait_until};

/// WB.LOAD of `k:` with these options; returns its figures when it has ended.
#[track_caller]
fn load(redis: &Redis, options: &[&str]) -> Fields {
    let words = [&["WB.LOAD", "k:"], options].concat();
    assert_eq!(redis.run::<String>(&words), "OK");
    ended(redis)
}

/// The figures of the load of `k:` when it has ended.
#[track_caller]
fn ended(redis: &Redis) -> Fields {
    wait_until("the load has ended", 3 * SOON, || redis.status_of("k:").int("load_pending") == 0);
    redis.status_of("k:")
}

/// Documents read, keys stored, left out and failed.
fn counts(figures: &Fields) -> [i64; 4] {
    ["load_documents", "load_loaded", "load_kept", "load_failed"].map(|name| figures.int(name))
}

/// Asserts that the module has captured nothing and has nothing to write.
#[track_caller]
fn is_untouched(redis: &Redis) {
    let status = redis.status();
    let figures = ["dirty_keys", "captured_total", "dead_letters"].map(|name| status.int(name));
    assert_eq!(figures, [0, 0, 0]);
}

fn numbered(count: usize) -> impl Iterator<Item = Document> {
    (0..count).map(|id| doc! { "_id": id.to_string(), "value": format!("value-{id}") })
}

/// The serialized value of each key, in the order of the keys.
fn dumps(redis: &Redis) -> Vec<(String, Value)> {
    let mut keys: Vec<String> = redis.run(&["KEYS", "*"]);
    keys.sort();
    keys.into_iter().map(|key| (key.clone(), redis.cmd(&["DUMP", &key]))).collect()
}

/// Commands that make two keys of each type, and the options of their registration.
const TYPES: [(&str, &[&[&str]]); 8] = [
    (
        "TYPE HASH",
        &[&["HSET", "k:1", "a", "x", "b", "\u{e9}"], &["HSET", "k:2", "n", "5", "empty", ""]],
    ),
    (
        "TYPE HASH SCHEMA n INT64 AS number",
        &[&["HSET", "k:1", "n", "5"], &["HSET", "k:2", "m", "x"]],
    ),
    ("TYPE STRING", &[&["SET", "k:1", "text"], &["SET", "k:2", "12"]]),
    ("TYPE STRING UNWRAP", &[&["SET", "k:1", r#"{"a":[1,{"b":null}]}"#], &["SET", "k:2", "plain"]]),
    ("TYPE LIST", &[&["RPUSH", "k:1", "b", "a", "b"], &["RPUSH", "k:2", ""]]),
    ("TYPE SET", &[&["SADD", "k:1", "b", "a"], &["SADD", "k:2", "1", "2"]]),
    ("TYPE ZSET", &[&["ZADD", "k:1", "1.5", "a", "-inf", "b"], &["ZADD", "k:2", "1e300", "c"]]),
    (
        "TYPE STREAM",
        &[
            &["XADD", "k:1", "1-1", "f", "v", "g", "w"],
            &["XADD", "k:1", "1-2", "f", "v"],
            &["XADD", "k:2", "7-0", "a", "b"],
        ],
    ),
];

#[test]
fn documents_of_every_type_become_the_keys_that_they_were() {
    for (options, commands) in TYPES {
        let world = World::new();
        world.register("k:", "keys", options);
        commands.iter().for_each(|words| drop(world.redis.cmd(words)));
        world.redis.flush();
        let before = (dumps(&world.redis), world.database.collection("keys").all());
        let captured = world.redis.status().int("captured_total");
        world.redis.cmd(&["FLUSHALL"]);
        let figures = load(&world.redis, &[]);
        assert_eq!(counts(&figures), [2, 2, 0, 0], "{options}: {}", figures.text("load_error"));
        let values: Vec<String> = world.redis.run(&["KEYS", "*"]);
        assert_eq!(values.len(), 2, "{options}");
        // Encodings of strings may differ; what a client reads does not.
        for (key, _) in &before.0 {
            let read = |redis: &Redis| read(redis, key);
            let loaded = read(&world.redis);
            world.redis.cmd(&["DEL", key]);
            commands.iter().filter(|words| words[1] == key).for_each(|words| {
                world.redis.cmd(words);
            });
            assert_eq!(loaded, read(&world.redis), "{options}");
        }
        world.redis.flush();
        assert_eq!(world.database.collection("keys").all().len(), before.1.len(), "{options}");
        assert!(world.redis.status().int("captured_total") > captured);
    }
}

/// A key as a client reads it.
fn read(redis: &Redis, key: &str) -> Value {
    let words: &[&str] = match redis.run::<String>(&["TYPE", key]).as_str() {
        "string" => &["GET", key],
        "hash" => &["HGETALL", key],
        "list" => &["LRANGE", key, "0", "-1"],
        "set" => return sorted(redis.cmd(&["SMEMBERS", key])),
        "zset" => &["ZRANGE", key, "0", "-1", "WITHSCORES"],
        "stream" => &["XRANGE", key, "-", "+"],
        other => panic!("{key} is {other}"),
    };
    redis.cmd(words)
}

fn sorted(members: Value) -> Value {
    let Value::Array(mut members) = members else { return members };
    members.sort_by_key(|member| format!("{member:?}"));
    Value::Array(members)
}

#[test]
fn json_documents_become_json() {
    let world = World::json();
    world.register("k:", "keys", "TYPE JSON");
    // Before 5.0 MongoDB takes no such names.
    let name = if major_version() < 5 { "x" } else { "$x.y" };
    let object = format!(r#"{{"b":1,"a":[1.0,null,"\u00e9"],"{name}":{{}}}}"#);
    let texts = [&*object, "[1,2]", "\"text\""];
    for (number, text) in texts.iter().enumerate() {
        world.redis.cmd(&["JSON.SET", &format!("k:{number}"), "$", text]);
    }
    world.redis.flush();
    let read = || {
        let get = |number| world.redis.run::<String>(&["JSON.GET", &format!("k:{number}")]);
        [0, 1, 2].map(get)
    };
    let before = read();
    world.redis.cmd(&["FLUSHALL"]);
    assert_eq!(counts(&load(&world.redis, &[])), [3, 3, 0, 0]);
    assert_eq!(read(), before);
    assert_eq!(world.redis.status().int("dirty_keys"), 0);
}

#[test]
fn loaded_keys_are_not_dirty_and_their_documents_stay() {
    let world = World::new();
    world.register("k:", "keys", "TYPE STRING TTLFIELD expires");
    let keys = world.database.collection("keys");
    keys.insert_many(numbered(3_000));
    keys.insert(doc! { "_id": "other type", "value": [1] });
    keys.insert(doc! { "_id": 5, "value": "id of another type" });
    let figures = load(&world.redis, &[]);
    assert_eq!(counts(&figures), [3_002, 3_000, 0, 1]);
    let error = figures.text("load_error");
    assert_eq!(error, "the field \"value\" is an array, which a string cannot hold");
    assert!(figures.int("load_rate") > 0);
    is_untouched(&world.redis);
    assert_eq!(world.redis.run::<String>(&["GET", "k:2999"]), "value-2999");
    world.redis.flush();
    assert_eq!(keys.count(), 3_002);
    // From now on it is a key like any other.
    world.redis.cmd(&["SET", "k:7", "new"]);
    world.redis.flush();
    world.holds("keys", "7", "new");
}

#[test]
fn keys_of_longer_prefixes_and_excluded_ones_are_not_loaded() {
    let world = World::new();
    world.register("k:", "keys", "TYPE STRING EXCLUDE 1 tmp*");
    world.register("k:long:", "others", "TYPE STRING");
    let keys = world.database.collection("keys");
    keys.insert_many(["1", "tmp1", "long:1"].map(|id| doc! { "_id": id, "value": "x" }));
    assert_eq!(counts(&load(&world.redis, &[])), [3, 1, 2, 0]);
    assert_eq!(world.redis.run::<Vec<String>>(&["KEYS", "*"]), ["k:1"]);
}

#[test]
fn bad_arguments_are_named_and_nothing_is_loaded() {
    let world = World::new();
    world.register("k:", "keys", "TYPE STRING");
    world.register("any:", "any", "");
    let error = |line: &str| world.redis.error(&line.split(' ').collect::<Vec<_>>());
    assert!(error("WB.LOAD k: FILTER [1]").contains("FILTER takes a JSON object"));
    assert!(error("WB.LOAD k: SORT {").contains("SORT takes a JSON object"));
    assert!(error("WB.LOAD k: LIMIT 0").contains("LIMIT takes a whole number from 1"));
    assert!(error("WB.LOAD k: WHAT").contains("WB.LOAD takes <prefix>"));
    assert!(error("WB.LOAD any:").contains("a TYPE other than ANY"));
    assert!(error("WB.LOAD none:").contains("no registration of prefix 'none:'"));
    assert!(error("WB.CANCEL none:").contains("no registration of prefix 'none:'"));
    assert_eq!(world.redis.run::<i64>(&["WB.CANCEL", "k:"]), 0);
    // MongoDB refuses the operator; its message is not shown.
    world.database.collection("keys").insert(doc! { "_id": "1", "value": "x" });
    let figures = load(&world.redis, &["FILTER", r#"{"a": {"$secret": 1}}"#]);
    let error = figures.text("load_error");
    assert!(error.contains("check FILTER and SORT") && !error.contains("secret"), "{error}");
    assert_eq!(world.redis.run::<i64>(&["DBSIZE"]), 0);
}
