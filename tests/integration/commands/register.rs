//! The registration that a key belongs to, and its backlog when the registration changes.

use mongodb::bson::doc;

use testkit::comparison::Mapping;
use testkit::fixture::World;
use testkit::mongod::Mongod;
use testkit::redis_server::{Redis, Setup};
use testkit::wait::{SOON, wait_until};

#[test]
fn two_prefixes_go_to_two_collections() {
    let world = World::new();
    world.register("person:", "people", "");
    world.register("film:", "films", "KEY movieId");
    for i in 0..20 {
        world.redis.cmd(&["HSET", &format!("person:{i}"), "name", "Ann"]);
        world.redis.cmd(&["SET", &format!("film:{i}"), "title"]);
    }
    world.redis.cmd(&["SET", "unregistered:1", "x"]);
    Mapping::by_id("person:").holds(&world.redis, &world.database.collection("people"));
    let films = Mapping::by_field("film:", "movieId");
    films.holds(&world.redis, &world.database.collection("films"));
    assert_eq!(world.redis.status().int("registrations"), 2);
    assert_eq!(world.redis.status().int("captured_total"), 40);
}

#[test]
fn the_longest_matching_prefix_wins() {
    let world = World::new();
    world.register("person", "people", "");
    world.register("personal", "private", "");
    world.register("", "rest", "");
    world.redis.cmd(&["MSET", "person:1", "a", "personal:1", "b", "perso", "c", "person", "d"]);
    world.redis.flush();
    let ids = |collection: &str| {
        let documents = world.database.collection(collection).all();
        let mut ids: Vec<String> =
            documents.iter().map(|document| document.get_str("_id").expect("id").into()).collect();
        ids.sort();
        ids
    };
    assert_eq!(ids("people"), ["", ":1"]);
    assert_eq!(ids("private"), [":1"]);
    assert_eq!(ids("rest"), ["perso"]);
}

#[test]
fn glob_characters_in_a_prefix_are_literal() {
    let world = World::new();
    let prefixes = ["a*", "b?c:", "[d]", "e\\"];
    for (index, prefix) in prefixes.iter().enumerate() {
        world.register(prefix, &format!("c{index}"), "SYNC");
    }
    for key in ["a*1", "ab1", "b?c:1", "bxc:1", "[d]1", "d1", "e\\1", "e1"] {
        world.redis.cmd(&["SET", key, key]);
    }
    for (index, prefix) in prefixes.iter().enumerate() {
        let collection = world.database.collection(&format!("c{index}"));
        Mapping::by_id(prefix).holds(&world.redis, &collection);
        assert_eq!(collection.count(), 1, "{prefix}");
    }
}

#[test]
fn registering_again_replaces_the_options_and_keeps_the_backlog() {
    let world = World::new();
    world.register("k:", "old", "INTERVAL 60000");
    for i in 0..500 {
        world.redis.cmd(&["SET", &format!("k:{i}"), "before"]);
    }
    world.register("k:", "new", "KEY id INTERVAL 60000");
    assert_eq!(world.redis.status_of("k:").int("dirty_keys"), 500);
    assert_eq!(world.redis.status().int("registrations"), 1);
    world.redis.cmd(&["SET", "k:500", "after"]);
    let new = world.database.collection("new");
    Mapping::by_field("k:", "id").holds(&world.redis, &new);
    assert_eq!(new.count(), 501);
    assert_eq!(world.database.collection("old").count(), 0);
}

#[test]
fn registering_repeatedly_under_load_loses_nothing() {
    let world = World::new();
    world.register("k:", "keys", "");
    let writer = std::thread::spawn({
        let mut connection = world.redis.connect();
        move || {
            for i in 0..5000 {
                let key = format!("k:{}", i % 1000);
                redis::cmd("SET").arg(key).arg(i).exec(&mut connection).expect("SET");
            }
        }
    });
    while !writer.is_finished() {
        world.register("k:", "keys", "INTERVAL 1");
        world.register("k:", "keys", "INTERVAL 20 BATCH 10");
    }
    writer.join().expect("writer");
    Mapping::by_id("k:").holds(&world.redis, &world.database.collection("keys"));
}

#[test]
fn an_invalid_registration_leaves_the_existing_one_unchanged() {
    let world = World::new();
    world.register("k:", "keys", "");
    let namespace = world.database.namespace("elsewhere");
    world.redis.error(&["WB.REGISTER", "k:", &namespace, "WRITE", "SIDEWAYS"]);
    world.redis.cmd(&["SET", "k:1", "x"]);
    world.redis.flush();
    assert_eq!(world.database.collection("keys").count(), 1);
}

#[test]
fn unregistering_stops_capture_and_writes_the_dirty_keys() {
    let world = World::new();
    world.register("k:", "keys", "INTERVAL 60000");
    world.redis.cmd(&["MSET", "k:1", "a", "k:2", "b"]);
    assert_eq!(world.redis.run::<i64>(&["WB.UNREGISTER", "k:"]), 2);
    world.redis.cmd(&["SET", "k:3", "too late"]);
    let keys = world.database.collection("keys");
    world.redis.flush();
    assert_eq!(keys.count(), 2);
    assert_eq!(world.redis.status().int("registrations"), 0);
    assert!(world.redis.error(&["WB.UNREGISTER", "k:"]).contains("k:"));
}

