//! Dirty keys that go away while MongoDB is away: expired, evicted, flushed, swapped, moved.
//! What was acknowledged last is written all the same.

use mongodb::bson::doc;

use testkit::comparison::Mapping;
use testkit::fixture::World;
use testkit::redis_server::command;
use testkit::wait::{SOON, wait_until};

/// MongoDB has `k:1` and `k:2` in an old state and goes away; then both change, and `k:3` is new.
fn dirty(options: &str) -> World {
    let world = World::new();
    world.register("k:", "keys", options);
    world.redis.cmd(&["MSET", "k:1", "old", "k:2", "old"]);
    world.lose_mongodb();
    world.redis.cmd(&["MSET", "k:1", "new", "k:2", "new", "k:3", "new"]);
    world
}

/// MongoDB is back and has what Redis acknowledged last.
#[track_caller]
fn has_new(world: &World, ids: &[&str]) {
    world.find_mongodb();
    let flushed = world.redis.flush();
    assert_eq!((flushed.failed, flushed.pending), (0, 0), "{flushed:?}");
    assert_eq!(world.redis.status().int("dirty_keys"), 0);
    ids.iter().for_each(|id| world.holds("keys", id, "new"));
    assert_eq!(world.database.collection("keys").count(), ids.len() as u64);
}

