//! EXCLUDE: keys under a prefix that belong to no registration.

use std::collections::BTreeSet;

use mongodb::bson::doc;

use testkit::fixture::World;
use testkit::mongod::Mongod;
use testkit::redis_server::replication::assert_same_dirty_set;
use testkit::redis_server::reply::Fields;
use testkit::redis_server::{Redis, Setup, command};
use testkit::wait::{SOON, wait_until};

const OPTIONS: &str = "EXCLUDE 2 index:hash *:phantom";

fn reason(redis: &Redis, key: &str) -> (String, String) {
    let fields: Fields = redis.run(&["WB.EXPLAIN", key]);
    (fields.text("state"), fields.text("reason"))
}

#[test]
fn excluded_keys_are_not_captured_and_their_old_documents_stay() {
    let world = World::new();
    world.register("k:", "keys", "");
    world.redis.cmd(&["MSET", "k:1", "a", "k:1:phantom", "old"]);
    world.redis.flush();
    world.register("k:", "keys", OPTIONS);
    // A registration with a shorter prefix does not capture them either.
    world.register("", "all", "");
    world.redis.cmd(&["MSET", "k:1", "b", "k:1:phantom", "new", "k:index:hash", "x", "other", "y"]);
    world.redis.cmd(&["HSET", "k:2:phantom", "field", "x"]);
    world.redis.cmd(&["DEL", "k:1:phantom"]);
    assert_eq!(world.redis.flush().failed, 0);
    let mut keys = world.database.collection("keys").all();
    keys.sort_by_key(|document| document.to_string());
    let expected = [doc! { "_id": "1", "value": "b" }, doc! { "_id": "1:phantom", "value": "old" }];
    assert_eq!(keys, expected);
    let all = world.database.collection("all").all();
    assert_eq!(all, [doc! { "_id": "other", "value": "y" }]);
    assert_eq!(world.redis.status().int("captured_total"), 4);
    // Registered again without EXCLUDE, the same keys are captured.
    world.register("k:", "keys", "SYNC");
    wait_until("the sync ends", SOON, || world.redis.status().int("syncs_pending") == 0);
    world.redis.flush();
    world.holds("keys", "index:hash", "x");
    world.holds("keys", "1:phantom", "old");
    assert_eq!(world.database.collection("keys").count(), 4);
}

#[test]
fn excluded_keys_are_neither_synced_nor_flushed_and_explain_says_why() {
    let world = World::new();
    world.redis.cmd(&["MSET", "k:1", "a", "k:2", "b", "k:1:phantom", "x", "k:index:hash", "x"]);
    world.register("k:", "keys", &format!("{OPTIONS} SYNC"));
    wait_until("the sync ends", SOON, || world.redis.status().int("syncs_pending") == 0);
    assert_eq!(world.redis.status_of("k:").int("sync_marked"), 2);
    let flushed = world.redis.flush_with(&["KEYS", "2", "k:1:phantom", "k:index:hash"]);
    assert_eq!((flushed.persisted, flushed.pending), (0, 0));
    world.redis.flush();
    assert_eq!(world.database.collection("keys").count(), 2);
    let (state, why) = reason(&world.redis, "k:1:phantom");
    assert!(state == "not registered" && why.contains("EXCLUDE"), "{state}: {why}");
    let (state, why) = reason(&world.redis, "k:1");
    assert!(state == "clean" && why.is_empty(), "{state}: {why}");
}

#[test]
fn a_rescan_skips_excluded_keys() {
    let world = World::without_mongodb(|setup| setup.setting("dirty-max-bytes", "1"));
    world.register("k:", "keys", "EXCLUDE 1 *0");
    let script = "for i = 1, 20000 do redis.call('SET', 'k:' .. i, i) end";
    world.redis.cmd(&["EVAL", script, "0"]);
    assert_eq!(world.redis.status().int("rescans_pending"), 1);
    world.connect_mongodb();
    let keys = world.database.collection("keys");
    wait_until("every key is written", SOON, || keys.count() == 18_000);
    assert_eq!(world.redis.flush().pending, 0);
    assert_eq!(keys.count(), 18_000);
}

