//! A replica tracks the dirty keys and writes nothing; after its promotion it writes them.

use std::time::{Duration, Instant};

use testkit::comparison::Mapping;
use testkit::fixture::{World, connect_mongodb};
use testkit::mongod::{Mongod, unreachable_uri};
use testkit::redis_server::replication::assert_same_dirty_set;
use testkit::redis_server::{Redis, Setup};
use testkit::wait::{SOON, wait_until};

/// The time within which a promoted replica must have written a short backlog.
const PROMOTED_WITHIN: Duration = Duration::from_secs(1);

fn quick(setup: Setup) -> Setup {
    setup.config("repl-diskless-sync-delay 0")
}

/// A server without MongoDB, to be made a replica.
fn idle() -> Redis {
    quick(Setup::new(&unreachable_uri())).start()
}

/// A master without MongoDB, with dirty keys in two databases, one of them deleted.
fn master(change: impl FnOnce(Setup) -> Setup) -> World {
    let world = World::without_mongodb(|setup| change(quick(setup)));
    world.register("k:", "keys", "");
    for i in 0..500 {
        world.redis.cmd(&["SET", &format!("k:{i}"), &i.to_string()]);
    }
    world.redis.cmd(&["DEL", "k:0"]);
    world.redis.cmd(&["SELECT", "2"]);
    world.register("k:", "second", "");
    world.redis.cmd(&["SET", "k:1", "second"]);
    world.redis.cmd(&["SELECT", "0"]);
    world
}

#[test]
fn a_replica_tracks_the_dirty_keys_and_writes_nothing() {
    let world = master(|setup| setup);
    let before = Redis::start(&Mongod::shared().uri());
    before.follow(&world.redis);
    world.redis.cmd(&["SET", "k:new", "x"]);
    before.wait_until_in_sync_with(&world.redis);
    assert_eq!(before.status().text("role"), "replica");
    assert_eq!(world.redis.status().text("role"), "master");
    assert_eq!(before.status().int("dirty_keys"), 502);
    assert_same_dirty_set(&world.redis, &before);
    world.connect_mongodb();
    world.redis.flush();
    before.wait_until_in_sync_with(&world.redis);
    assert_same_dirty_set(&world.redis, &before);
    assert_eq!(before.status().int("dirty_keys"), 0);
    assert_eq!(before.status().int("batches_total"), 0);
}

#[test]
fn a_replica_of_a_replica_tracks_the_dirty_keys() {
    let world = master(|setup| setup);
    let (replica, below) = (idle(), idle());
    replica.follow(&world.redis);
    below.follow(&replica);
    assert_same_dirty_set(&world.redis, &below);
    world.redis.cmd(&["DEL", "k:1", "k:2"]);
    world.connect_mongodb();
    world.redis.flush();
    world.disconnect_mongodb();
    world.redis.cmd(&["MSET", "k:3", "x", "k:4", "x"]);
    replica.wait_until_in_sync_with(&world.redis);
    below.wait_until_in_sync_with(&world.redis);
    assert_same_dirty_set(&world.redis, &replica);
    assert_same_dirty_set(&world.redis, &below);
    assert_eq!(below.status().int("dirty_keys"), 2);
}

#[test]
fn a_replica_with_an_aof_keeps_the_dirty_keys_over_a_restart() {
    let world = master(|setup| setup);
    let mut replica = quick(Setup::new(&unreachable_uri())).durable().start();
    replica.follow(&world.redis);
    world.connect_mongodb();
    world.redis.flush();
    world.disconnect_mongodb();
    world.redis.cmd(&["MSET", "k:3", "x", "k:4", "x"]);
    replica.wait_until_in_sync_with(&world.redis);
    wait_until("its AOF is complete", SOON, || {
        replica.info("persistence", "aof_rewrite_in_progress").as_deref() == Some("0")
    });
    replica.kill();
    replica.restart();
    assert_same_dirty_set(&world.redis, &replica);
    assert_eq!(replica.status().int("dirty_keys"), 2);
}

#[test]
fn a_promoted_replica_writes_within_a_second() {
    let mut world = master(|setup| setup);
    let replica = idle();
    replica.follow(&world.redis);
    world.redis.kill();
    connect_mongodb(&replica);
    let (first, second) = (world.database.collection("keys"), world.database.collection("second"));
    assert_eq!(first.count(), 0);
    let start = Instant::now();
    replica.promote();
    wait_until("all is written", PROMOTED_WITHIN, || first.count() == 499 && second.count() == 1);
    println!("promoted, and {} keys written in {:?}", 500, start.elapsed());
    Mapping::by_id("k:").holds(&replica, &first);
}

#[test]
fn a_promoted_replica_accepts_registrations_and_new_writes() {
    let mut world = master(|setup| setup);
    let replica = idle();
    replica.follow(&world.redis);
    world.redis.kill();
    replica.promote();
    connect_mongodb(&replica);
    replica.cmd(&["WB.REGISTER", "new:", &world.database.namespace("new")]);
    replica.cmd(&["MSET", "new:1", "x", "k:1", "after"]);
    replica.cmd(&["DEL", "k:2"]);
    Mapping::by_id("k:").holds(&replica, &world.database.collection("keys"));
    Mapping::by_id("new:").holds(&replica, &world.database.collection("new"));
}