#[track_caller]
fn wait_until_empty(world: &World) {
    wait_until("all keys are gone", SOON, || world.redis.run::<i64>(&["DBSIZE"]) == 0);
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
fn a_dirty_key_whose_expiry_a_reader_finds_is_written_with_its_last_value() {
    let world = dirty("");
    world.redis.cmd(&["DEBUG", "SET-ACTIVE-EXPIRE", "0"]);
    for key in ["k:1", "k:2", "k:3"] {
        world.redis.cmd(&["PEXPIRE", key, "1"]);
        wait_until("it expires", SOON, || world.redis.run::<i64>(&["EXISTS", key]) == 0);
    }
    has_new(&world, &["1", "2", "3"]);
}

#[test]
fn a_dirty_key_that_expires_takes_its_document_along_under_onexpire_delete() {
    let world = dirty("ONEXPIRE DELETE");
    for key in ["k:1", "k:2", "k:3"] {
        world.redis.cmd(&["PEXPIRE", key, "1"]);
    }
    wait_until_empty(&world);
    has_new(&world, &[]);
}

#[test]
fn an_expired_key_that_is_written_again_has_its_new_value() {
    let world = dirty("");
    world.redis.cmd(&["PEXPIRE", "k:1", "1"]);
    world.redis.cmd(&["PEXPIRE", "k:2", "1"]);
    wait_until("they expire", SOON, || world.redis.run::<i64>(&["DBSIZE"]) == 1);
    world.redis.cmd(&["SET", "k:1", "again"]);
    world.redis.cmd(&["SET", "k:2", "again"]);
    world.redis.cmd(&["DEL", "k:2"]);
    world.find_mongodb();
    Mapping::by_id("k:").holds(&world.redis, &world.database.collection("keys"));
    world.holds("keys", "1", "again");
}

/// As suddenly as it can come: from no limit to one that nothing fits.
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
fn a_dirty_key_that_is_evicted_takes_its_document_along_under_onevict_delete() {
    let world = dirty("ONEVICT DELETE");
    evict_all(&world);
    has_new(&world, &[]);
}

/// Options, how a key goes, and whether its document stays then.
const JSON_WAYS: [(&str, &str, bool); 5] = [
    ("", "expires", true),
    ("", "is evicted", true),
    ("", "is flushed", true),
    ("ONEXPIRE DELETE", "expires", false),
    ("ONEVICT DELETE", "is evicted", false),
];

#[test]
fn a_json_value_without_a_path_that_was_deleted_is_written_when_its_key_goes() {
    for (options, way, keeps) in JSON_WAYS {
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
fn a_json_value_without_a_path_whose_time_is_over_during_a_pause_is_written_after_it() {
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
fn what_is_flushed_while_dirty_is_written_with_its_last_value() {
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
fn what_was_deleted_before_a_flushall_stays_deleted() {
    let world = dirty("");
    world.redis.cmd(&["DEL", "k:1"]);
    world.redis.cmd(&["FLUSHALL"]);
    has_new(&world, &["2", "3"]);
}

#[test]
fn what_is_written_after_a_flushall_counts() {
    let world = dirty("");
    let mut transaction = redis::pipe();
    transaction.atomic().cmd("FLUSHALL").cmd("SET").arg(&["k:1", "after"]);
    transaction.cmd("SET").arg(&["k:2", "after"]).cmd("DEL").arg("k:2");
    transaction.query::<()>(&mut world.redis.connection()).expect("EXEC");
    world.find_mongodb();
    world.redis.flush();
    world.holds("keys", "1", "after");
    world.holds("keys", "3", "new");
    assert_eq!(world.database.collection("keys").by_id("2"), None);
}

#[test]
fn flushing_another_database_touches_nothing() {
    let world = dirty("");
    let mut other = world.redis.connect_db(2);
    redis::cmd("SET").arg(&["k:1", "x"]).query::<()>(&mut other).expect("SET");
    redis::cmd("FLUSHDB").query::<()>(&mut other).expect("FLUSHDB");
    assert_eq!(world.redis.status().int("dirty_keys"), 3);
    has_new(&world, &["1", "2", "3"]);
    Mapping::by_id("k:").holds(&world.redis, &world.database.collection("keys"));
}

#[test]
fn what_is_swapped_away_while_dirty_is_written_with_its_last_value() {
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
fn a_dirty_key_that_moves_to_another_database_goes_with_it() {
    let world = dirty("");
    world.redis.cmd(&["SELECT", "3"]);
    world.register("k:", "third", "");
    world.redis.cmd(&["SELECT", "0"]);
    // The connection is given up: Valkey 8.1 leaves the client in the other database after it.
    let mut mover = world.redis.connect();
    redis::cmd("MOVE").arg(&["k:1", "3"]).query::<()>(&mut mover).expect("MOVE");
    drop(mover);
    has_new(&world, &["2", "3"]);
    world.holds("third", "1", "new");
}

#[test]
fn a_rename_over_a_dirty_key_has_the_renamed_value() {
    let world = dirty("");
    world.redis.cmd(&["SET", "k:4", "renamed"]);
    world.redis.cmd(&["RENAME", "k:4", "k:1"]);
    world.redis.cmd(&["RENAME", "k:2", "elsewhere"]);
    world.redis.cmd(&["SET", "outside", "came in"]);
    world.redis.cmd(&["RENAME", "outside", "k:3"]);
    world.find_mongodb();
    Mapping::by_id("k:").holds(&world.redis, &world.database.collection("keys"));
    world.holds("keys", "1", "renamed");
    world.holds("keys", "3", "came in");
    assert_eq!(world.database.collection("keys").count(), 2);
}

#[test]
fn restore_and_copy_over_a_dirty_key_have_the_new_value() {
    let world = dirty("");
    let dump: Vec<u8> = world.redis.run(&["DUMP", "k:3"]);
    world.redis.cmd(&["SET", "k:3", "the source"]);
    let restore: [&[u8]; 5] = [b"RESTORE", b"k:1", b"0", &dump, b"REPLACE"];
    world.redis.cmd(&restore);
    world.redis.cmd(&["COPY", "k:3", "k:2", "REPLACE"]);
    world.redis.cmd(&["COPY", "k:3", "k:5"]);
    world.find_mongodb();
    Mapping::by_id("k:").holds(&world.redis, &world.database.collection("keys"));
    world.holds("keys", "1", "new");
    world.holds("keys", "2", "the source");
    assert_eq!(world.database.collection("keys").count(), 4);
}

#[test]
fn a_key_of_another_type_that_is_flushed_before_it_was_looked_at_counts_as_deleted() {
    let world = World::new();
    world.register("h:", "hashes", "TYPE HASH");
    let hashes = world.database.collection("hashes");
    for gone in [&["FLUSHALL"][..], &["FLUSHDB", "ASYNC"], &["SWAPDB", "0", "1"]] {
        world.redis.cmd(&["HSET", "h:1", "a", "1"]);
        world.redis.flush();
        assert!(hashes.by_id("1").is_some());
        world.redis.cmd(&["WB.PAUSE"]);
        world.redis.cmd(&["SET", "h:1", "text"]);
        world.redis.cmd(gone);
        world.redis.cmd(&["WB.RESUME"]);
        world.redis.flush();
        assert!(hashes.by_id("1").is_none(), "{gone:?}");
        world.redis.cmd(&["FLUSHALL"]);
    }
}

#[test]
fn a_key_that_was_deleted_before_another_is_swapped_to_its_name_stays_deleted() {
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
fn a_key_of_another_type_before_another_is_swapped_to_its_name_counts_as_deleted() {
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
