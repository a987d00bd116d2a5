//! Servers without the module: what they refuse while state of ours is there, and the way out.
//! Crash list C12 and C13.

use testkit::fixture::World;
use testkit::mongod::nowhere;
use testkit::redis_server::{Redis, Setup};
use testkit::wait::{SOON, wait_until};

/// Copies the data of `redis` into the folder of a server without the module that has ended,
/// and starts that one.
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
    plain.try_start_again(&[]).map(|()| plain)
}

/// The documented way out: unregister everything, write what is dirty, save.
fn leave(world: &World) {
    world.redis.cmd(&["WB.UNREGISTER", "k:"]);
    world.redis.flush();
    assert_eq!(world.redis.status().int("dirty_keys"), 0);
}

fn used(change: impl FnOnce(Setup) -> Setup) -> World {
    let world = World::with(change);
    world.register("k:", "keys", "");
    world.redis.cmd(&["MSET", "k:1", "x", "k:2", "x"]);
    world.redis.flush();
    world
}

/// Redis 7.0 writes something of every module with data into every RDB file, even when there is
/// nothing to write; such a file needs the module. There the way out is to let a newer server
/// load it, or to move the keys.
#[test]
fn an_rdb_saved_after_leaving_loads_without_the_module() {
    let mut world = used(|setup| setup);
    leave(&world);
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
fn an_aof_rewritten_after_leaving_loads_without_the_module() {
    let mut world = used(Setup::durable);
    leave(&world);
    world.redis.cmd(&["BGREWRITEAOF"]);
    wait_until("it is rewritten", SOON, || {
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
fn an_aof_with_acknowledgements_is_refused_without_the_module_and_not_cut_off() {
    let mut world = used(Setup::durable);
    let refused = without_module(&mut world.redis, Setup::durable);
    let log = refused.err().expect("a server without the module refuses");
    assert!(log.contains("WB.") || log.contains("writebehd"), "{log}");
}

/// The replica ends by itself (C13); the master must not, and goes on writing. Redis 7.0 as the
/// master ends such a replica always, the others only while something is registered or dirty.
#[test]
fn a_replica_without_the_module_does_the_master_no_harm() {
    let world = used(|setup| setup.config("repl-diskless-sync-delay 0"));
    let mut replica = Setup::without_module().start();
    replica.cmd(&["REPLICAOF", "127.0.0.1", &world.redis.port().to_string()]);
    wait_until("it gives up", SOON, || replica.ended().is_some());
    assert!(replica.log().contains("writebehd"), "{}", replica.log());
    world.redis.cmd(&["SET", "k:3", "x"]);
    world.redis.flush();
    assert_eq!(world.database.collection("keys").count(), 3);

    leave(&world);
    if !world.redis.is_redis_7_0() {
        let replica = Setup::without_module().start();
        replica.follow(&world.redis);
        assert_eq!(replica.run::<i64>(&["DBSIZE"]), 3);
    }
}

#[test]
fn a_server_with_the_module_and_no_registrations_leaves_no_trace_in_its_rdb() {
    let mut redis = Redis::start(&nowhere());
    redis.cmd(&["SET", "k:1", "x"]);
    redis.cmd(&["SAVE"]);
    let dump = std::fs::read(redis.dir().join("dump.rdb")).expect("dump");
    // Redis 7.0 asks nobody whether there is anything to save.
    let has_trace = dump.windows(9).any(|bytes| bytes == b"writebehd");
    assert!(!has_trace || redis.is_redis_7_0());
    let refuses = redis.is_redis_7_0();
    assert_eq!(without_module(&mut redis, |setup| setup).is_err(), refuses);
}
