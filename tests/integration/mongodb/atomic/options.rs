//! `ATOMIC SPLIT`, `WHOLE` and `NONE`, and what splits a group: a document that is refused, a pause,
//! too many keys, a standalone MongoDB.

use std::ops::Deref;

use mongodb::bson::doc;

use testkit::mongod::{Mongod, PooledMongod, TestDatabase};
use testkit::redis_server::reply::{Fields, Flushed};
use testkit::redis_server::{Redis, Setup};

use super::{Stage, flush_all, flush_while_locked, flushed, groups, set_together, transaction};

/// From now on the collection refuses documents without the field `name`.
fn refuse(database: &TestDatabase, collection: &str) {
    let validator = doc! { "$jsonSchema": { "required": ["name"] } };
    database.run(doc! { "collMod": collection, "validator": validator });
}

/// From now on the collection accepts all documents.
fn accept(database: &TestDatabase, collection: &str) {
    database.run(doc! { "collMod": collection, "validator": {} });
}

#[track_caller]
fn letters(redis: &Redis) -> Vec<Fields> {
    redis.run(&["WB.DEADLETTER", "LIST"])
}

#[track_caller]
fn letter_keys(redis: &Redis) -> Vec<String> {
    letters(redis).iter().map(|letter| letter.text("key")).collect()
}

/// All three keys in one MULTI, of which `c:1` is refused.
#[track_caller]
fn refused(options: &str) -> Stage<PooledMongod> {
    let stage = Stage::new(Mongod::pooled(), options);
    refuse(&stage.database, "third");
    set_together(&stage.redis, &["a:", "b:", "c:"], "new");
    stage
}

#[track_caller]
fn is_split_by_a_refused_document(options: &str) {
    let stage = refused(options);
    assert_eq!(stage.redis.flush(), Flushed { persisted: 2, failed: 1, pending: 0 });
    stage.holds(["new", "new", "old"]);
    let found = letters(&stage.redis);
    assert_eq!(letter_keys(&stage.redis), ["c:1"]);
    let (code, reason) = (found[0].int("code"), found[0].text("reason"));
    assert_eq!(code, 121, "{reason}");
    assert!(reason.contains("a:1") && reason.contains("b:1"), "{reason}");
    assert_eq!(stage.groups(), [0, 1]);
    // The letter is written alone.
    accept(&stage.database, "third");
    assert_eq!(stage.redis.run::<i64>(&["WB.DEADLETTER", "RETRY"]), 1);
    flush_all(&stage.redis);
    stage.holds(["new", "new", "new"]);
}

#[test]
fn a_refused_document_leaves_its_group_and_its_letter_names_the_others() {
    is_split_by_a_refused_document("ATOMIC SPLIT");
}

#[test]
fn split_is_the_default() {
    is_split_by_a_refused_document("");
}

#[test]
fn a_refused_document_makes_dead_letters_of_its_whole_group() {
    let stage = refused("ATOMIC WHOLE");
    stage.redis.cmd(&["SET", "a:2", "alone"]);
    assert_eq!(stage.redis.flush(), Flushed { persisted: 1, failed: 3, pending: 0 });
    stage.holds(["old", "old", "old"]);
    assert_eq!(letter_keys(&stage.redis), ["a:1", "b:1", "c:1"]);
    for letter in letters(&stage.redis) {
        let (key, reason) = (letter.text("key"), letter.text("reason"));
        assert!(key == "c:1" || reason.contains("c:1"), "{key}: {reason}");
    }
    assert_eq!(stage.groups(), [0, 0]);
    accept(&stage.database, "third");
    assert_eq!(stage.redis.run::<i64>(&["WB.DEADLETTER", "RETRY"]), 3);
    flush_all(&stage.redis);
    stage.holds(["new", "new", "new"]);
}

#[test]
fn split_writes_the_others_while_a_prefix_is_paused() {
    let stage = Stage::new(Mongod::pooled(), "ATOMIC SPLIT");
    stage.redis.cmd(&["WB.PAUSE", "a:"]);
    set_together(&stage.redis, &["a:", "b:", "c:"], "new");
    assert_eq!(flush_while_locked(&stage.redis), flushed(2, 1));
    stage.holds(["old", "new", "new"]);
    stage.redis.cmd(&["WB.RESUME", "a:"]);
    flush_all(&stage.redis);
    stage.holds(["new", "new", "new"]);
    assert_eq!(stage.groups()[1], 1);
}

