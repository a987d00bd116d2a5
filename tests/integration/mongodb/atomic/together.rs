//! Two keys that were changed together: while the document of one is locked, neither is written.

use mongodb::bson::doc;

use testkit::mongod::{Mongod, PooledMongod};
use testkit::redis_server::Redis;
use testkit::wait::{SOON, wait_until};

use super::{
    Stage, flush_all, flush_while_locked, flushed, set_together, transaction, wait_until_clean,
};

/// Document `1` of `locked` is locked while `change` changes keys; neither it nor another of these
/// keys is written before the lock ends, and then all are.
#[track_caller]
fn waits_for_the_locked_document(
    stage: &Stage<PooledMongod>,
    locked: &str,
    change: impl FnOnce(&Redis),
    keys: i64,
    after: [&str; 3],
) {
    let before = super::values(&stage.database);
    let transaction = stage.hold(locked);
    change(&stage.redis);
    assert_eq!(flush_while_locked(&stage.redis), flushed(0, keys));
    assert_eq!(super::values(&stage.database), before, "a part is written");
    transaction.end();
    flush_all(&stage.redis);
    stage.holds(after);
}

#[test]
fn two_keys_of_one_multi_are_written_together() {
    let stage = Stage::new(Mongod::pooled(), "");
    for (locked, value) in [("first", "new"), ("second", "newer")] {
        let change = |redis: &Redis| set_together(redis, &["a:", "b:"], value);
        waits_for_the_locked_document(&stage, locked, change, 2, [value, value, "old"]);
    }
    assert_eq!(stage.groups(), [2, 0]);
}

#[test]
fn two_keys_of_one_script_are_written_together() {
    let stage = Stage::new(Mongod::pooled(), "");
    let script = "for _, key in ipairs(KEYS) do redis.call('SET', key, ARGV[1]) end";
    let change = |redis: &Redis| drop(redis.cmd(&["EVAL", script, "2", "a:1", "b:1", "new"]));
    waits_for_the_locked_document(&stage, "first", change, 2, ["new", "new", "old"]);
}

#[test]
fn two_keys_of_one_collection_are_written_together() {
    let stage = Stage::new(Mongod::pooled(), "");
    let change = |redis: &Redis| {
        transaction(redis, &[&["SET", "a:1", "new"], &["SET", "a:2", "new"]]);
    };
    waits_for_the_locked_document(&stage, "first", change, 2, ["new", "old", "old"]);
    assert_eq!(stage.database.collection("first").text("2", "value"), "new");
}

#[test]
fn a_deletion_and_a_write_of_one_multi_are_written_together() {
    let stage = Stage::new(Mongod::pooled(), "");
    let change = |redis: &Redis| transaction(redis, &[&["DEL", "a:1"], &["SET", "b:1", "new"]]);
    waits_for_the_locked_document(&stage, "second", change, 2, ["-", "new", "old"]);
    let change = |redis: &Redis| transaction(redis, &[&["SET", "a:1", "again"], &["DEL", "b:1"]]);
    waits_for_the_locked_document(&stage, "second", change, 2, ["again", "-", "old"]);
}

#[test]
fn both_keys_of_a_rename_are_written_together() {
    let stage = Stage::new(Mongod::pooled(), "");
    stage.redis.cmd(&["SET", "a:1", "moved"]);
    flush_all(&stage.redis);
    let change = |redis: &Redis| drop(redis.cmd(&["RENAME", "a:1", "b:1"]));
    waits_for_the_locked_document(&stage, "second", change, 2, ["-", "moved", "old"]);
    // In one collection.
    stage.redis.cmd(&["SET", "b:2", "within"]);
    flush_all(&stage.redis);
    let locked = stage.hold("second");
    stage.redis.cmd(&["RENAME", "b:2", "b:1"]);
    assert_eq!(flush_while_locked(&stage.redis), flushed(0, 2));
    assert_eq!(stage.database.collection("second").text("2", "value"), "within");
    locked.end();
    flush_all(&stage.redis);
    assert_eq!(stage.database.collection("second").by_id("2"), None);
    stage.holds(["-", "within", "old"]);
}

