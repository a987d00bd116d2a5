//! Look-ahead retention, which Redis 7.0 requires: its memory, its time on the server, and its
//! effect on a replica. Other servers report a key before its removal, and pass these tests as
//! well.

use std::time::Instant;

use testkit::fixture::{World, connect_mongodb};
use testkit::mongod::unreachable_uri;
use testkit::redis_server::reply::Fields;
use testkit::redis_server::{Redis, Setup, command};
use testkit::wait::{SOON, wait_until};

/// Commands per pipeline.
const PIPELINE: usize = 500;

/// Sends `count` SETEX commands on `keys` keys in turn.
fn set_with_ttl(redis: &Redis, keys: usize, count: usize, ttl: &str) {
    let mut connection = redis.connect();
    for start in (0..count).step_by(PIPELINE) {
        let mut pipeline = redis::pipe();
        for number in start..start + PIPELINE {
            let key = format!("k:{}", number % keys);
            pipeline.add_command(command(&["SETEX", &key, ttl, "value"])).ignore();
        }
        pipeline.query::<()>(&mut connection).expect("every write is acknowledged");
    }
}

#[test]
fn setting_the_time_to_live_repeatedly_takes_no_more_memory() {
    let redis = Setup::new(&unreachable_uri()).start();
    redis.cmd(&["WB.REGISTER", "k:", "db.keys"]);
    set_with_ttl(&redis, 500, 500, "3600");
    let once = redis.status().int("memory_bytes");
    set_with_ttl(&redis, 500, 300_000, "3600");
    let often = redis.status().int("memory_bytes");
    let resident_once = resident_kib(&redis);
    set_with_ttl(&redis, 500, 600_000, "3600");
    let grown = resident_kib(&redis).saturating_sub(resident_once);
    println!("memory_bytes {once} and then {often}; {grown} KiB more of the process");
    assert!(often < 2 * once, "memory_bytes was {once}, and is {often}");
    // One entry per command would be 40 MiB.
    assert!(grown < 10 * 1024, "the process has grown by {grown} KiB");
}

/// Resident memory of the process, in KiB.
fn resident_kib(redis: &Redis) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", redis.pid())).expect("status");
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("VmRSS");
    line.split_whitespace().nth(1).expect("kB").parse().expect("kB")
}

fn quick(setup: Setup) -> Setup {
    setup.config("repl-diskless-sync-delay 0")
}

#[test]
fn a_promotion_does_not_scan_all_keys() {
    let world = World::without_mongodb(quick);
    world.register("k:", "keys", "");
    let replica = quick(Setup::new(&unreachable_uri())).start();
    replica.follow(&world.redis);
    world.redis.cmd(&["SET", "other", "x", "EX", "3600"]);
    world.redis.cmd(&["SET", "k:1", "x", "EX", "3600"]);
    replica.wait_until_in_sync_with(&world.redis);
    replica.cmd(&["DEBUG", "POPULATE", "1000000"]);
    let start = Instant::now();
    replica.cmd(&["KEYS", "nothing"]);
    let every_key = start.elapsed();
    let start = Instant::now();
    replica.promote();
    replica.cmd(&["PING"]);
    let promotion = start.elapsed();
    println!("a promotion takes {promotion:?}, a scan of all keys {every_key:?}");
    assert!(promotion < every_key / 2, "{promotion:?}, and a scan of all keys {every_key:?}");
}

#[test]
fn keys_that_expire_on_a_replica_before_its_promotion_are_written() {
    const KEYS: i64 = 100;
    let mut world = World::without_mongodb(|setup| quick(setup).json());
    world.register("k:", "keys", "");
    let replica = quick(Setup::new(&unreachable_uri())).json().start();
    replica.follow(&world.redis);
    world.redis.cmd(&["DEBUG", "SET-ACTIVE-EXPIRE", "0"]);
    for number in 0..KEYS {
        world.redis.cmd(&["SET", &format!("k:{number}"), "value", "PX", "2500"]);
    }
    world.redis.cmd(&["JSON.SET", "k:json", "$", "{\"value\": \"value\"}"]);
    world.redis.cmd(&["PEXPIRE", "k:json", "2500"]);
    replica.wait_until_in_sync_with(&world.redis);
    world.redis.kill();
    wait_until("the keys are logically expired on the replica", SOON, || {
        replica
            .run::<Option<String>>(&["RANDOMKEY"])
            .is_none_or(|key| replica.run::<i64>(&["EXISTS", &key]) == 0)
    });
    replica.promote();
    wait_until("the keys are removed", SOON, || replica.run::<i64>(&["DBSIZE"]) == 0);
    connect_mongodb(&replica);
    let flushed = replica.flush();
    let status = replica.status();
    assert_eq!((flushed.persisted, status.int("lost_total")), (KEYS + 1, 0));
    world.holds("keys", "0", "value");
    world.holds("keys", "json", "value");
}

#[test]
fn keys_that_a_replica_receives_after_they_expired_are_found_by_a_scan() {
    const KEYS: i64 = 100;
    let mut world = World::without_mongodb(quick);
    world.register("k:", "keys", "");
    let replica = quick(Setup::new(&unreachable_uri())).start();
    replica.follow(&world.redis);
    world.redis.cmd(&["DEBUG", "SET-ACTIVE-EXPIRE", "0"]);
    replica.cmd(&["DEBUG", "POPULATE", "20000"]);
    replica.freeze();
    for number in 0..KEYS {
        world.redis.cmd(&["SET", &format!("k:{number}"), "value", "PX", "1500"]);
    }
    let end_ms: i64 = world.redis.run(&["PEXPIRETIME", &format!("k:{}", KEYS - 1)]);
    let now_ms = || {
        let now: Vec<i64> = world.redis.run(&["TIME"]);
        now[0] * 1000 + now[1] / 1000
    };
    assert!(end_ms > now_ms(), "the machine is too slow");
    wait_until("the keys expire", SOON, || now_ms() > end_ms);
    replica.thaw();
    wait_until("the replica has received them", SOON, || {
        replica.status().int("dirty_keys") == KEYS
    });
    let last = format!("k:{}", KEYS - 1);
    // Other servers report them when the promoted replica removes them.
    if replica.is_redis_7_0() {
        wait_until("their values are retained", SOON, || {
            let explained: Fields = replica.run(&["WB.EXPLAIN", &last]);
            explained.text("document").contains("value")
        });
    }
    world.redis.kill();
    replica.promote();
    wait_until("the keys are removed", SOON, || replica.run::<i64>(&["DBSIZE"]) == 20_000);
    connect_mongodb(&replica);
    let flushed = replica.flush();
    assert_eq!((flushed.persisted, replica.status().int("lost_total")), (KEYS, 0));
    world.holds("keys", "0", "value");
}