#[test]
fn whole_waits_until_a_paused_prefix_is_resumed() {
    let stage = Stage::new(Mongod::pooled(), "ATOMIC WHOLE");
    stage.redis.cmd(&["WB.PAUSE", "a:"]);
    set_together(&stage.redis, &["a:", "b:", "c:"], "new");
    stage.redis.cmd(&["SET", "b:2", "alone"]);
    assert_eq!(flush_while_locked(&stage.redis), flushed(1, 3));
    stage.holds(["old", "old", "old"]);
    // The lock shows that they are written together once the pause is over.
    let locked = stage.hold("second");
    stage.redis.cmd(&["WB.RESUME", "a:"]);
    assert_eq!(flush_while_locked(&stage.redis), flushed(0, 3));
    stage.holds(["old", "old", "old"]);
    locked.end();
    flush_all(&stage.redis);
    stage.holds(["new", "new", "new"]);
    assert_eq!(stage.groups(), [1, 0]);
}

#[test]
fn none_is_in_no_group() {
    let stage = Stage::with(Mongod::pooled(), &["ATOMIC NONE", "", ""]);
    let locked = stage.hold("first");
    set_together(&stage.redis, &["a:", "b:", "c:"], "new");
    assert_eq!(flush_while_locked(&stage.redis), flushed(2, 1));
    stage.holds(["old", "new", "new"]);
    locked.end();
    flush_all(&stage.redis);
    // The others are still a group.
    let locked = stage.hold("second");
    set_together(&stage.redis, &["a:", "b:", "c:"], "newer");
    assert_eq!(flush_while_locked(&stage.redis), flushed(1, 2));
    stage.holds(["newer", "new", "new"]);
    locked.end();
    flush_all(&stage.redis);
    stage.holds(["newer", "newer", "newer"]);
    assert_eq!(stage.groups(), [2, 0]);
}

/// MULTI, one SET for each key, EXEC.
fn add_transaction(pipe: &mut redis::Pipeline, keys: &[&str]) {
    pipe.cmd("MULTI").ignore();
    for key in keys {
        pipe.cmd("SET").arg(key).arg("new").ignore();
    }
    pipe.cmd("EXEC").ignore();
}

/// The server receives all of them at once, and nothing happens between two of them.
#[test]
fn transactions_that_follow_each_other_directly_are_groups_of_their_own() {
    let stage = Stage::new(Mongod::pooled(), "ATOMIC WHOLE");
    refuse(&stage.database, "third");
    let mut pipe = redis::pipe();
    add_transaction(&mut pipe, &["a:2", "b:2"]);
    add_transaction(&mut pipe, &["a:1", "c:1"]);
    add_transaction(&mut pipe, &["a:3", "b:3"]);
    pipe.cmd("EVAL").arg("for _, key in ipairs(KEYS) do redis.call('SET', key, 'new') end");
    pipe.arg(2).arg("a:4").arg("b:4").ignore();
    pipe.query::<()>(&mut *stage.redis.connection()).expect("the replies");
    assert_eq!(stage.redis.flush(), Flushed { persisted: 6, failed: 2, pending: 0 });
    assert_eq!(letter_keys(&stage.redis), ["a:1", "c:1"]);
    assert_eq!(stage.groups(), [3, 0]);
}

/// Otherwise they would be one group, which is too large.
#[test]
fn many_transactions_at_once_are_not_too_large_for_a_group() {
    let stage = Stage::new(Mongod::pooled(), "INTERVAL 0");
    let keys: Vec<[String; 2]> =
        (0..1_000).map(|number| [format!("a:{number}"), format!("b:{number}")]).collect();
    // The first round shows the module that a filter is of use on Redis 7.0.
    let splits = [(), ()].map(|()| {
        let mut pipe = redis::pipe();
        for [first, second] in &keys {
            add_transaction(&mut pipe, &[first, second]);
        }
        pipe.query::<()>(&mut *stage.redis.connection()).expect("the replies");
        flush_all(&stage.redis);
        stage.groups()[1]
    });
    assert_eq!(splits[0], splits[1]);
}

