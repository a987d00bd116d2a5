//! Dirty keys that are removed while MongoDB is down: expired, evicted, flushed, swapped or moved.
//! Their last values are written all the same.

use mongodb::bson::doc;

use testkit::comparison::Mapping;
use testkit::fixture::World;
use testkit::redis_server::command;
use testkit::wait::{SOON, wait_until};

/// MongoDB has old values of `k:1` and `k:2` and goes down; then both change, and `k:3` is created.
fn dirty(options: &str) -> World {
    let world = World::new();
    world.register("k:", "keys", options);
    world.redis.cmd(&["MSET", "k:1", "old", "k:2", "old"]);
    world.disconnect_mongodb();
    world.redis.cmd(&["MSET", "k:1", "new", "k:2", "new", "k:3", "new"]);
    world
}

/// Reconnects MongoDB and asserts that it gets the last values, of these keys only.
#[track_caller]
fn has_new(world: &World, ids: &[&str]) {
    world.connect_mongodb();
    let flushed = world.redis.flush();
    assert_eq!((flushed.failed, flushed.pending), (0, 0), "{flushed:?}");
    assert_eq!(world.redis.status().int("dirty_keys"), 0);
    ids.iter().for_each(|id| world.holds("keys", id, "new"));
    assert_eq!(world.database.collection("keys").count(), ids.len() as u64);
}

#[track_caller]
fn wait_until_empty(world: &World) {
    wait_until("all keys are removed", SOON, || world.redis.run::<i64>(&["DBSIZE"]) == 0);
}

#[test]
fn a_dirty_key_that_expires_is_written_with_its_last_value() {
    for options in ["", "INTERVAL 0"] {
        let world = dirty(options);
        for (key, ttl) in [("k:1", "1"), ("k:2", "30"), ("k:3", "1500")] {
            world.redis.cmd(&["PEXPIRE", key, ttl]);
        }
        world.redis.cmd(&["SET", "k:4", "new", "PX", "1"]);
        wait_until_empty(&world);
        has_new(&world, &["1", "2", "3", "4"]);
    }
}

#[test]
fn a_dirty_key_that_expires_when_a_client_reads_it_is_written_with_its_last_value() {
    let world = dirty("");
    world.redis.cmd(&["DEBUG", "SET-ACTIVE-EXPIRE", "0"]);
    for key in ["k:1", "k:2", "k:3"] {
        world.redis.cmd(&["PEXPIRE", key, "1"]);
        wait_until("the key expires", SOON, || world.redis.run::<i64>(&["EXISTS", key]) == 0);
    }
    has_new(&world, &["1", "2", "3"]);
}

#[test]
fn onexpire_delete_deletes_the_document_of_a_dirty_key_that_expires() {
    let world = dirty("ONEXPIRE DELETE");
    for key in ["k:1", "k:2", "k:3"] {
        world.redis.cmd(&["PEXPIRE", key, "1"]);
    }
    wait_until_empty(&world);
    has_new(&world, &[]);
}

#[test]
fn an_expired_key_that_is_set_again_is_written_with_its_new_value() {
    let world = dirty("");
    world.redis.cmd(&["PEXPIRE", "k:1", "1"]);
    world.redis.cmd(&["PEXPIRE", "k:2", "1"]);
    wait_until("the keys expire", SOON, || world.redis.run::<i64>(&["DBSIZE"]) == 1);
    world.redis.cmd(&["SET", "k:1", "again"]);
    world.redis.cmd(&["SET", "k:2", "again"]);
    world.redis.cmd(&["DEL", "k:2"]);
    world.connect_mongodb();
    Mapping::by_id("k:").holds(&world.redis, &world.database.collection("keys"));
    world.holds("keys", "1", "again");
}

/// Sets a memory limit below the memory in use: the server evicts all keys at once.
fn evict_all(world: &World) {
    world.redis.cmd(&["CONFIG", "SET", "maxmemory-policy", "allkeys-random", "maxmemory", "1"]);
    wait_until_empty(world);
    world.redis.cmd(&["CONFIG", "SET", "maxmemory", "0"]);
}

#[test]
fn a_dirty_key_that_is_evicted_is_written_with_its_last_value() {
    let world = dirty("");
    evict_all(&world);
    has_new(&world, &["1", "2", "3"]);
}

#[test]
fn onevict_delete_deletes_the_document_of_a_dirty_key_that_is_evicted() {
    let world = dirty("ONEVICT DELETE");
    evict_all(&world);
    has_new(&world, &[]);
}

/// Options, how the key is removed, and whether its document stays.
const JSON_REMOVALS: [(&str, &str, bool); 5] = [
    ("", "expires", true),
    ("", "is evicted", true),
    ("", "is flushed", true),
    ("ONEXPIRE DELETE", "expires", false),
    ("ONEVICT DELETE", "is evicted", false),
];

