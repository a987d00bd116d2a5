//! What counts as a change: every write Redis can make to a key.

use testkit::comparison::Mapping;
use testkit::fixture::World;
use testkit::mongod::Mongod;
use testkit::redis_server::{Redis, command};
use testkit::wait::{SOON, wait_until};

/// Runs the commands one by one; after each, MongoDB must hold what Redis holds.
fn each_is_written(world: &World, commands: &[&[&str]]) {
    let keys = world.database.collection("keys");
    for words in commands {
        world.redis.cmd(words);
        Mapping::by_id("k:").holds(&world.redis, &keys);
    }
    assert!(keys.count() > 0);
}

fn registered(world: World) -> World {
    world.register("k:", "keys", "INTERVAL 0");
    world
}

#[test]
fn every_string_command_is_a_change() {
    each_is_written(
        &registered(World::new()),
        &[
            &["SET", "k:1", "1"],
            &["SETNX", "k:2", "a"],
            &["SETEX", "k:3", "1000", "a"],
            &["MSET", "k:1", "5", "k:4", "d"],
            &["INCR", "k:1"],
            &["DECRBY", "k:1", "3"],
            &["INCRBYFLOAT", "k:1", "0.5"],
            &["APPEND", "k:2", "bc"],
            &["SETRANGE", "k:2", "1", "XY"],
            &["SETBIT", "k:2", "3", "1"],
            &["BITFIELD", "k:2", "SET", "u8", "0", "90"],
            &["GETSET", "k:4", "e"],
            &["SET", "k:4", "f", "KEEPTTL"],
            &["PFADD", "k:5", "a", "b"],
        ],
    );
}

#[test]
fn every_hash_command_is_a_change() {
    each_is_written(
        &registered(World::new()),
        &[
            &["HSET", "k:1", "a", "1", "b", "2"],
            &["HSETNX", "k:1", "c", "3"],
            &["HINCRBY", "k:1", "a", "41"],
            &["HINCRBYFLOAT", "k:1", "b", "0.25"],
            &["HMSET", "k:2", "x", "y", "z", "w"],
            &["HDEL", "k:2", "x"],
        ],
    );
}