#[test]
fn keys_outside_of_all_prefixes_are_in_no_group() {
    let stage = Stage::new(Mongod::pooled(), "");
    transaction(&stage.redis, &[&["SET", "a:1", "new"], &["SET", "other", "new"]]);
    assert_eq!(stage.redis.flush(), flushed(1, 0));
    assert_eq!(stage.groups(), [0, 0]);
}

#[test]
fn a_multi_of_more_keys_than_a_group_may_have_is_written_and_counted_as_split() {
    const KEYS: usize = 1_500;
    let stage = Stage::new(Mongod::pooled(), "");
    let names: Vec<String> = (0..KEYS).map(|i| format!("a:many {i}")).collect();
    let commands: Vec<[&str; 3]> = names.iter().map(|name| ["SET", name, "new"]).collect();
    let commands: Vec<&[&str]> = commands.iter().map(<[&str; 3]>::as_slice).collect();
    transaction(&stage.redis, &commands);
    assert_eq!(stage.redis.flush(), flushed(KEYS as i64, 0));
    let written = stage.database.collection("first").count_of(doc! { "value": "new" });
    assert_eq!(written, KEYS as u64);
    let [whole, split] = stage.groups();
    assert!(split > 0, "{whole} whole, {split} split");
    // One of 1,000 keys is not split.
    transaction(&stage.redis, &commands[..1_000]);
    assert_eq!(stage.redis.flush(), flushed(1_000, 0));
    assert_eq!(stage.groups(), [whole + 1, split]);
}

/// A mongod that the stage owns.
struct Owned(Mongod);

impl Deref for Owned {
    type Target = Mongod;

    fn deref(&self) -> &Mongod {
        &self.0
    }
}

#[test]
fn a_standalone_gets_all_and_each_group_counts_as_split() {
    let stage = Stage::new(Owned(Mongod::standalone()), "");
    set_together(&stage.redis, &["a:", "b:"], "new");
    assert_eq!(stage.redis.flush(), flushed(2, 0));
    stage.holds(["new", "new", "old"]);
    assert_eq!(stage.groups(), [0, 1]);
}

#[test]
fn atomic_is_listed_and_an_unknown_word_is_refused() {
    let redis = Redis::start(&testkit::mongod::unreachable_uri());
    for atomic in ["WHOLE", "NONE"] {
        redis.cmd(&["WB.REGISTER", "a:", "db.first", "ATOMIC", atomic]);
        let lines: Vec<String> = redis.run(&["WB.LIST"]);
        assert!(lines[0].contains(&format!(" ATOMIC {atomic} ")), "{lines:?}");
        assert_eq!(redis.status_of("a:").text("atomic").to_uppercase(), atomic);
    }
    redis.cmd(&["WB.REGISTER", "a:", "db.first", "ATOMIC", "SPLIT"]);
    let lines: Vec<String> = redis.run(&["WB.LIST"]);
    assert!(!lines[0].contains("ATOMIC"), "{lines:?}");
    let error = redis.error(&["WB.REGISTER", "a:", "db.first", "ATOMIC", "SOME"]);
    assert!(error.contains("ATOMIC takes one of SPLIT, WHOLE, NONE"), "{error}");
    assert_eq!(groups(&redis), [0, 0]);
}

#[test]
fn atomic_survives_a_restart() {
    let setup = Setup::new(&testkit::mongod::unreachable_uri());
    for durable in [false, true] {
        let mut redis = if durable { setup.clone().durable() } else { setup.clone() }.start();
        redis.cmd(&["WB.REGISTER", "a:", "db.first", "ATOMIC", "WHOLE"]);
        let before: Vec<String> = redis.run(&["WB.LIST"]);
        if !durable {
            redis.cmd(&["SAVE"]);
        }
        redis.restart();
        assert_eq!(redis.run::<Vec<String>>(&["WB.LIST"]), before);
    }
}