#[test]
fn a_json_value_with_a_deleted_path_is_written_when_its_key_is_removed() {
    for (options, way, keeps) in JSON_REMOVALS {
        let world = World::json();
        world.register("k:", "keys", &format!("TYPE JSON {options}"));
        let set = ["JSON.SET", "k:1", "$", r#"{"a":1,"b":2}"#];
        world.redis.cmd(&set);
        world.redis.flush();
        world.redis.cmd(&["WB.PAUSE"]);
        world.redis.cmd(&["JSON.DEL", "k:1", "$.b"]);
        match way {
            "expires" => drop(world.redis.cmd(&["PEXPIRE", "k:1", "30"])),
            "is flushed" => drop(world.redis.cmd(&["FLUSHALL"])),
            _ => evict_all(&world),
        }
        wait_until_empty(&world);
        world.redis.cmd(&["WB.RESUME"]);
        let flushed = world.redis.flush();
        assert_eq!((flushed.failed, flushed.pending), (0, 0), "{flushed:?}");
        let document = world.database.collection("keys").by_id("1");
        let expected = keeps.then(|| doc! { "_id": "1", "a": 1_i64 });
        assert_eq!(document, expected, "{options} {way}");
        assert_eq!(world.redis.status().int("lost_total"), 0, "{options} {way}");
    }
}

#[test]
fn a_json_value_with_a_deleted_path_that_expires_during_client_pause_is_written_after_it() {
    let world = World::json();
    world.register("k:", "keys", "TYPE JSON INTERVAL 200");
    world.redis.cmd(&["JSON.SET", "k:1", "$", r#"{"a":1,"b":2}"#]);
    world.redis.flush();
    let mut pipeline = redis::pipe();
    pipeline.add_command(command(&["JSON.DEL", "k:1", "$.b"])).ignore();
    pipeline.add_command(command(&["PEXPIRE", "k:1", "50"])).ignore();
    pipeline.add_command(command(&["CLIENT", "PAUSE", "700", "WRITE"])).ignore();
    pipeline.query::<()>(&mut world.redis.connection()).expect("a pause");
    let status = || world.redis.status().int("dirty_keys");
    wait_until("it is written", SOON, || status() == 0);
    let document = world.database.collection("keys").by_id("1");
    assert_eq!(document, Some(doc! { "_id": "1", "a": 1_i64 }));
}

#[test]
fn dirty_keys_that_are_flushed_are_written_with_their_last_values() {
    let ways: [&[&str]; 6] = [
        &["FLUSHALL"],
        &["FLUSHALL", "ASYNC"],
        &["FLUSHDB"],
        &["FLUSHDB", "ASYNC"],
        &["FLUSHDB", "SYNC"],
        &["EVAL", "redis.call('SET', 'k:3', 'new'); redis.call('FLUSHDB')", "0"],
    ];
    for way in ways {
        let world = dirty("");
        world.redis.cmd(way);
        wait_until_empty(&world);
        println!("{way:?}");
        has_new(&world, &["1", "2", "3"]);
    }
}

#[test]
fn keys_deleted_before_a_flushall_stay_deleted() {
    let world = dirty("");
    world.redis.cmd(&["DEL", "k:1"]);
    world.redis.cmd(&["FLUSHALL"]);
    has_new(&world, &["2", "3"]);
}

#[test]
fn keys_set_after_a_flushall_are_written_with_their_new_values() {
    let world = dirty("");
    let mut transaction = redis::pipe();
    transaction.atomic().cmd("FLUSHALL").cmd("SET").arg(&["k:1", "after"]);
    transaction.cmd("SET").arg(&["k:2", "after"]).cmd("DEL").arg("k:2");
    transaction.query::<()>(&mut world.redis.connection()).expect("EXEC");
    world.connect_mongodb();
    world.redis.flush();
    world.holds("keys", "1", "after");
    world.holds("keys", "3", "new");
    assert_eq!(world.database.collection("keys").by_id("2"), None);
}

#[test]
fn flushing_another_database_has_no_effect() {
    let world = dirty("");
    let mut other = world.redis.connect_db(2);
    redis::cmd("SET").arg(&["k:1", "x"]).query::<()>(&mut other).expect("SET");
    redis::cmd("FLUSHDB").query::<()>(&mut other).expect("FLUSHDB");
    assert_eq!(world.redis.status().int("dirty_keys"), 3);
    has_new(&world, &["1", "2", "3"]);
    Mapping::by_id("k:").holds(&world.redis, &world.database.collection("keys"));
}

#[test]
fn dirty_keys_that_are_swapped_to_another_database_are_written_with_their_last_values() {
    for (a, b) in [("0", "2"), ("2", "0")] {
        let world = dirty("");
        world.redis.cmd(&["SWAPDB", a, b]);
        assert_eq!(world.redis.run::<i64>(&["DBSIZE"]), 0);
        has_new(&world, &["1", "2", "3"]);
        world.redis.cmd(&["SET", "k:1", "after"]);
        world.redis.flush();
        world.holds("keys", "1", "after");
    }
}

#[test]
fn a_dirty_key_that_moves_to_another_database_is_written_there() {
    let world = dirty("");
    world.redis.cmd(&["SELECT", "3"]);
    world.register("k:", "third", "");
    world.redis.cmd(&["SELECT", "0"]);
    // A new connection, because Valkey 8.1 leaves it in the other database.
    let mut mover = world.redis.connect();
    redis::cmd("MOVE").arg(&["k:1", "3"]).query::<()>(&mut mover).expect("MOVE");
    drop(mover);
    has_new(&world, &["2", "3"]);
    world.holds("third", "1", "new");
}

#[test]
fn a_rename_over_a_dirty_key_is_written_with_the_renamed_value() {
    let world = dirty("");
    world.redis.cmd(&["SET", "k:4", "renamed"]);
    world.redis.cmd(&["RENAME", "k:4", "k:1"]);
    world.redis.cmd(&["RENAME", "k:2", "elsewhere"]);
    world.redis.cmd(&["SET", "outside", "came in"]);
    world.redis.cmd(&["RENAME", "outside", "k:3"]);
    world.connect_mongodb();
    Mapping::by_id("k:").holds(&world.redis, &world.database.collection("keys"));
    world.holds("keys", "1", "renamed");
    world.holds("keys", "3", "came in");
    assert_eq!(world.database.collection("keys").count(), 2);
}

#[test]
fn restore_and_copy_over_a_dirty_key_are_written_with_the_new_value() {
    let world = dirty("");
    let dump: Vec<u8> = world.redis.run(&["DUMP", "k:3"]);
    world.redis.cmd(&["SET", "k:3", "the source"]);
    let restore: [&[u8]; 5] = [b"RESTORE", b"k:1", b"0", &dump, b"REPLACE"];
    world.redis.cmd(&restore);
    world.redis.cmd(&["COPY", "k:3", "k:2", "REPLACE"]);
    world.redis.cmd(&["COPY", "k:3", "k:5"]);
    world.connect_mongodb();
    Mapping::by_id("k:").holds(&world.redis, &world.database.collection("keys"));
    world.holds("keys", "1", "new");
    world.holds("keys", "2", "the source");
    assert_eq!(world.database.collection("keys").count(), 4);
}

#[test]
fn a_key_of_the_wrong_type_that_is_flushed_before_it_was_read_counts_as_deleted() {
    let world = World::new();
    world.register("h:", "hashes", "TYPE HASH");
    let hashes = world.database.collection("hashes");
    for words in [&["FLUSHALL"][..], &["FLUSHDB", "ASYNC"], &["SWAPDB", "0", "1"]] {
        world.redis.cmd(&["HSET", "h:1", "a", "1"]);
        world.redis.flush();
        assert!(hashes.by_id("1").is_some());
        world.redis.cmd(&["WB.PAUSE"]);
        world.redis.cmd(&["SET", "h:1", "text"]);
        world.redis.cmd(words);
        world.redis.cmd(&["WB.RESUME"]);
        world.redis.flush();
        assert!(hashes.by_id("1").is_none(), "{words:?}");
        world.redis.cmd(&["FLUSHALL"]);
    }
}

#[test]
fn a_key_deleted_before_swapdb_brings_another_of_its_name_stays_deleted() {
    let world = World::new();
    world.register("k:", "keys", "");
    world.redis.cmd(&["SET", "k:1", "text"]);
    world.redis.flush();
    world.redis.cmd(&["WB.PAUSE"]);
    world.redis.cmd(&["MOVE", "k:1", "1"]);
    world.redis.cmd(&["SELECT", "0"]);
    world.redis.cmd(&["SWAPDB", "0", "1"]);
    world.redis.cmd(&["WB.RESUME"]);
    world.redis.flush();
    assert_eq!(world.database.collection("keys").all(), []);
    assert_eq!(world.redis.run::<String>(&["GET", "k:1"]), "text");
}

#[test]
fn a_key_of_the_wrong_type_before_swapdb_brings_another_of_its_name_counts_as_deleted() {
    let world = World::new();
    world.register("h:", "hashes", "TYPE HASH");
    world.redis.cmd(&["HSET", "h:1", "a", "1"]);
    world.redis.flush();
    world.redis.cmd(&["WB.PAUSE"]);
    world.redis.cmd(&["MOVE", "h:1", "1"]);
    world.redis.cmd(&["SELECT", "0"]);
    world.redis.cmd(&["SET", "h:1", "text"]);
    world.redis.cmd(&["SWAPDB", "0", "1"]);
    world.redis.cmd(&["WB.RESUME"]);
    world.redis.flush();
    assert_eq!(world.database.collection("hashes").all(), []);
}
