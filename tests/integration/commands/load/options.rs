//! What is loaded, and for how long it stays.

use mongodb::bson::{DateTime, doc};

use super::*;

#[test]
fn keys_that_exist_stay_unless_replace_is_given() {
    let world = World::new();
    world.register("k:", "keys", "TYPE STRING");
    world.database.collection("keys").insert_many(numbered(3));
    world.redis.cmd(&["WB.PAUSE"]);
    world.redis.cmd(&["SET", "k:1", "dirty"]);
    world.redis.cmd(&["DEL", "k:2"]);
    world.redis.cmd(&["WB.SYNC", "k:"]);
    assert_eq!(counts(&load(&world.redis, &[])), [3, 2, 1, 0]);
    assert_eq!(world.redis.run::<String>(&["GET", "k:1"]), "dirty");
    // What is dirty stays in any case.
    world.redis.cmd(&["SET", "k:2", "dirty"]);
    world.redis.cmd(&["DEL", "k:2"]);
    assert_eq!(counts(&load(&world.redis, &["REPLACE"])), [3, 1, 2, 0]);
    assert_eq!(world.redis.run::<String>(&["GET", "k:1"]), "dirty");
    assert_eq!(world.redis.run::<i64>(&["EXISTS", "k:2"]), 0);
    world.redis.cmd(&["WB.RESUME"]);
    world.redis.flush();
    world.holds("keys", "1", "dirty");
    assert_eq!(world.database.collection("keys").count(), 2);
    // Clean keys are replaced, also those of another type.
    let keys = world.database.collection("keys");
    keys.update(doc! { "_id": "0" }, doc! { "$set": { "value": "changed by others" } });
    assert_eq!(counts(&load(&world.redis, &[])), [2, 0, 2, 0]);
    assert_eq!(counts(&load(&world.redis, &["REPLACE"])), [2, 2, 0, 0]);
    assert_eq!(world.redis.run::<String>(&["GET", "k:0"]), "changed by others");
    assert_eq!(world.redis.status().int("dirty_keys"), 0);
}

#[test]
fn filter_sort_and_limit_select_the_documents() {
    let world = World::new();
    world.register("k:", "keys", "TYPE HASH SCHEMA year INT64");
    let keys = world.database.collection("keys");
    keys.insert_many((0..50).map(|id| doc! { "_id": id.to_string(), "year": 1950 + id }));
    let loaded = || {
        let mut keys: Vec<String> = world.redis.run(&["KEYS", "k:*"]);
        keys.sort();
        keys
    };
    let options = ["FILTER", r#"{"year": {"$lt": 1960}}"#, "SORT", r#"{"year": -1}"#, "LIMIT", "2"];
    assert_eq!(counts(&load(&world.redis, &options)), [2, 2, 0, 0]);
    assert_eq!(loaded(), ["k:8", "k:9"]);
    assert_eq!(counts(&load(&world.redis, &["LIMIT", "3"])), [3, 3, 0, 0]);
    assert_eq!(loaded(), ["k:0", "k:1", "k:10", "k:8", "k:9"]);
    assert_eq!(counts(&load(&world.redis, &["FILTER", r#"{"_id": "49"}"#])), [1, 1, 0, 0]);
    assert_eq!(world.redis.run::<String>(&["HGET", "k:49", "year"]), "1999");
    is_untouched(&world.redis);
}

#[test]
fn keys_expire_as_their_documents_say_or_after_ttl() {
    let world = World::new();
    world.register("k:", "keys", "TYPE STRING TTLFIELD at");
    let keys = world.database.collection("keys");
    let in_an_hour = DateTime::from_millis(DateTime::now().timestamp_millis() + 3_600_000);
    keys.insert(doc! { "_id": "hour", "at": in_an_hour, "value": "x" });
    keys.insert(doc! { "_id": "past", "at": DateTime::from_millis(1_000), "value": "x" });
    keys.insert(doc! { "_id": "never", "value": "x" });
    assert_eq!(counts(&load(&world.redis, &[])), [3, 2, 1, 0]);
    let expires = |key: &str| world.redis.run::<i64>(&["PEXPIRETIME", key]);
    assert_eq!(expires("k:hour"), in_an_hour.timestamp_millis());
    assert_eq!((expires("k:never"), expires("k:past")), (-1, -2));
    assert_eq!(counts(&load(&world.redis, &["TTL", "60", "REPLACE"])), [3, 3, 0, 0]);
    for key in ["k:hour", "k:never", "k:past"] {
        let ttl = world.redis.run::<i64>(&["PTTL", key]);
        assert!((1..=60_000).contains(&ttl), "{key}: {ttl}");
    }
    is_untouched(&world.redis);
}

#[test]
fn a_key_field_other_than_id_and_ids_of_other_types_are_understood() {
    let world = World::new();
    world.register("k:", "keys", "TYPE STRING KEY number AS INT64");
    let keys = world.database.collection("keys");
    keys.insert(doc! { "number": 7_i64, "value": "a" });
    keys.insert(doc! { "number": 8, "value": "b" });
    keys.insert(doc! { "number": "9", "value": "c" });
    keys.insert(doc! { "value": "without" });
    assert_eq!(counts(&load(&world.redis, &[])), [4, 2, 0, 0]);
    assert_eq!(world.redis.run::<Vec<String>>(&["MGET", "k:7", "k:8"]), ["a", "b"]);
}

#[test]
fn a_load_stops_before_maxmemory_is_reached() {
    let world = World::with(|setup| setup.config("maxmemory-policy allkeys-lru"));
    world.register("k:", "keys", "TYPE STRING");
    let text = "x".repeat(1_000);
    world
        .database
        .collection("keys")
        .insert_many((0..20_000).map(|id| doc! { "_id": id.to_string(), "value": &text }));
    let used: u64 =
        world.redis.info("memory", "used_memory").expect("used").parse().expect("bytes");
    let most = (used + 8_000_000).to_string();
    world.redis.cmd(&["CONFIG", "SET", "maxmemory", &most]);
    let figures = load(&world.redis, &[]);
    let error = figures.text("load_error");
    assert!(error.contains("maxmemory is nearly reached"), "{error}");
    let loaded = figures.int("load_loaded");
    assert!((1_000..10_000).contains(&loaded), "{loaded}");
    assert_eq!(world.redis.run::<i64>(&["DBSIZE"]), loaded);
    assert_eq!(world.redis.info("stats", "evicted_keys").as_deref(), Some("0"));
}
