//! Commands that write, and depend on what the key holds.

use testkit::redis_server::{Setup, command};

use super::*;

#[test]
fn a_partial_write_of_a_missing_key_changes_its_document() {
    let world = World::new();
    let redis = &world.redis;
    for (prefix, kind) in [
        ("h:", "HASH"),
        ("s:", "STRING"),
        ("l:", "LIST"),
        ("t:", "SET"),
        ("z:", "ZSET"),
        ("x:", "STREAM"),
    ] {
        register(&world, prefix, &prefix[..1], &format!("TYPE {kind} READTHROUGH"));
    }
    let setup: [&[&str]; 6] = [
        &["HSET", "h:1", "a", "1", "b", "2"],
        &["SET", "s:1", "10"],
        &["RPUSH", "l:1", "a", "b"],
        &["SADD", "t:1", "a", "b"],
        &["ZADD", "z:1", "1", "a", "2", "b"],
        &["XADD", "x:1", "1-1", "a", "1"],
    ];
    setup.iter().for_each(|line| drop(redis.cmd(line)));
    redis.flush();
    redis.cmd(&["FLUSHALL"]);
    let written = redis.status().int("captured_total");
    assert_eq!(redis.run::<i64>(&["HSET", "h:1", "c", "3"]), 1);
    assert_eq!(redis.run::<i64>(&["INCR", "s:1"]), 11);
    assert_eq!(redis.run::<i64>(&["RPUSH", "l:1", "c"]), 3);
    assert_eq!(redis.run::<i64>(&["SADD", "t:1", "a", "c"]), 1);
    assert_eq!(redis.run::<String>(&["ZINCRBY", "z:1", "5", "a"]), "6");
    assert_eq!(redis.run::<String>(&["XADD", "x:1", "1-*", "b", "2"]), "1-2");
    assert_eq!(redis.status().int("captured_total") - written, 6, "the loads are no changes");
    redis.flush();
    let document = |collection: &str| {
        world.database.collection(collection).find(doc! { "_id": "1" }).expect("document")
    };
    assert_eq!(document("h"), doc! { "_id": "1", "a": "1", "b": "2", "c": "3" });
    assert_eq!(document("s"), doc! { "_id": "1", "value": "11" });
    assert_eq!(document("l"), doc! { "_id": "1", "value": ["a", "b", "c"] });
    assert_eq!(document("t"), doc! { "_id": "1", "value": ["a", "b", "c"] });
    let value = doc! { "_id": "1", "value": [{ "member": "b", "score": 2.0 }, { "member": "a", "score": 6.0 }] };
    assert_eq!(document("z"), value);
    // New keys, whose documents do not exist.
    assert_eq!(redis.run::<i64>(&["HSET", "h:2", "c", "3"]), 1);
    assert_eq!(redis.run::<i64>(&["INCR", "s:2"]), 1);
    redis.flush();
    assert_eq!(world.database.collection("h").count(), 2);
}

#[test]
fn conditions_see_the_document() {
    let world = World::new();
    strings(&world, "", 20);
    let redis = &world.redis;
    assert_eq!(redis.run::<Option<String>>(&["SET", "k:0", "x", "NX"]), None);
    assert_eq!(redis.run::<Option<String>>(&["SET", "k:none", "x", "XX"]), None);
    assert_eq!(redis.run::<String>(&["SET", "k:1", "x", "XX"]), "OK");
    assert_eq!(redis.run::<String>(&["SET", "k:2", "x", "GET"]), "value-2");
    assert_eq!(redis.run::<i64>(&["SETNX", "k:3", "x"]), 0);
    assert_eq!(redis.run::<i64>(&["MSETNX", "k:4", "x", "k:new", "y"]), 0);
    assert_eq!(redis.run::<String>(&["GETSET", "k:5", "x"]), "value-5");
    assert_eq!(redis.run::<String>(&["GETDEL", "k:6"]), "value-6");
    assert_eq!(redis.run::<i64>(&["COPY", "k:7", "k:8"]), 0);
    assert_eq!(redis.run::<i64>(&["COPY", "k:9", "k:8", "REPLACE"]), 1);
    assert_eq!(redis.run::<String>(&["RENAME", "k:10", "k:11"]), "OK");
    assert_eq!(redis.run::<i64>(&["RENAMENX", "k:12", "k:13"]), 0);
    assert_eq!(redis.run::<i64>(&["PERSIST", "k:14"]), 0);
    assert_eq!(redis.run::<i64>(&["EXPIRE", "k:15", "1000"]), 1);
    redis.flush();
    for (id, value) in
        [("0", "value-0"), ("1", "x"), ("2", "x"), ("5", "x"), ("8", "value-9"), ("11", "value-10")]
    {
        world.holds("keys", id, value);
    }
    let keys = world.database.collection("keys");
    for id in ["6", "10", "new", "none"] {
        assert_eq!(keys.find(doc! { "_id": id }), None, "{id}");
    }
}

