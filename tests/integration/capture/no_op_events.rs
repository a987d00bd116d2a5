//! Events that change no document cause no write.

use testkit::comparison::Mapping;
use testkit::fixture::World;
use testkit::mongod::{Mongod, PooledMongod};
use testkit::redis_server::{Redis, Setup};
use testkit::wait::{SOON, wait_until};

/// Clean keys of every type, and a MongoDB that this test alone writes to.
fn clean() -> (PooledMongod, Redis) {
    let mongod = Mongod::pooled();
    let redis = Setup::new(&mongod.uri()).json().start();
    let namespace = mongod.database().namespace("keys");
    redis.cmd(&["WB.REGISTER", "k:", &namespace]);
    for line in [
        "SET k:string a",
        "HSET k:hash a 1 b 2 c 3",
        "RPUSH k:list a b c",
        "SADD k:set a b",
        "ZADD k:zset 1 a 2 b",
        "XADD k:stream 1-1 f v",
        "JSON.SET k:json $ {\"a\":1}",
        "SET k:expiring a PX 1000000",
        "XGROUP CREATE k:stream group 0",
    ] {
        redis.cmd(&line.split(' ').collect::<Vec<_>>());
    }
    redis.flush();
    (mongod, redis)
}

/// True if this server has the command.
fn knows(redis: &Redis, line: &str) -> bool {
    let name = line.split(' ').next().unwrap_or_default();
    let info: Vec<redis::Value> = redis.run(&["COMMAND", "INFO", name]);
    info.first() != Some(&redis::Value::Nil)
}

const WITHOUT_EFFECT: [&str; 50] = [
    // Only the time to live changes.
    "EXPIRE k:string 1000",
    "PEXPIREAT k:hash 99999999999999",
    "PERSIST k:string",
    "GETEX k:string EX 1000",
    "GETEX k:string PERSIST",
    "EXPIRE k:json 1000",
    "PERSIST k:expiring",
    "HEXPIRE k:hash 1000 FIELDS 1 a",
    "HPERSIST k:hash FIELDS 1 a",
    "HGETEX k:hash EX 1000 FIELDS 1 b",
    // The condition is not met.
    "SET k:string b NX",
    "SETNX k:string b",
    "MSETNX k:string b k:other b",
    "HSETNX k:hash a 2",
    "LPUSHX k:nothing a",
    "SADD k:set a",
    "SREM k:set nothing",
    "ZADD k:zset 1 a",
    "ZADD k:zset NX 5 a",
    "ZREM k:zset nothing",
    "HDEL k:hash nothing",
    "DEL k:nothing",
    "LREM k:list 0 nothing",
    "XDEL k:stream 9-9",
    "XTRIM k:stream MAXLEN 100",
    "COPY k:string k:hash",
    "RENAMENX k:string k:hash",
    "EXPIRE k:nothing 5",
    // Reads.
    "GET k:string",
    "HGETALL k:hash",
    "LRANGE k:list 0 -1",
    "SMEMBERS k:set",
    "ZRANGE k:zset 0 -1",
    "XRANGE k:stream - +",
    "JSON.GET k:json",
    "SORT k:list ALPHA",
    "DUMP k:string",
    "TOUCH k:string",
    "OBJECT ENCODING k:string",
    "TYPE k:string",
    "SCAN 0",
    "STRLEN k:string",
    // Consumers and consumer groups.
    "XREADGROUP GROUP group ann STREAMS k:stream >",
    "XACK k:stream group 1-1",
    "XGROUP CREATECONSUMER k:stream group bob",
    "XGROUP DELCONSUMER k:stream group bob",
    "XGROUP SETID k:stream group 0",
    "XGROUP DESTROY k:stream group",
    "XSETID k:stream 5-5",
    "WB.EXPLAIN k:string",
];

#[test]
fn commands_that_change_nothing_are_not_captured_and_not_written() {
    let (mongod, redis) = clean();
    let captured = || redis.status().int("captured_total");
    let before = (captured(), mongod.writes());
    let lines: Vec<&str> = WITHOUT_EFFECT.into_iter().filter(|line| knows(&redis, line)).collect();
    assert!(lines.len() >= WITHOUT_EFFECT.len() - 3);
    for line in lines {
        redis.cmd(&line.split(' ').collect::<Vec<_>>());
        assert_eq!(captured(), before.0, "{line}");
    }
    redis.flush();
    assert_eq!((captured(), mongod.writes()), before);
}

#[test]
fn commands_that_change_a_value_beside_its_time_to_live_are_written() {
    let world = World::new();
    // EXPIRE with a time in the past raises the event `expired` in Valkey.
    world.register("k:", "keys", "INTERVAL 0 ONEXPIRE DELETE");
    let keys = world.database.collection("keys");
    world.redis.cmd(&["SET", "k:1", "a", "EX", "1000"]);
    world.redis.cmd(&["HSET", "k:hash", "a", "1", "b", "2", "c", "3"]);
    world.redis.cmd(&["HSET", "k:last", "a", "1"]);
    let mut lines = vec![
        "COPY k:1 k:2",
        "RENAME k:2 k:3",
        "SETEX k:3 1000 b",
        "SET k:1 c KEEPTTL",
        "EXPIRE k:3 -1",
        "SORT k:nothing STORE k:1",
        "XGROUP CREATE k:stream group $ MKSTREAM",
    ];
    if knows(&world.redis, "HPEXPIREAT") {
        lines.extend(["HPEXPIREAT k:hash 1 FIELDS 1 a", "HEXPIRE k:last 0 FIELDS 1 a"]);
    }
    if knows(&world.redis, "HGETEX") {
        lines.push("HGETEX k:hash PXAT 1 FIELDS 1 b");
    }
    for line in lines {
        let before = world.redis.status().int("captured_total");
        world.redis.cmd(&line.split(' ').collect::<Vec<_>>());
        assert!(world.redis.status().int("captured_total") > before, "{line}");
        Mapping::by_id("k:").holds(&world.redis, &keys);
    }
    world.register("timed:", "timed", "TTLFIELD until INTERVAL 0");
    world.redis.cmd(&["SET", "timed:1", "a"]);
    world.redis.flush();
    for line in ["EXPIRE timed:1 1000", "PERSIST timed:1"] {
        world.redis.cmd(&line.split(' ').collect::<Vec<_>>());
        world.redis.flush();
        let until = world.database.collection("timed").document("1").get("until").is_some();
        assert_eq!(until, line.starts_with("EXPIRE"), "{line}");
    }
}

#[test]
fn a_dirty_key_that_gets_a_time_to_live_is_written_before_it_expires() {
    let world = World::new();
    world.register("k:", "keys", "INTERVAL 600000");
    for key in 0..20 {
        let key = format!("k:{key}");
        world.redis.cmd(&["SET", &key, "brief"]);
        world.redis.status();
        world.redis.cmd(&["PEXPIRE", &key, "1100"]);
    }
    wait_until("the keys expire", SOON, || world.redis.run::<i64>(&["DBSIZE"]) == 0);
    let flushed = world.redis.flush();
    assert_eq!((flushed.persisted, world.redis.status().int("lost_total")), (20, 0));
    assert_eq!(world.database.collection("keys").count(), 20);
}
