//! Invariant 11: any stream of commands leaves the same dirty set on the master, its replicas and
//! after loading the AOF.

use fastrand::Rng;

use testkit::fixture::World;
use testkit::mongod::unreachable_uri;
use testkit::redis_server::replication::assert_same_dirty_set;
use testkit::redis_server::{Redis, Setup, command};
use testkit::wait::{SOON, wait_until};

/// A key of one of two prefixes, which are registered in two databases, or an unregistered key.
fn key(rng: &mut Rng) -> String {
    let prefix = ["k:", "d:", "other:"][rng.usize(..3)];
    format!("{prefix}{}", rng.u32(..60))
}

/// A random command, often one that removes a key.
fn words(rng: &mut Rng) -> Vec<String> {
    let (a, b) = (key(rng), key(rng));
    let line = match rng.u32(..24) {
        0..5 => format!("SET {a} {}", rng.u32(..)),
        5 => format!("SET {a} x PX {}", rng.u32(1..60)),
        6 => format!("PEXPIRE {a} {}", rng.u32(1..60)),
        7 => format!("PEXPIRE {a} -1"),
        8 => format!("DEL {a} {b}"),
        9 => format!("UNLINK {a}"),
        10 => format!("RENAME {a} {b}"),
        11 => format!("COPY {a} {b} REPLACE"),
        12 => format!("GETDEL {a}"),
        13 => format!("GETEX {a} PX 20"),
        14 => format!("SPOP set:{a}"),
        15 => format!("APPEND {a} x"),
        16 => format!("EVAL redis.call('SET',KEYS[1],'s');redis.call('DEL',KEYS[2]) 2 {a} {b}"),
        17 => format!("MSET {a} 1 {b} 2"),
        18 => format!("SETRANGE {a} 3 x"),
        19 => format!("PERSIST {a}"),
        20 => "SELECT 2".to_owned(),
        21 => "SELECT 0".to_owned(),
        22 => format!("BITOP NOT {a} {b}"),
        _ => format!("SET {a} y KEEPTTL"),
    };
    line.split(' ').map(str::to_owned).collect()
}

/// Runs commands, some of them in transactions. Error replies are part of the test.
fn run(redis: &Redis, rng: &mut Rng, count: u32) {
    let connection = &mut *redis.connection();
    for _ in 0..count {
        let inside = if rng.u32(..10) == 0 { 3 } else { 1 };
        if inside > 1 {
            command(&["MULTI"]).query::<()>(connection).expect("MULTI");
        }
        for _ in 0..inside {
            command(&words(rng)).query::<redis::Value>(connection).ok();
        }
        if inside > 1 {
            command(&["EXEC"]).query::<redis::Value>(connection).ok();
        }
    }
}

/// True if keys of either database still have a time to live.
fn expiring(redis: &Redis) -> bool {
    redis.info("keyspace", "db0").into_iter().chain(redis.info("keyspace", "db2")).any(|line| {
        line.split(',').any(|field| field.starts_with("expires=") && field != "expires=0")
    })
}

#[test]
fn master_replicas_and_the_aof_have_the_same_dirty_set_after_any_commands() {
    // What was written to the AOF outlives a killed server, synced or not.
    let aof = |setup: Setup| setup.durable().config("appendfsync no");
    let mut world = World::without_mongodb(|setup| aof(setup).config("repl-diskless-sync-delay 0"));
    for (prefix, options) in [("k:", "INTERVAL 0"), ("d:", "ONEXPIRE DELETE ONDEL KEEP")] {
        for db in ["0", "2"] {
            world.redis.cmd(&["SELECT", db]);
            world.register(prefix, &format!("{}{db}", prefix.trim_end_matches(':')), options);
        }
    }
    let replicas = [
        aof(Setup::new(&unreachable_uri())).start(),
        Setup::new(&unreachable_uri()).config("repl-diskless-sync-delay 0").start(),
    ];
    replicas[0].follow(&world.redis);
    replicas[1].follow(&replicas[0]);
    for seed in 0..6 {
        let mut rng = Rng::with_seed(seed);
        // With MongoDB, the stream contains acknowledgements too.
        if seed % 2 == 0 {
            world.connect_mongodb()
        } else {
            world.disconnect_mongodb()
        }
        run(&world.redis, &mut rng, 1500);
        if seed == 2 {
            world.redis.cmd(&["BGREWRITEAOF"]);
        }
        wait_until("all times to live elapse", SOON, || !expiring(&world.redis));
        if seed % 2 == 0 {
            world.redis.flush();
        }
        for replica in &replicas {
            replica.wait_until_in_sync_with(&world.redis);
            assert_same_dirty_set(&world.redis, replica);
        }
        let before = (world.redis.digest(), world.redis.status().int("dirty_keys"));
        world.redis.kill();
        world.redis.restart();
        let after = (world.redis.digest(), world.redis.status().int("dirty_keys"));
        assert_eq!(after, before, "after a restart from the AOF, seed {seed}");
        for replica in &replicas {
            replica.wait_until_in_sync_with(&world.redis);
            assert_same_dirty_set(&world.redis, replica);
        }
    }
}

#[test]
fn a_large_batch_that_is_acknowledged_in_slices_is_clean_everywhere() {
    let mut world = World::with(|setup| setup.durable().config("repl-diskless-sync-delay 0"));
    world.register("k:", "keys", "INTERVAL 600000 BATCH 20000");
    let replica = Setup::new(&unreachable_uri()).durable().start();
    replica.follow(&world.redis);
    world.redis.cmd(&["CONFIG", "SET", "writebehind.read-slice-us", "10"]);
    let script = "for i = 1, 20000 do redis.call('SET', 'k:' .. i, i) end";
    world.redis.cmd(&["EVAL", script, "0"]);
    let flushed = world.redis.flush();
    assert_eq!((flushed.persisted, flushed.failed, flushed.pending), (20_000, 0, 0));
    world.redis.cmd(&["SET", "k:1", "again"]);
    replica.wait_until_in_sync_with(&world.redis);
    assert_same_dirty_set(&world.redis, &replica);
    world.redis.kill();
    world.redis.restart();
    assert_eq!(world.redis.status().int("dirty_keys"), 1);
}