#[test]
fn every_json_command_is_a_change() {
    each_is_written(
        &registered(World::json()),
        &[
            &["JSON.SET", "k:1", "$", r#"{"n":1,"a":[1,2,3],"s":"x","o":{"p":true}}"#],
            &["JSON.SET", "k:1", "$.o.q", "\"new\""],
            &["JSON.NUMINCRBY", "k:1", "$.n", "41"],
            &["JSON.ARRAPPEND", "k:1", "$.a", "4", "{\"five\":5}"],
            &["JSON.ARRPOP", "k:1", "$.a", "0"],
            &["JSON.ARRINSERT", "k:1", "$.a", "0", "0"],
            &["JSON.ARRTRIM", "k:1", "$.a", "0", "1"],
            &["JSON.STRAPPEND", "k:1", "$.s", "\"y\""],
            &["JSON.TOGGLE", "k:1", "$.o.p"],
            &["JSON.MERGE", "k:1", "$", r#"{"s":null,"t":"merged"}"#],
            &["JSON.DEL", "k:1", "$.o"],
            &["JSON.SET", "k:2", "$", "{}"],
            &["JSON.DEL", "k:1"],
        ],
    );
}

#[test]
fn every_command_that_makes_or_moves_keys_is_a_change() {
    each_is_written(
        &registered(World::new()),
        &[
            &["SET", "other", "o"],
            &["RENAME", "other", "k:1"],
            &["RENAME", "k:1", "k:2"],
            &["COPY", "k:2", "k:3"],
            &["HSET", "k:4", "a", "b"],
            &["COPY", "k:4", "k:3", "REPLACE"],
            &["RENAMENX", "k:3", "k:5"],
            &["DEL", "k:2"],
        ],
    );
}

#[test]
fn a_restored_key_is_a_change() {
    let world = registered(World::new());
    world.redis.cmd(&["HSET", "source", "a", "b"]);
    let dump: Vec<u8> = world.redis.run(&["DUMP", "source"]);
    world.redis.cmd(&[b"RESTORE".as_slice(), b"k:1", b"0", &dump]);
    let keys = world.database.collection("keys");
    Mapping::by_id("k:").holds(&world.redis, &keys);
    assert_eq!(keys.count(), 1);
}

#[test]
fn what_transactions_and_scripts_write_is_a_change() {
    let world = registered(World::new());
    let mut transaction = redis::pipe();
    transaction.atomic().cmd("SET").arg("k:1").arg("one").cmd("HSET").arg(&["k:2", "a", "b"]);
    transaction.exec(&mut world.redis.connection()).expect("transaction");
    let script = "for i = 10, 29 do redis.call('SET', 'k:' .. i, i) end";
    world.redis.cmd(&["EVAL", script, "0"]);
    let keys = world.database.collection("keys");
    Mapping::by_id("k:").holds(&world.redis, &keys);
    assert_eq!(keys.count(), 22);
}

#[test]
fn a_key_moved_into_a_registered_database_is_a_change() {
    let world = registered(World::new());
    let mut elsewhere = world.redis.connect_db(3);
    redis::cmd("SET").arg("k:1").arg("moved").exec(&mut elsewhere).expect("SET");
    redis::cmd("MOVE").arg("k:1").arg(0).exec(&mut elsewhere).expect("MOVE");
    let keys = world.database.collection("keys");
    Mapping::by_id("k:").holds(&world.redis, &keys);
    assert_eq!(keys.count(), 1);
}

#[test]
fn reading_changes_nothing() {
    let world = registered(World::new());
    world.redis.cmd(&["SET", "k:1", "x"]);
    world.redis.flush();
    let before = world.redis.status().int("captured_total");
    world.redis.cmd(&["GET", "k:1"]);
    world.redis.cmd(&["EXISTS", "k:1", "k:2"]);
    world.redis.cmd(&["TOUCH", "k:1"]);
    world.redis.cmd(&["OBJECT", "ENCODING", "k:1"]);
    assert_eq!(world.redis.status().int("captured_total"), before);
}

#[test]
fn a_key_that_is_moved_inside_multi_is_deleted_here_and_written_there() {
    let database = Mongod::shared().database();
    let redis = Redis::start(&Mongod::shared().uri());
    let mut there = redis.connect_db(2);
    redis.cmd(&["WB.REGISTER", "m:", &database.namespace("here")]);
    command(&["WB.REGISTER", "m:", &database.namespace("there")]).exec(&mut there).expect("there");
    redis.cmd(&["SET", "m:1", "x"]);
    redis.cmd(&["SET", "m:2", "y"]);
    redis.flush();
    let mut here = redis.connect();
    redis::pipe().atomic().cmd("MOVE").arg("m:1").arg(2).exec(&mut here).expect("MOVE");
    redis.flush();
    let names = |collection: &str| {
        let documents = database.collection(collection).all();
        let mut names: Vec<_> =
            documents.iter().map(|d| d.get_str("_id").expect("_id").to_owned()).collect();
        names.sort();
        names
    };
    assert_eq!((names("here"), names("there")), (vec!["2".to_owned()], vec!["1".to_owned()]));
}

#[test]
fn a_move_inside_multi_does_not_affect_keys_removed_from_other_databases() {
    let database = Mongod::shared().database();
    let redis = Redis::start(&Mongod::shared().uri());
    redis.cmd(&["WB.REGISTER", "m:", &database.namespace("here")]);
    let [mut there, mut elsewhere] = [2, 3].map(|db| redis.connect_db(db));
    for (connection, collection) in [(&mut there, "there"), (&mut elsewhere, "elsewhere")] {
        let namespace = database.namespace(collection);
        command(&["WB.REGISTER", "m:", &namespace]).exec(connection).expect("WB.REGISTER");
    }
    redis.cmd(&["MSET", "m:1", "x", "m:2", "y"]);
    for line in [["SET", "m:1", "old"], ["SET", "m:2", "old"]] {
        command(&line).exec(&mut elsewhere).expect("SET");
    }
    redis.flush();
    redis.cmd(&["WB.PAUSE"]);
    command(&["DEL", "m:1"]).exec(&mut elsewhere).expect("DEL");
    command(&["SET", "m:2", "new", "PX", "1"]).exec(&mut elsewhere).expect("SET");
    wait_until("the key expires", SOON, || {
        command(&["EXISTS", "m:2"]).query::<i64>(&mut elsewhere).expect("EXISTS") == 0
    });
    for key in ["m:1", "m:2"] {
        // A new connection, because Valkey 8.1 leaves it in the other database.
        let mut here = redis.connect();
        redis::pipe().atomic().cmd("MOVE").arg(key).arg(2).exec(&mut here).expect("MOVE");
    }
    redis.cmd(&["WB.RESUME"]);
    redis.flush();
    assert_eq!(database.collection("here").count(), 0);
    let of = |collection: &str, id: &str| database.collection(collection).text(id, "value");
    assert_eq!([of("there", "1"), of("there", "2")], ["x", "y"]);
    assert_eq!(database.collection("elsewhere").count(), 1);
    assert_eq!(of("elsewhere", "2"), "new", "its last value");
}