#[test]
fn a_write_that_does_not_depend_on_the_document_does_not_wait() {
    let world = World::new();
    strings(&world, "", 3);
    world.redis.cmd(&["SET", "k:0", "x"]);
    world.redis.cmd(&["SET", "k:1", "x", "EX", "1000"]);
    world.redis.cmd(&["MSET", "k:2", "x", "k:3", "x"]);
    world.redis.cmd(&["SETEX", "k:4", "1000", "x"]);
    let figures = ["reads_total", "read_loads_total"].map(|name| figure(&world.redis, name));
    assert_eq!(figures, [0, 0]);
    // A number is stored as a number, as without the module.
    world.redis.cmd(&["SET", "k:7", "123", "NX"]);
    assert_eq!(world.redis.run::<String>(&["OBJECT", "ENCODING", "k:7"]), "int");
}

#[test]
fn a_missing_key_that_is_deleted_loses_its_document() {
    let world = World::new();
    strings(&world, "", 4);
    let redis = &world.redis;
    assert_eq!(redis.run::<i64>(&["DEL", "k:0", "k:1", "k:none"]), 2);
    assert_eq!(redis.run::<i64>(&["UNLINK", "k:2"]), 1);
    assert_eq!(get(redis, "k:0"), None);
    redis.flush();
    assert_eq!(world.database.collection("keys").count(), 1);
    assert_eq!(get(redis, "k:0"), None);
}

#[test]
fn with_ondel_keep_a_deletion_empties_the_cache_only() {
    let world = World::new();
    strings(&world, "ABSENT 60000 ONDEL KEEP", 2);
    let redis = &world.redis;
    let keys = world.database.collection("keys");
    assert_eq!(get(redis, "k:0").as_deref(), Some("value-0"));
    keys.update(doc! { "_id": "0" }, doc! { "$set": { "value": "changed by others" } });
    assert_eq!(redis.run::<i64>(&["DEL", "k:0"]), 1);
    assert_eq!(get(redis, "k:0").as_deref(), Some("changed by others"));
    // A key that Redis does not have: what is known of it is forgotten.
    assert_eq!(get(redis, "k:new"), None);
    keys.insert_many([doc! { "_id": "new", "value": "x" }]);
    assert_eq!(get(redis, "k:new"), None);
    assert_eq!(redis.run::<i64>(&["DEL", "k:new"]), 0);
    assert_eq!(get(redis, "k:new").as_deref(), Some("x"));
    assert_eq!(keys.count(), 3);
}

#[test]
fn a_result_that_is_empty_removes_the_document_of_its_key() {
    let world = World::new();
    register(&world, "t:", "sets", "TYPE SET READTHROUGH");
    let redis = &world.redis;
    redis.cmd(&["SADD", "t:1", "a"]);
    redis.cmd(&["SADD", "t:2", "b"]);
    redis.cmd(&["SADD", "t:3", "c"]);
    redis.flush();
    redis.cmd(&["FLUSHALL"]);
    assert_eq!(redis.run::<i64>(&["SINTERSTORE", "t:3", "t:1", "t:2"]), 0);
    redis.flush();
    assert_eq!(world.database.collection("sets").count(), 2);
    assert_eq!(redis.run::<i64>(&["SUNIONSTORE", "t:3", "t:1", "t:2"]), 2);
}

