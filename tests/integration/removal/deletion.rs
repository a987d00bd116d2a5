//! The document of a key that is deleted, expires, is evicted or flushed.

use testkit::fixture::World;
use testkit::wait::{SOON, wait_until};

/// A world with three clean keys.
fn written(options: &str) -> World {
    let world = World::new();
    world.register("k:", "keys", options);
    for key in ["k:1", "k:2", "k:3"] {
        world.redis.cmd(&["HSET", key, "field", "value"]);
    }
    let flushed = world.redis.flush();
    assert_eq!(world.database.collection("keys").count(), 3, "{flushed:?}");
    world
}

#[test]
fn every_command_that_removes_a_key_deletes_its_document() {
    let world = World::new();
    world.register("k:", "keys", "");
    let commands: [&[&str]; 6] = [
        &["DEL", "k:1"],
        &["UNLINK", "k:1"],
        &["GETDEL", "k:1"],
        &["RENAME", "k:1", "elsewhere"],
        &["MOVE", "k:1", "3"],
        &["EVAL", "return redis.call('DEL', KEYS[1])", "1", "k:1"],
    ];
    let keys = world.database.collection("keys");
    for words in commands {
        // Valkey 8.1 leaves the client in the other database after MOVE.
        world.redis.cmd(&["SELECT", "0"]);
        world.redis.cmd(&["SET", "k:1", "x"]);
        world.redis.flush();
        assert_eq!(keys.count(), 1, "before {words:?}");
        world.redis.cmd(words);
        world.redis.flush();
        assert_eq!(keys.count(), 0, "after {words:?}");
    }
    world.redis.cmd(&["HSET", "k:1", "only", "field"]);
    world.redis.flush();
    world.redis.cmd(&["HDEL", "k:1", "only"]);
    world.redis.flush();
    assert_eq!(keys.count(), 0, "after HDEL of the last field");
}

#[test]
fn ondel_keep_keeps_the_document() {
    let world = written("ONDEL KEEP");
    world.redis.cmd(&["DEL", "k:1", "k:2"]);
    world.redis.flush();
    let keys = world.database.collection("keys");
    assert_eq!(keys.count(), 3);
    world.redis.cmd(&["HSET", "k:1", "field", "again"]);
    world.redis.flush();
    assert_eq!(keys.text("1", "field"), "again");
}

#[test]
fn the_document_of_an_expired_key_is_kept_by_default() {
    let world = written("");
    world.redis.cmd(&["PEXPIRE", "k:1", "1"]);
    wait_until("k:1 expires", SOON, || world.redis.run::<i64>(&["EXISTS", "k:1"]) == 0);
    world.redis.flush();
    assert_eq!(world.database.collection("keys").count(), 3);
}

#[test]
fn onexpire_delete_deletes_the_document_of_an_expired_key() {
    let world = written("ONEXPIRE DELETE");
    world.redis.cmd(&["PEXPIRE", "k:1", "1"]);
    let keys = world.database.collection("keys");
    wait_until("the document is deleted", SOON, || keys.count() == 2);
    assert_eq!(keys.by_id("1"), None);
}

/// Makes the server evict all keys, then removes the memory limit.
fn evict_all(world: &World) {
    world.redis.cmd(&["CONFIG", "SET", "maxmemory-policy", "allkeys-random", "maxmemory", "1"]);
    wait_until("everything is evicted", SOON, || world.redis.run::<i64>(&["DBSIZE"]) == 0);
    world.redis.cmd(&["CONFIG", "SET", "maxmemory", "0"]);
}

#[test]
fn the_document_of_an_evicted_key_is_kept_by_default() {
    let world = written("");
    evict_all(&world);
    world.redis.flush();
    assert_eq!(world.database.collection("keys").count(), 3);
}

#[test]
fn onevict_delete_deletes_the_document_of_an_evicted_key() {
    let world = written("ONEVICT DELETE");
    evict_all(&world);
    let keys = world.database.collection("keys");
    wait_until("the documents are deleted", SOON, || keys.count() == 0);
}

#[test]
fn flushall_keeps_the_documents() {
    for command in ["FLUSHDB", "FLUSHALL"] {
        let world = written("");
        world.redis.cmd(&[command]);
        world.redis.flush();
        assert_eq!(world.database.collection("keys").count(), 3, "{command}");
        world.redis.cmd(&["HSET", "k:4", "field", "value"]);
        world.redis.flush();
        assert_eq!(world.database.collection("keys").count(), 4, "{command}");
    }
}

#[test]
fn a_key_created_and_deleted_before_it_was_written_leaves_no_document() {
    let world = World::new();
    world.register("k:", "keys", "INTERVAL 60000");
    world.redis.cmd(&["SET", "k:1", "x"]);
    world.redis.cmd(&["DEL", "k:1"]);
    world.redis.flush();
    assert_eq!(world.database.collection("keys").count(), 0);
    assert_eq!(world.redis.status().int("dirty_keys"), 0);
}
