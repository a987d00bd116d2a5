//! Lists, sets, sorted sets and streams: every command that writes them, and every way to read
//! them.

use mongodb::bson::{Bson, doc};

use testkit::comparison::Mapping;
use testkit::fixture::World;
use testkit::mongod::dollar_name;
use testkit::redis_server::command;
use testkit::wait::{SOON, wait_until};

fn registered() -> World {
    let world = World::new();
    world.register("k:", "keys", "INTERVAL 0");
    world
}

/// Runs the commands one by one; after each, MongoDB must hold what Redis holds.
#[track_caller]
fn each_is_written(world: &World, commands: &[&str]) {
    let keys = world.database.collection("keys");
    let mut before = keys.all();
    for line in commands {
        world.redis.cmd(&line.split(' ').collect::<Vec<_>>());
        Mapping::by_id("k:").holds(&world.redis, &keys);
        let after = keys.all();
        assert_ne!(before, after, "{line} changed nothing");
        before = after;
    }
}

#[test]
fn every_list_command_is_a_change() {
    each_is_written(
        &registered(),
        &[
            "RPUSH k:1 a b c d e f g",
            "LPUSH k:1 z",
            "LPUSHX k:1 y",
            "RPUSHX k:1 x",
            "LPOP k:1",
            "RPOP k:1",
            "LSET k:1 0 first",
            "LINSERT k:1 AFTER a between",
            "LREM k:1 1 c",
            "LTRIM k:1 0 5",
            "RPOPLPUSH k:1 k:2",
            "LMOVE k:1 k:2 LEFT RIGHT",
            "BLMOVE k:1 k:2 LEFT RIGHT 1",
            "BRPOPLPUSH k:1 k:2 1",
            "LMPOP 1 k:2 LEFT COUNT 1",
            "BLMPOP 1 1 k:2 LEFT",
            "BLPOP k:2 1",
            "BRPOP k:1 1",
            "DEL k:1",
        ],
    );
}

#[test]
fn every_set_command_is_a_change() {
    each_is_written(
        &registered(),
        &[
            "SADD k:1 c a b 10 9",
            "SADD k:2 3 20 100",
            "SREM k:1 c",
            "SMOVE k:1 k:2 a",
            "SPOP k:2",
            "SADD k:1 x y",
            "SADD k:2 x y",
            "SINTERSTORE k:3 k:1 k:2",
            "SUNIONSTORE k:4 k:1 k:2",
            "SDIFFSTORE k:5 k:4 k:3",
            "SREM k:3 x y",
        ],
    );
}

#[test]
fn every_sorted_set_command_is_a_change() {
    each_is_written(
        &registered(),
        &[
            "ZADD k:1 1 b 1 a 2.5 c -inf low +inf top",
            "ZINCRBY k:1 0.1 a",
            "ZADD k:1 XX GT 9 c",
            "ZREM k:1 low",
            "ZADD k:2 3 a 4 b 5 x 6 y",
            "ZUNIONSTORE k:3 2 k:1 k:2",
            "ZINTERSTORE k:4 2 k:1 k:2 AGGREGATE MAX",
            "ZDIFFSTORE k:5 2 k:2 k:1",
            "ZRANGESTORE k:6 k:3 0 1",
            "ZPOPMIN k:3",
            "ZPOPMAX k:3",
            "BZPOPMIN k:3 1",
            "ZMPOP 1 k:2 MIN",
            "BZMPOP 1 1 k:2 MAX",
            "ZREMRANGEBYRANK k:1 0 0",
            "ZREMRANGEBYSCORE k:4 -inf 4",
            "GEOADD k:7 13.361389 38.115556 Palermo 15.087269 37.502669 Catania",
            "GEOSEARCHSTORE k:8 k:7 FROMMEMBER Palermo BYRADIUS 10 km",
            "ZADD k:9 0 a 0 b 0 c",
            "ZREMRANGEBYLEX k:9 [a [b",
        ],
    );
}

#[test]
fn every_stream_command_is_a_change() {
    each_is_written(
        &registered(),
        &[
            "XADD k:1 1-1 a 1 b 2 a 3",
            "XADD k:1 1-2 c 4",
            "XADD k:1 5-0 a 1",
            "XADD k:1 6-0 a 1",
            "XDEL k:1 1-2",
            "XTRIM k:1 MAXLEN 2",
            "XADD k:1 MAXLEN 1 7-0 last one",
            "XTRIM k:1 MINID 8",
            "XGROUP CREATE k:2 group $ MKSTREAM",
            "XADD k:2 9-9 a 1",
        ],
    );
}

#[test]
fn every_command_that_replaces_a_key_by_another_type_is_a_change() {
    each_is_written(
        &registered(),
        &[
            "RPUSH k:1 3 1 2",
            "SORT k:1 STORE k:2",
            "SADD k:3 m n",
            "COPY k:3 k:1 REPLACE",
            "ZADD k:4 1 a",
            "RENAME k:4 k:1",
            "XADD k:5 1-1 a b",
            "RENAME k:5 k:1",
            "SET k:1 text",
            "COPY k:2 k:1 REPLACE",
            "HSET k:6 a b",
            "RENAME k:6 k:1",
            "SUNIONSTORE k:1 k:3",
        ],
    );
}