#[test]
fn in_multi_a_missing_key_that_is_deleted_loses_its_document() {
    let world = World::new();
    strings(&world, "", 3);
    let redis = &world.redis;
    let mut pipeline = redis::pipe();
    pipeline.atomic().cmd("DEL").arg("k:0").arg("k:1").cmd("SET").arg("k:new").arg("x");
    let _: (i64, String) = pipeline.query(&mut redis.connection()).expect("EXEC");
    assert_eq!(get(redis, "k:0"), None);
    redis.flush();
    let keys = world.database.collection("keys");
    assert_eq!([keys.count(), keys.count_of(doc! { "_id": "0" })], [2, 0]);
}

#[test]
fn a_missing_key_is_not_overwritten_by_a_restore_without_replace() {
    let world = World::new();
    strings(&world, "", 2);
    let redis = &world.redis;
    redis.cmd(&["SET", "other", "x"]);
    let payload: Vec<u8> = redis.run(&["DUMP", "other"]);
    let restore = |key: &str, more: &[&str]| {
        let mut command = command(&["RESTORE", key, "0"]);
        command.arg(&payload).arg(more).query::<String>(&mut redis.connection())
    };
    let error = restore("k:0", &[]).expect_err("the key exists").to_string();
    assert!(error.to_lowercase().contains("busykey"), "{error}");
    assert_eq!(restore("k:0", &["REPLACE"]).unwrap(), "OK");
    assert_eq!(restore("k:new", &[]).unwrap(), "OK");
    assert_eq!(get(redis, "k:0").as_deref(), Some("x"));
}

#[test]
fn a_list_that_a_blocking_command_adds_to_is_loaded() {
    let world = World::new();
    register(&world, "l:", "lists", "TYPE LIST READTHROUGH");
    let redis = &world.redis;
    redis.cmd(&["RPUSH", "l:1", "a", "b"]);
    redis.flush();
    redis.cmd(&["FLUSHALL"]);
    redis.cmd(&["RPUSH", "source", "c", "d"]);
    assert_eq!(redis.run::<String>(&["BLMOVE", "source", "l:1", "LEFT", "RIGHT", "5"]), "c");
    assert_eq!(redis.run::<Vec<String>>(&["LRANGE", "l:1", "0", "-1"]), ["a", "b", "c"]);
    assert_eq!(redis.run::<String>(&["BRPOPLPUSH", "source", "l:1", "5"]), "d");
}

#[test]
fn keys_that_go_while_a_command_waits_for_another_are_looked_for_again() {
    let mut mongod = testkit::mongod::Mongod::standalone();
    let redis = Setup::new(&mongod.uri()).setting("through-timeout-ms", "60000").start();
    redis.cmd(&["WB.REGISTER", "k:", "reads.keys", "TYPE", "STRING", "READTHROUGH"]);
    redis.cmd(&["MSET", "k:1", "one", "k:2", "two"]);
    redis.flush();
    redis.cmd(&["FLUSHALL"]);
    assert_eq!(get(&redis, "k:1").as_deref(), Some("one"));
    mongod.freeze();
    let mut client = redis.connect();
    client.send_packed_command(&command(&["MGET", "k:1", "k:2"]).get_packed_command()).unwrap();
    wait_until("it waits for k:2", SOON, || redis.status().int("readers_waiting") == 1);
    redis.cmd(&["FLUSHALL"]);
    mongod.thaw();
    let reply: Vec<Option<String>> =
        redis::from_redis_value(client.recv_response().unwrap()).unwrap();
    assert_eq!(reply, ["one", "two"].map(|value| Some(value.to_owned())));
    mongod.kill();
}

#[test]
fn keys_of_a_paused_prefix_are_written_before_they_are_loaded() {
    let world = World::new();
    strings(&world, "", 2);
    let redis = &world.redis;
    redis.cmd(&["WB.PAUSE", "k:"]);
    redis.cmd(&["SET", "k:1", "newer"]);
    redis.cmd(&["FLUSHALL"]);
    let mut client = redis.connect();
    client.send_packed_command(&command(&["GET", "k:1"]).get_packed_command()).unwrap();
    wait_until("it waits", SOON, || redis.status().int("readers_waiting") == 1);
    redis.cmd(&["WB.RESUME", "k:"]);
    let reply: String = redis::from_redis_value(client.recv_response().unwrap()).unwrap();
    assert_eq!(reply, "newer");
}