#[test]
fn a_demoted_master_stops_writing_and_ignores_late_acknowledgements() {
    let mongod = Mongod::pooled();
    let database = mongod.database();
    let old = quick(Setup::new(&mongod.uri())).start();
    old.cmd(&["WB.REGISTER", "k:", &database.namespace("keys")]);
    old.cmd(&["MSET", "k:1", "written", "k:2", "written"]);
    old.flush();
    let new = idle();
    new.follow(&old);
    mongod.freeze();
    old.cmd(&["MSET", "k:1", "in flight", "k:3", "in flight"]);
    wait_until("it is in flight", SOON, || old.status().int("in_flight_keys") == 2);
    new.wait_until_in_sync_with(&old);

    // The replica, with the same dirty keys, becomes master, and the old master its replica.
    new.promote();
    new.cmd(&["SET", "k:1", "newest"]);
    old.follow(&new);
    mongod.thaw();
    let keys = database.collection("keys");
    wait_until("the late batch ends", SOON, || old.status().int("in_flight_keys") == 0);
    assert_eq!(old.status().text("role"), "replica");
    assert_same_dirty_set(&new, &old);
    assert_eq!(new.status().int("dirty_keys"), 2);

    let written = old.status().int("batches_total");
    new.cmd(&["CONFIG", "SET", "writebehind.mongodb-uri", &mongod.uri()]);
    new.cmd(&["SET", "k:4", "x"]);
    Mapping::by_id("k:").holds(&new, &keys);
    assert_eq!(keys.text("1", "value"), "newest");
    old.wait_until_in_sync_with(&new);
    assert_same_dirty_set(&new, &old);
    assert_eq!(old.status().int("batches_total"), written);
}

#[test]
fn a_full_resync_replaces_the_dirty_keys_of_the_replica() {
    for diskless in ["disabled", "swapdb"] {
        let world =
            master(|setup| setup.config("repl-diskless-sync yes").config("repl-backlog-size 16kb"));
        let load = format!("repl-diskless-load {diskless}");
        let replica = quick(Setup::new(&unreachable_uri())).config(&load).start();
        replica.cmd(&["WB.REGISTER", "own:", "db.own"]);
        replica.cmd(&["SET", "own:1", "x"]);
        replica.follow(&world.redis);
        assert_same_dirty_set(&world.redis, &replica);

        // While the replica is suspended, more is written than fits into the replication backlog.
        let syncs = world.redis.info("stats", "sync_full");
        replica.freeze();
        world.redis.cmd(&["CLIENT", "KILL", "TYPE", "replica"]);
        let long = "x".repeat(1000);
        for i in 100..300 {
            world.redis.cmd(&["SET", &format!("k:{i}"), &long]);
        }
        world.redis.cmd(&["DEL", "k:300"]);
        replica.thaw();
        wait_until("the replica makes a full resync", SOON, || {
            world.redis.info("stats", "sync_full") != syncs
        });
        replica.wait_until_in_sync_with(&world.redis);
        assert_same_dirty_set(&world.redis, &replica);
        let is_async = replica.log().contains("Swapping active DB");
        assert_eq!(is_async, diskless == "swapdb", "{}", replica.log());
        replica.promote();
        connect_mongodb(&replica);
        Mapping::by_id("k:").holds(&replica, &world.database.collection("keys"));
    }
}

#[test]
fn an_aborted_full_resync_leaves_the_replica_unchanged() {
    let mut world =
        master(|setup| setup.config("repl-diskless-sync yes").config("repl-backlog-size 16kb"));
    let replica = quick(Setup::new(&unreachable_uri()))
        .config("repl-diskless-load swapdb")
        .config("loading-process-events-interval-bytes 1024")
        .start();
    replica.follow(&world.redis);
    let before = replica.digest();
    // More than fits into the socket buffers, and loaded slowly, so that it is incomplete when the
    // master is killed.
    replica.cmd(&["CONFIG", "SET", "key-load-delay", "3000"]);
    replica.freeze();
    world.redis.cmd(&["CLIENT", "KILL", "TYPE", "replica"]);
    let long = "x".repeat(50_000);
    for i in 0..500 {
        world.redis.cmd(&["SET", &format!("k:new{i}"), &long]);
    }
    replica.thaw();
    let loading = || replica.info("persistence", "async_loading").as_deref() == Some("1");
    wait_until("it loads", SOON, loading);
    world.redis.kill();
    wait_until("the resync is aborted", SOON, || !loading());
    assert_eq!(replica.run::<i64>(&["EXISTS", "k:new1"]), 0, "it has loaded the new data");
    assert_eq!(replica.digest(), before);
    replica.promote();
    connect_mongodb(&replica);
    Mapping::by_id("k:").holds(&replica, &world.database.collection("keys"));
}