#[test]
fn keys_of_other_types_than_registered_are_not_written() {
    let create = [
        ("LIST", "RPUSH t:1 a", doc! { "_id": "1", "value": ["a"] }),
        ("SET", "SADD t:1 a", doc! { "_id": "1", "value": ["a"] }),
        ("ZSET", "ZADD t:1 1 a", doc! { "_id": "1", "value": [{ "member": "a", "score": 1.0 }] }),
        (
            "STREAM",
            "XADD t:1 1-1 a b",
            doc! { "_id": "1", "value": [{ "id": "1-1", "fields": { "a": "b" } }] },
        ),
    ];
    let world = World::new();
    for (kind, line, document) in &create {
        world.register("t:", kind, &format!("TYPE {kind} INTERVAL 0"));
        let keys = world.database.collection(kind);
        for (other, other_line, _) in &create {
            world.redis.cmd(&["DEL", "t:1"]);
            world.redis.cmd(&other_line.split(' ').collect::<Vec<_>>());
            world.redis.flush();
            assert_eq!(keys.count(), u64::from(kind == other), "{other} under TYPE {kind}");
        }
        world.redis.cmd(&["DEL", "t:1"]);
        world.redis.cmd(&line.split(' ').collect::<Vec<_>>());
        world.redis.flush();
        assert_eq!(keys.all(), std::slice::from_ref(document));
        // A key whose type stops matching counts as deleted.
        world.redis.cmd(&["SET", "t:1", "now a string"]);
        world.redis.flush();
        assert_eq!(keys.count(), 0, "{kind}");
    }
}

#[test]
fn every_encoding_of_a_collection_is_read_the_same() {
    let world = registered();
    let redis = &world.redis;
    for count in ["3", "200", "3000"] {
        let script = "for i = 1, tonumber(ARGV[1]) do \
             redis.call('RPUSH', 'k:list' .. ARGV[1], 'item' .. i, i) \
             redis.call('SADD', 'k:ints' .. ARGV[1], i * 7) \
             redis.call('SADD', 'k:set' .. ARGV[1], 'member' .. i, i) \
             redis.call('ZADD', 'k:zset' .. ARGV[1], i % 5 + 0.1, 'member' .. i, -i / 3, i) \
             redis.call('HSET', 'k:hash' .. ARGV[1], 'field' .. i, i) \
             redis.call('XADD', 'k:stream' .. ARGV[1], i .. '-1', 'a', i, 'b' .. i, 'x') \
             end";
        redis.cmd(&["EVAL", script, "0", count]);
    }
    redis.cmd(&["SADD", "k:long", &"x".repeat(100_000), "short"]);
    Mapping::by_id("k:").holds(redis, &world.database.collection("keys"));
    assert_eq!(world.database.collection("keys").count(), 19);
}

#[test]
fn bytes_in_collections_that_are_not_utf_8_become_binary() {
    let world = registered();
    let bytes: &[u8] = b"\xff\0\xfe";
    let dollar = dollar_name("dollar.dot");
    for words in [
        [&b"RPUSH"[..], b"k:list", bytes, b"text"].as_slice(),
        &[b"SADD", b"k:set", bytes, b"text", b""],
        &[b"ZADD", b"k:zset", b"1", bytes, b"1", b"text"],
        &[b"XADD", b"k:stream", b"1-1", b"raw", bytes, dollar.as_bytes(), b"", b"", b"no name"],
    ] {
        world.redis.cmd(words);
    }
    Mapping::by_id("k:").holds(&world.redis, &world.database.collection("keys"));
}

#[test]
fn a_stream_field_name_that_bson_cannot_hold_is_a_dead_letter() {
    let world = registered();
    world.redis.cmd(&[&b"XADD"[..], b"k:1", b"1-1", b"\xff", b"secret"]);
    world.redis.cmd(&["XADD", "k:2", "1-1", "a\0b", "secret"]);
    world.redis.cmd(&["XADD", "k:3", "1-1", "a", "b"]);
    let flushed = world.redis.flush();
    assert_eq!((flushed.failed, flushed.pending), (2, 0), "{flushed:?}");
    assert_eq!(world.database.collection("keys").count(), 1);
    let error = world.redis.status().text("last_error");
    assert!(error.contains("name") && !error.contains("secret"), "{error}");
}

