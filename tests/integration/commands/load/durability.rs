//! Loads and restarts, replicas, and MongoDB that is away.

use testkit::mongod::{Mongod, unreachable_uri};
use testkit::redis_server::Setup;
use testkit::redis_server::replication::assert_same_dirty_set;

use super::*;

const MANY: usize = 40_000;

/// A world with documents and without keys, in which loading takes a while.
fn slow_world(change: impl FnOnce(Setup) -> Setup) -> World {
    let world = World::with(|setup| change(setup).setting("read-slice-us", "10"));
    world.register("k:", "keys", "TYPE STRING");
    world.database.collection("keys").insert_many(numbered(MANY));
    world
}

#[track_caller]
fn is_half_way(redis: &Redis) {
    wait_until("a part is loaded", SOON, || redis.status_of("k:").int("load_documents") >= 2_000);
}

fn size(redis: &Redis) -> usize {
    redis.run(&["DBSIZE"])
}

#[test]
fn loaded_keys_are_on_replicas_and_in_the_aof_and_dirty_nowhere() {
    let mut world = slow_world(Setup::durable);
    let replica = Setup::new(&unreachable_uri()).start();
    replica.follow(&world.redis);
    load(&world.redis, &[]);
    replica.wait_until_in_sync_with(&world.redis);
    assert_same_dirty_set(&world.redis, &replica);
    assert_eq!((size(&world.redis), size(&replica)), (MANY, MANY));
    assert_eq!(dumps(&replica).len(), MANY);
    assert_eq!(replica.run::<String>(&["GET", "k:39999"]), "value-39999");
    is_untouched(&replica);
    world.redis.kill();
    world.redis.restart();
    assert_eq!(size(&world.redis), MANY);
    is_untouched(&world.redis);
    assert_eq!(world.redis.status_of("k:").int("load_pending"), 0);
}

#[test]
fn a_load_goes_on_after_a_crash() {
    for options in [&[][..], &["SORT", r#"{"value": 1}"#]] {
        let mut world = slow_world(Setup::durable);
        world.redis.cmd(&[&["WB.LOAD", "k:"], options].concat());
        is_half_way(&world.redis);
        world.redis.kill();
        world.redis.restart();
        let loaded = size(&world.redis);
        assert!((1_000..MANY).contains(&loaded), "{loaded}");
        let figures = ended(&world.redis);
        assert_eq!(size(&world.redis), MANY, "{options:?}");
        // What was stored before is not read again, except in another order.
        let read_again = figures.int("load_kept") > 1_000;
        assert_eq!(read_again, !options.is_empty(), "{figures:?}");
        is_untouched(&world.redis);
    }
}

#[test]
fn a_load_goes_on_after_save_and_restart() {
    let mut world = slow_world(|setup| setup);
    world.redis.cmd(&["WB.LOAD", "k:", "LIMIT", "15000", "TTL", "3600"]);
    is_half_way(&world.redis);
    world.redis.cmd(&["SAVE"]);
    world.redis.kill();
    world.redis.restart();
    ended(&world.redis);
    assert_eq!(size(&world.redis), 15_000);
    assert!(world.redis.run::<i64>(&["TTL", "k:0"]) > 0);
}

#[test]
fn a_promoted_replica_goes_on_with_the_load() {
    let mut world = slow_world(|setup| setup.config("repl-diskless-sync-delay 0"));
    let replica = Setup::new(&Mongod::shared().uri()).start();
    replica.follow(&world.redis);
    // The stream reaches the replica only some time after the dataset.
    world.redis.cmd(&["SET", "other", "x"]);
    wait_until("the stream flows", SOON, || size(&replica) == 1);
    world.redis.cmd(&["DEL", "other"]);
    world.redis.cmd(&["WB.LOAD", "k:"]);
    wait_until("a part has reached the replica", SOON, || size(&replica) > 1_000);
    world.redis.kill();
    replica.promote();
    assert!(size(&replica) < MANY);
    ended(&replica);
    assert_eq!(size(&replica), MANY);
    is_untouched(&replica);
}

#[test]
fn a_load_waits_for_mongodb() {
    let world = slow_world(|setup| setup);
    world.redis.cmd(&["WB.LOAD", "k:"]);
    is_half_way(&world.redis);
    world.redis.cmd(&["CONFIG", "SET", "writebehind.mongodb-uri", &unreachable_uri()]);
    wait_until("the link is down", SOON, || world.redis.status().text("link") == "down");
    assert_eq!(world.redis.status_of("k:").int("load_pending"), 1);
    world.connect_mongodb();
    ended(&world.redis);
    assert_eq!(size(&world.redis), MANY);
    is_untouched(&world.redis);
}

#[test]
fn a_cancelled_load_ends_and_stays_ended() {
    let mut world = slow_world(Setup::durable);
    world.redis.cmd(&["WB.LOAD", "k:"]);
    is_half_way(&world.redis);
    assert_eq!(world.redis.run::<i64>(&["WB.CANCEL", "k:"]), 1);
    assert_eq!(world.redis.status_of("k:").text("load_error"), "the load was cancelled");
    let loaded = size(&world.redis);
    assert!(loaded < MANY, "{loaded}");
    world.redis.kill();
    world.redis.restart();
    assert_eq!(world.redis.status_of("k:").int("load_pending"), 0);
    assert_eq!(size(&world.redis), loaded);
    // A sync is ended by the same command.
    world.redis.cmd(&["WB.PAUSE"]);
    world.redis.cmd(&["WB.SYNC", "k:"]);
    assert_eq!(world.redis.run::<i64>(&["WB.CANCEL", "k:"]), 1);
    assert_eq!(world.redis.status_of("k:").int("sync_pending"), 0);
}

#[test]
fn a_key_whose_document_the_server_does_not_take_is_the_same_on_a_replica() {
    let world = World::json();
    world.register("k:", "keys", "TYPE JSON");
    let replica = Setup::new(&unreachable_uri()).json().start();
    replica.follow(&world.redis);
    world.redis.cmd(&["JSON.SET", "k:1", "$", "{}"]);
    world.redis.cmd(&["JSON.SET", "k:2", "$", "{}"]);
    world.redis.flush();
    // RedisJSON takes 128 levels.
    let deep = (0..150).fold(doc! { "end": 1 }, |inner, _| doc! { "d": inner });
    let keys = world.database.collection("keys");
    keys.update(doc! { "_id": "1" }, doc! { "$set": { "d": deep } });
    keys.update(doc! { "_id": "2" }, doc! { "$set": { "by": "others" } });
    let figures = load(&world.redis, &["REPLACE"]);
    assert_eq!(counts(&figures), [2, 1, 0, 1]);
    let error = figures.text("load_error");
    assert_eq!(error, "the server's JSON.SET does not take the value");
    wait_until("the replica has the loaded key", SOON, || {
        let value = replica.run::<Option<String>>(&["JSON.GET", "k:2"]);
        value.as_deref() == Some(r#"{"by":"others"}"#)
    });
    for redis in [&world.redis, &replica] {
        assert_eq!(redis.run::<Vec<String>>(&["KEYS", "*"]), ["k:2"]);
        assert_eq!(redis.status().int("dirty_keys"), 0);
    }
}