#[test]
fn discard_drops_the_dirty_keys() {
    let world = World::new();
    world.register("k:", "keys", "INTERVAL 60000");
    world.register("other:", "others", "INTERVAL 60000");
    world.redis.cmd(&["MSET", "k:1", "a", "k:2", "b", "other:1", "c"]);
    assert_eq!(world.redis.run::<i64>(&["WB.UNREGISTER", "k:", "DISCARD"]), 2);
    assert_eq!(world.redis.flush().persisted, 1);
    assert_eq!(world.database.collection("keys").count(), 0);
    assert_eq!(world.database.collection("others").count(), 1);
    assert_eq!(world.redis.status().int("dirty_keys"), 0);
}

#[test]
fn a_registration_belongs_to_one_logical_database() {
    let world = World::new();
    world.register("k:", "zero", "");
    let mut three = world.redis.connect_db(3);
    let namespace = world.database.namespace("three");
    redis::cmd("WB.REGISTER").arg("k:").arg(&namespace).exec(&mut three).expect("register");
    let mut four = world.redis.connect_db(4);
    world.redis.cmd(&["SET", "k:1", "in 0"]);
    redis::cmd("SET").arg("k:1").arg("in 3").exec(&mut three).expect("SET");
    redis::cmd("SET").arg("k:1").arg("in 4").exec(&mut four).expect("SET");
    world.redis.flush();
    let value = |name: &str| world.database.collection(name).all();
    assert_eq!(value("zero"), [doc! { "_id": "1", "value": "in 0" }]);
    assert_eq!(value("three"), [doc! { "_id": "1", "value": "in 3" }]);

    redis::cmd("WB.UNREGISTER").arg("k:").exec(&mut three).expect("unregister");
    world.redis.cmd(&["SET", "k:1", "still"]);
    world.redis.flush();
    assert_eq!(value("zero"), [doc! { "_id": "1", "value": "still" }]);
}

#[test]
fn sync_marks_the_keys_that_exist_already() {
    let world = World::new();
    world.redis.cmd(&["EVAL", "for i = 1, 3000 do redis.call('SET', 'k:' .. i, i) end", "0"]);
    world.redis.cmd(&["SET", "other", "x"]);
    world.register("k:", "without", "");
    world.redis.flush();
    let without = world.database.collection("without");
    assert_eq!(without.count(), 0);

    world.register("k:", "with", "SYNC");
    let with = world.database.collection("with");
    wait_until("every key is written", SOON, || with.count() == 3000);
    Mapping::by_id("k:").holds(&world.redis, &with);
}

/// A server with a registrations-file of these lines, or the log if it ended.
fn from_file(lines: &str) -> Result<Redis, String> {
    let folder = tempfile::tempdir().expect("folder");
    let file = folder.path().join("registrations");
    std::fs::write(&file, lines).expect("file");
    let path = file.to_str().expect("path");
    Setup::new(&Mongod::shared().uri()).setting("registrations-file", path).try_start()
}

#[test]
fn a_registrations_file_is_run_at_load() {
    let database = Mongod::shared().database();
    let (people, films) = (database.namespace("people"), database.namespace("films"));
    let lines = format!(
        "WB.REGISTER person: {people} TYPE HASH\n\nWB.REGISTER \"film: \" {films} KEY movieId\n"
    );
    let redis = from_file(&lines).expect("a server");
    assert_eq!(redis.status().int("registrations"), 2);
    redis.cmd(&["HSET", "person:1", "name", "Ann"]);
    redis.cmd(&["SET", "film: 1", "title"]);
    redis.flush();
    assert_eq!(database.collection("people").count(), 1);
    assert!(database.collection("films").find(doc! { "movieId": "1" }).is_some());
}

#[test]
fn an_invalid_line_in_the_registrations_file_stops_the_load() {
    for bad in [
        "WB.REGISTER b: nodot",
        "WB.REGISTER b: db.c TYPE TEAPOT",
        "SET a b",
        "WB.REGISTER b:",
        "SELECT",
        "SELECT x",
        "SELECT 16",
    ] {
        let lines = format!("WB.REGISTER a: db.people\n{bad}\nWB.REGISTER c: db.films\n");
        let log = from_file(&lines).err().unwrap_or_else(|| panic!("loaded with {bad}"));
        let named = log.lines().any(|line| line.contains("registrations") && line.contains('2'));
        assert!(named, "no line number for {bad} in:\n{log}");
    }
}

#[test]
fn a_missing_registrations_file_stops_the_load() {
    let setup = Setup::new(&Mongod::shared().uri()).setting("registrations-file", "/nonexistent");
    let log = setup.try_start().err().expect("no server");
    assert!(log.contains("/nonexistent"), "{log}");
}