#[test]
fn expired_hash_fields_are_removed_from_the_document() {
    let world = registered();
    let keys = world.database.collection("keys");
    world.redis.cmd(&["HSET", "k:1", "a", "1", "b", "2", "c", "3"]);
    world.redis.cmd(&["HSET", "k:2", "a", "1"]);
    let mapping = Mapping::by_id("k:");
    mapping.holds(&world.redis, &keys);
    let expire = ["HPEXPIRE", "k:1", "50", "FIELDS", "2", "a", "b"];
    if command(&expire).exec(&mut world.redis.connection()).is_err() {
        // Redis before 7.4 and Valkey before 9 have no such command.
        return mapping.holds(&world.redis, &keys);
    }
    world.redis.cmd(&["HPEXPIRE", "k:2", "50", "FIELDS", "1", "a"]);
    let removed = || keys.count() == 1 && keys.document("1") == doc! { "_id": "1", "c": "3" };
    wait_until("the fields are removed", SOON, removed);
    mapping.holds(&world.redis, &keys);
}

#[test]
fn a_hash_whose_fields_have_all_expired_keeps_its_document_until_the_key_is_deleted() {
    let world = registered();
    world.register("kept:", "kept", "ONDEL KEEP");
    let [keys, kept] = ["keys", "kept"].map(|name| world.database.collection(name));
    world.redis.cmd(&["DEBUG", "SET-ACTIVE-EXPIRE", "0"]);
    for key in ["k:1", "kept:1"] {
        world.redis.cmd(&["HSET", key, "a", "1", "b", "2"]);
        world.redis.flush();
        world.redis.cmd(&["WB.PAUSE"]);
        world.redis.cmd(&["HSET", key, "a", "2"]);
        let expire = ["HPEXPIRE", key, "1", "FIELDS", "2", "a", "b"];
        if command(&expire).exec(&mut world.redis.connection()).is_err() {
            // Redis before 7.4 and Valkey before 9 have no such command.
            return;
        }
        let read = || world.redis.run::<Vec<String>>(&["HGETALL", key]).is_empty();
        wait_until("its fields expire", SOON, read);
        world.redis.cmd(&["WB.RESUME"]);
        let flushed = world.redis.flush();
        assert_eq!((flushed.failed, flushed.pending), (0, 0), "{flushed:?}");
    }
    // The fields have expired, but Redis has not yet reported the deletion of the key.
    let last = doc! { "_id": "1", "a": "1", "b": "2" };
    assert_eq!([keys.document("1"), kept.document("1")], [last.clone(), last.clone()]);
    world.redis.cmd(&["DEBUG", "SET-ACTIVE-EXPIRE", "1"]);
    wait_until("the document is deleted", SOON, || keys.count() == 0);
    assert_eq!(kept.document("1"), last);
}

#[test]
fn reading_collections_has_no_side_effects() {
    let world = registered();
    let lines = ["RPUSH k:1 a", "SADD k:2 a b", "SADD k:5 1 2", "ZADD k:3 1 a", "XADD k:4 1-1 a b"];
    for line in lines {
        world.redis.cmd(&line.split(' ').collect::<Vec<_>>());
    }
    let encodings = || {
        [1, 2, 3, 4, 5]
            .map(|n| -> String { world.redis.run(&["OBJECT", "ENCODING", &format!("k:{n}")]) })
    };
    let before = encodings();
    world.redis.flush();
    assert_eq!(encodings(), before);
    let commands: String = world.redis.run(&["INFO", "commandstats"]);
    for name in ["lrange", "smembers", "zrange", "xrange", "sort"] {
        assert!(!commands.contains(&format!("cmdstat_{name}")), "{commands}");
    }
    let fourth = world.database.collection("keys").document("4");
    assert_eq!(fourth.get_array("value").expect("an array").len(), 1);
    assert_eq!(fourth.get("_id"), Some(&Bson::from("4")));
}

#[test]
fn a_dirty_collection_that_expires_or_is_flushed_is_written_with_its_last_value() {
    let world = World::new();
    world.register("k:", "keys", "");
    world.disconnect_mongodb();
    let lines =
        ["RPUSH k:1 b a", "SADD k:2 b a", "ZADD k:3 2 b 1 a", "XADD k:4 1-1 a b", "HSET k:5 a b"];
    let before: Vec<_> = lines
        .iter()
        .enumerate()
        .map(|(n, line)| {
            world.redis.cmd(&line.split(' ').collect::<Vec<_>>());
            let key = format!("k:{}", n + 1);
            let mut connection = world.redis.connect();
            Mapping::by_id("k:").document(&mut connection, key.as_bytes()).expect("a value")
        })
        .collect();
    for key in ["k:1", "k:2", "k:3"] {
        world.redis.cmd(&["PEXPIRE", key, "1"]);
    }
    wait_until("three keys expire", SOON, || world.redis.run::<i64>(&["DBSIZE"]) == 2);
    world.redis.cmd(&["FLUSHALL"]);
    world.connect_mongodb();
    let flushed = world.redis.flush();
    assert_eq!((flushed.failed, flushed.pending), (0, 0), "{flushed:?}");
    let keys = world.database.collection("keys");
    for (n, expected) in before.iter().enumerate() {
        assert_eq!(keys.document((n + 1).to_string()), *expected);
    }
}