#[test]
fn keys_that_were_dirty_before_they_were_excluded_are_still_written() {
    let world = World::new();
    world.register("k:", "keys", "INTERVAL 60000");
    world.redis.cmd(&["MSET", "k:1", "a", "k:1:phantom", "b"]);
    world.register("k:", "keys", &format!("INTERVAL 60000 {OPTIONS}"));
    world.redis.cmd(&["SET", "k:2:phantom", "c"]);
    assert_eq!(world.redis.flush().persisted, 2);
    assert_eq!(world.database.collection("keys").count(), 2);
}

#[test]
fn exclude_is_shown_and_survives_restart_rewrite_and_replication() {
    let mut world = World::with(|setup| setup.durable().config("repl-diskless-sync-delay 0"));
    world.register("k:", "keys", &format!("{OPTIONS} UNWRAP ONERROR SKIP SCHEMA a INT64"));
    let shown = |redis: &Redis| {
        let status = redis.status_of("k:");
        let globs: Vec<String> =
            redis::from_redis_value(status.value("exclude").clone()).expect("globs");
        (globs, status.int("unwrap"), status.text("onerror"))
    };
    let expected = (vec!["index:hash".to_owned(), "*:phantom".to_owned()], 1, "SKIP".to_owned());
    assert_eq!(shown(&world.redis), expected);
    let replica = Setup::new(&Mongod::shared().uri()).config("repl-diskless-sync-delay 0").start();
    replica.follow(&world.redis);
    assert_eq!(shown(&replica), expected);
    let write = |world: &World, n: usize| {
        world.redis.cmd(&["SET", &format!("k:{n}:phantom"), "x"]);
        world.redis.cmd(&["SET", &format!("k:{n}"), r#"{"a":"no number","b":1}"#]);
        assert_eq!(world.redis.flush().failed, 0);
        let expected = doc! { "_id": n.to_string(), "b": 1_i64 };
        assert_eq!(world.database.collection("keys").document(n.to_string()), expected);
        assert_eq!(world.database.collection("keys").count(), n as u64);
    };
    write(&world, 1);
    replica.wait_until_in_sync_with(&world.redis);
    assert_same_dirty_set(&world.redis, &replica);
    world.redis.cmd(&["BGREWRITEAOF"]);
    wait_until("the AOF is rewritten", SOON, || {
        world.redis.info("persistence", "aof_rewrite_in_progress").as_deref() == Some("0")
    });
    for n in 2..4 {
        world.redis.kill();
        world.redis.restart();
        assert_eq!(shown(&world.redis), expected);
        write(&world, n);
    }
    world.redis.cmd(&["DEBUG", "RELOAD"]);
    assert_eq!(shown(&world.redis), expected);
    write(&world, 4);
}

#[test]
fn a_glob_matches_the_same_keys_as_the_keys_command() {
    let world = World::new();
    let parts = ["a", "b", "*", "?", "[", "]", "^", "-", "\\", "ab", "[a-b]", "[^a]"];
    let texts = ["", "a", "b", "c", "-", "]", "[", "\\", "^"];
    let mut rng = fastrand::Rng::with_seed(1);
    let all: BTreeSet<String> =
        (0..400).map(|_| (0..rng.usize(..5)).map(|_| texts[rng.usize(..9)]).collect()).collect();
    let mut set = vec!["MSET".to_owned()];
    set.extend(all.iter().flat_map(|suffix| [suffix.clone(), "x".to_owned()]));
    world.redis.cmd(&set);
    for _ in 0..150 {
        let glob: String = (0..rng.usize(1..6)).map(|_| parts[rng.usize(..12)]).collect();
        let namespace = world.database.namespace("keys");
        world.redis.cmd(&["WB.REGISTER", "", &namespace, "EXCLUDE", "1", &glob]);
        let matched: BTreeSet<String> = world.redis.run(&["KEYS", &glob]);
        let mut pipeline = redis::pipe();
        for suffix in &all {
            pipeline.add_command(command(&["WB.EXPLAIN", suffix]));
        }
        let explained: Vec<Fields> =
            pipeline.query(&mut world.redis.connection()).expect("WB.EXPLAIN");
        let excluded = all.iter().zip(explained);
        let excluded = excluded.filter(|(_, fields)| fields.text("state") == "not registered");
        let excluded: BTreeSet<String> = excluded.map(|(suffix, _)| suffix.clone()).collect();
        assert_eq!(excluded, matched, "{glob}");
    }
}
