//! A group that is dirty while Redis is restarted, or a replica is promoted, is written together
//! afterwards.

use mongodb::bson::doc;

use testkit::fixture::{World, connect_mongodb};
use testkit::mongod::transaction::Transaction;
use testkit::mongod::{Mongod, TestDatabase, unreachable_uri};
use testkit::redis_server::replication::assert_same_dirty_set;
use testkit::redis_server::{Redis, Setup};
use testkit::wait::{SOON, wait_until};

use super::{
    COLLECTIONS, LONG_INTERVAL_MS, flush_all, flush_while_locked, flushed, set_together,
    transaction, values,
};

fn quick(setup: Setup) -> Setup {
    setup.config("repl-diskless-sync-delay 0").setting("flush-interval-ms", LONG_INTERVAL_MS)
}

/// A world in which MongoDB is unreachable and document `1` of each collection has the value `old`.
#[track_caller]
fn world(change: impl FnOnce(Setup) -> Setup) -> World {
    let world = World::without_mongodb(|setup| change(quick(setup)));
    for (prefix, collection) in COLLECTIONS {
        world.register(prefix, collection, "");
        world.database.collection(collection).insert(doc! { "_id": "1", "value": "old" });
    }
    world
}

/// The dirty keys `a:1` and `b:1` are a group: while the document of one is locked, the other is not
/// written either. `c:1` is dirty, too, and in no group.
#[track_caller]
fn is_written_together(redis: &Redis, database: &TestDatabase, expected: [&str; 2]) {
    assert_eq!(redis.status().int("dirty_keys"), 3);
    let locked = Transaction::hold(Mongod::shared(), database.name(), "first", &["1"]);
    connect_mongodb(redis);
    assert_eq!(flush_while_locked(redis), flushed(1, 2));
    assert_eq!(values(database), ["old", "old", "alone"]);
    locked.end();
    flush_all(redis);
    assert_eq!(values(database), [expected[0], expected[1], "alone"]);
    assert_eq!(super::groups(redis), [1, 0]);
}

#[test]
fn a_group_that_is_dirty_at_a_restart_is_written_together() {
    for kept in ["RDB", "AOF", "rewritten AOF"] {
        println!("{kept}");
        let durable = |setup: Setup| if kept == "RDB" { setup } else { setup.durable() };
        let mut world = world(durable);
        set_together(&world.redis, &["a:", "b:"], "new");
        world.redis.cmd(&["SET", "c:1", "alone"]);
        match kept {
            "RDB" => drop(world.redis.cmd(&["SAVE"])),
            "AOF" => {}
            _ => rewrite(&world.redis),
        }
        world.redis.kill();
        world.redis.restart();
        is_written_together(&world.redis, &world.database, ["new", "new"]);
    }
}

fn rewrite(redis: &Redis) {
    redis.cmd(&["BGREWRITEAOF"]);
    let state = |field| redis.info("persistence", field);
    wait_until("the AOF is rewritten", SOON, || {
        state("aof_rewrite_in_progress").as_deref() == Some("0")
            && state("aof_rewrite_scheduled").as_deref() == Some("0")
    });
}

#[test]
fn a_group_with_a_deleted_key_survives_a_restart() {
    for durable in [false, true] {
        let mut world = world(|setup| if durable { setup.durable() } else { setup });
        world.redis.cmd(&["SET", "b:1", "old"]);
        transaction(&world.redis, &[&["SET", "a:1", "new"], &["DEL", "b:1"]]);
        world.redis.cmd(&["SET", "c:1", "alone"]);
        if !durable {
            world.redis.cmd(&["SAVE"]);
        }
        world.redis.kill();
        world.redis.restart();
        is_written_together(&world.redis, &world.database, ["new", "-"]);
    }
}

#[test]
fn a_promoted_replica_writes_groups_together() {
    // The group is in the RDB of the full synchronization, or in the stream.
    for in_stream in [false, true] {
        println!("in the stream: {in_stream}");
        let mut world = world(|setup| setup);
        let replica = quick(Setup::new(&unreachable_uri())).start();
        let change = |redis: &Redis| {
            set_together(redis, &["a:", "b:"], "new");
            redis.cmd(&["SET", "c:1", "alone"]);
        };
        if in_stream {
            replica.follow(&world.redis);
            change(&world.redis);
            replica.wait_until_in_sync_with(&world.redis);
        } else {
            change(&world.redis);
            replica.follow(&world.redis);
        }
        assert_same_dirty_set(&world.redis, &replica);
        world.redis.kill();
        replica.promote();
        is_written_together(&replica, &world.database, ["new", "new"]);
    }
}

#[test]
fn a_group_that_was_acknowledged_is_no_group_any_more_after_a_restart() {
    for durable in [false, true] {
        let mut world = world(|setup| if durable { setup.durable() } else { setup });
        world.connect_mongodb();
        set_together(&world.redis, &["a:", "b:"], "new");
        assert_eq!(world.redis.flush(), flushed(2, 0));
        world.disconnect_mongodb();
        world.redis.cmd(&["SET", "a:1", "one"]);
        world.redis.cmd(&["SET", "b:1", "two"]);
        if !durable {
            world.redis.cmd(&["SAVE"]);
        }
        world.redis.kill();
        world.redis.restart();
        let database = &world.database;
        let locked = Transaction::hold(Mongod::shared(), database.name(), "first", &["1"]);
        world.connect_mongodb();
        assert_eq!(flush_while_locked(&world.redis), flushed(1, 1));
        assert_eq!(values(database), ["new", "two", "old"]);
        locked.end();
        flush_all(&world.redis);
    }
}