#[test]
fn groups_that_share_a_key_are_written_together() {
    let stage = Stage::new(Mongod::pooled(), "");
    let change = |redis: &Redis| {
        set_together(redis, &["a:", "b:"], "new");
        set_together(redis, &["b:", "c:"], "newer");
    };
    // The value of `b:1` is that of the second MULTI, so that all three belong together.
    waits_for_the_locked_document(&stage, "third", change, 3, ["new", "newer", "newer"]);
}

#[test]
fn keys_that_are_changed_alone_wait_for_no_other() {
    let stage = Stage::new(Mongod::pooled(), "");
    let locked = stage.hold("first");
    stage.redis.cmd(&["SET", "a:1", "new"]);
    stage.redis.cmd(&["SET", "b:1", "new"]);
    assert_eq!(flush_while_locked(&stage.redis), flushed(1, 1));
    stage.holds(["old", "new", "old"]);
    locked.end();
    flush_all(&stage.redis);
    assert_eq!(stage.groups(), [0, 0]);
}

#[test]
fn keys_of_different_intervals_are_written_together() {
    let stage = Stage::with(Mongod::pooled(), &["INTERVAL 3000", "INTERVAL 0", ""]);
    for order in [["a:", "b:"], ["b:", "a:"]] {
        set_together(&stage.redis, &order, order[0]);
        let is_new = |value: &String| value == order[0];
        // The documents are read one after the other, but a document that is new stays new.
        wait_until("one of them is written", SOON, || {
            super::values(&stage.database)[..2].iter().any(is_new)
        });
        stage.holds([order[0], order[0], "old"]);
        wait_until_clean(&stage.redis);
    }
    assert_eq!(stage.groups(), [2, 0]);
}

#[test]
fn a_flush_of_one_key_brings_the_others_of_its_multi() {
    let stage = Stage::new(Mongod::pooled(), "");
    set_together(&stage.redis, &["a:", "b:"], "new");
    let found = stage.redis.flush_with(&["KEYS", "1", "a:1", "TIMEOUT", "20000"]);
    assert_eq!((found.failed, found.pending), (0, 0));
    stage.holds(["new", "new", "old"]);
    set_together(&stage.redis, &["b:", "c:"], "newer");
    assert_eq!(stage.redis.flush_with(&["c:", "TIMEOUT", "20000"]).pending, 0);
    stage.holds(["new", "newer", "newer"]);
    wait_until_clean(&stage.redis);
}

#[test]
fn a_multi_while_one_of_its_keys_is_in_flight_is_written_together() {
    let stage = Stage::new(Mongod::pooled(), "INTERVAL 0");
    let mut partial = Vec::new();
    for round in 0..5 {
        let value = format!("together {round}");
        stage.mongod.freeze();
        stage.redis.cmd(&["SET", "a:1", &format!("alone {round}")]);
        wait_until("it is in flight", SOON, || stage.redis.status().int("in_flight_keys") == 1);
        set_together(&stage.redis, &["a:", "b:"], &value);
        let snapshot = || stage.database.snapshot(&["first", "second"]);
        let is_new = |documents: &Vec<mongodb::bson::Document>| {
            documents.iter().any(|it| it.get_str("value").is_ok_and(|it| it == value))
        };
        stage.mongod.thaw();
        wait_until("both are written", SOON, || {
            let Ok(found) = snapshot() else { return false };
            let new: Vec<bool> = found.iter().map(is_new).collect();
            if new[0] != new[1] {
                partial.push(format!("{found:?}"));
            }
            new == [true, true]
        });
        wait_until_clean(&stage.redis);
    }
    assert_eq!(partial, Vec::<String>::new());
    assert_eq!(stage.database.collection("second").count_of(doc! { "value": "together 4" }), 1);
}
