//! Servers without the module: the data that they refuse, and how to remove the module's state from
//! it. Crash list C12 and C13.

use testkit::fixture::World;
use testkit::mongod::unreachable_uri;
use testkit::redis_server::{Redis, Setup};
use testkit::wait::{SOON, wait_until};

/// Starts a server without the module on a copy of the data of `redis`.
fn without_module(redis: &mut Redis, change: impl FnOnce(Setup) -> Setup) -> Result<Redis, String> {
    redis.kill();
    let mut plain = change(Setup::without_module()).start();
    plain.kill();
    for name in ["dump.rdb", "appendonlydir"] {
        let (from, to) = (redis.dir().join(name), plain.dir().join(name));
        if to.is_dir() {
            std::fs::remove_dir_all(&to).expect("old AOF");
        }
        if from.is_dir() {
            std::fs::create_dir(&to).expect("AOF folder");
            for file in std::fs::read_dir(&from).expect("AOF") {
                let file = file.expect("file");
                std::fs::copy(file.path(), to.join(file.file_name())).expect("copy");
            }
        } else if from.exists() {
            std::fs::copy(&from, &to).expect("copy");
        }
    }
    plain.try_restart(&[]).map(|()| plain)
}

/// The documented procedure to remove the module: unregister everything, write the dirty keys,
/// save.
fn remove_state(world: &World) {
    world.redis.cmd(&["WB.UNREGISTER", "k:"]);
    world.redis.flush();
    assert_eq!(world.redis.status().int("dirty_keys"), 0);
}

/// A world with a registration and clean keys.
fn used(change: impl FnOnce(Setup) -> Setup) -> World {
    let world = World::with(change);
    world.register("k:", "keys", "");
    world.redis.cmd(&["MSET", "k:1", "x", "k:2", "x"]);
    world.redis.flush();
    world
}

/// Redis 7.0 writes a record of every module with data types into every RDB file, even if the
/// module has nothing to save; such a file needs the module. Load it in a newer server instead, or
/// copy the keys.
#[test]
fn an_rdb_saved_after_the_removal_of_all_state_loads_without_the_module() {
    let mut world = used(|setup| setup);
    remove_state(&world);
    world.redis.cmd(&["SAVE"]);
    let refuses = world.redis.is_redis_7_0();
    match without_module(&mut world.redis, |setup| setup) {
        Ok(plain) => {
            assert!(!refuses, "7.0 loads it now: the documentation is out of date");
            assert_eq!(plain.run::<i64>(&["DBSIZE"]), 2);
        }
        Err(log) => assert!(refuses, "{log}"),
    }
}

/// Redis 7.0: as above, because the AOF begins with an RDB.
#[test]
fn an_aof_rewritten_after_the_removal_of_all_state_loads_without_the_module() {
    let mut world = used(Setup::durable);
    remove_state(&world);
    world.redis.cmd(&["BGREWRITEAOF"]);
    wait_until("the AOF is rewritten", SOON, || {
        world.redis.info("persistence", "aof_rewrite_in_progress").as_deref() == Some("0")
    });
    let refuses = world.redis.is_redis_7_0();
    match without_module(&mut world.redis, Setup::durable) {
        Ok(plain) => {
            assert!(!refuses, "7.0 loads it now: the documentation is out of date");
            assert_eq!(plain.run::<i64>(&["DBSIZE"]), 2);
        }
        Err(log) => assert!(refuses, "{log}"),
    }
}

#[test]
fn an_aof_with_acknowledgements_is_refused_without_the_module_and_not_truncated() {
    let mut world = used(Setup::durable);
    let refused = without_module(&mut world.redis, Setup::durable);
    let log = refused.err().expect("a server without the module refuses");
    assert!(log.contains("WB.") || log.contains("writebehd"), "{log}");
}

/// A replica without the module exits (C13); the master must continue. With Redis 7.0 as the master
/// such a replica always exits, with other servers only while there are registrations or dirty
/// keys.
#[test]
fn a_replica_without_the_module_does_not_affect_the_master() {
    let world = used(|setup| setup.config("repl-diskless-sync-delay 0"));
    let mut replica = Setup::without_module().start();
    replica.cmd(&["REPLICAOF", "127.0.0.1", &world.redis.port().to_string()]);
    wait_until("the replica exits", SOON, || replica.ended().is_some());
    assert!(replica.log().contains("writebehd"), "{}", replica.log());
    world.redis.cmd(&["SET", "k:3", "x"]);
    world.redis.flush();
    assert_eq!(world.database.collection("keys").count(), 3);

    remove_state(&world);
    if !world.redis.is_redis_7_0() {
        let replica = Setup::without_module().start();
        replica.follow(&world.redis);
        assert_eq!(replica.run::<i64>(&["DBSIZE"]), 3);
    }
}

#[test]
fn an_rdb_of_a_server_without_registrations_contains_no_module_state() {
    let mut redis = Redis::start(&unreachable_uri());
    redis.cmd(&["SET", "k:1", "x"]);
    redis.cmd(&["SAVE"]);
    let dump = std::fs::read(redis.dir().join("dump.rdb")).expect("dump");
    // Redis 7.0 does not ask modules whether they have anything to save.
    let has_trace = dump.windows(9).any(|bytes| bytes == b"writebehd");
    assert!(!has_trace || redis.is_redis_7_0());
    let refuses = redis.is_redis_7_0();
    assert_eq!(without_module(&mut redis, |setup| setup).is_err(), refuses);
}
