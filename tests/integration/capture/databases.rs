//! Servers with more logical databases than the module supports, and with fewer than before.

use redis::{Connection, Value};

use testkit::fixture::World;
use testkit::mongod::unreachable_uri;
use testkit::redis_server::{Redis, Setup, command};
use testkit::wait::{SOON, became, wait_until};

/// The last database that the module supports.
const LAST: &str = "65535";
/// The first that it does not support. Truncated to 16 bits, the number is 0.
const PAST: &str = "65536";

fn many(setup: Setup) -> Setup {
    setup.config("databases 70000")
}

fn past(redis: &Redis) -> Connection {
    let mut connection = redis.connect();
    run(&mut connection, &["SELECT", PAST]);
    connection
}

#[track_caller]
fn run(connection: &mut Connection, words: &[&str]) -> Value {
    command(words).query(connection).unwrap_or_else(|error| panic!("{words:?}: {error}"))
}

#[test]
fn a_key_of_an_unsupported_database_is_not_taken_for_one_of_database_0() {
    let world = World::with(many);
    world.register("k:", "keys", "");
    let World { redis, database } = &world;
    redis.cmd(&["SET", "k:1", "zero"]);
    redis.flush();
    let mut past = past(redis);
    run(&mut past, &["SET", "k:1", "past"]);
    run(&mut past, &["SET", "k:2", "past"]);
    run(&mut past, &["DEL", "k:1"]);
    run(&mut past, &["SET", "k:3", "past", "PX", "1"]);
    wait_until("the key expires", SOON, || {
        command(&["EXISTS", "k:3"]).query::<i64>(&mut past).expect("reply") == 0
    });
    run(&mut past, &["FLUSHDB"]);
    assert_eq!(redis.status().int("captured_total"), 1);
    assert_eq!(redis.flush().persisted, 0);
    world.holds("keys", "1", "zero");
    assert_eq!(database.collection("keys").count(), 1);
    // A key that is moved there is deleted in database 0. A new connection each, because Valkey 8.1
    // leaves it in the other database.
    run(&mut redis.connect(), &["COPY", "k:1", "k:1", "DB", PAST]);
    assert_eq!(redis.status().int("dirty_keys"), 0);
    redis.cmd(&["SET", "k:4", "x"]);
    run(&mut redis.connect(), &["MOVE", "k:4", PAST]);
    redis.flush();
    assert_eq!(database.collection("keys").count(), 1);
}

#[test]
fn commands_in_an_unsupported_database_are_refused_with_both_numbers() {
    let redis = many(Setup::new(&unreachable_uri())).start();
    redis.cmd(&["WB.REGISTER", "k:", "db.keys"]);
    redis.cmd(&["SET", "k:1", "x"]);
    let mut past = past(&redis);
    let commands: [&[&str]; 9] = [
        &["WB.REGISTER", "p:", "db.past"],
        &["WB.UNREGISTER", "k:", "DISCARD"],
        &["WB.STATUS", "k:"],
        &["WB.EXPLAIN", "k:1"],
        &["WB.FLUSH", "KEYS", "1", "k:1"],
        &["WB.PAUSE", "k:"],
        &["WB.SYNC", "k:"],
        &["WB.DEADLETTER", "RETRY", "KEY", "k:1"],
        &["WB.DEADLETTER", "LIST", "k:"],
    ];
    for words in commands {
        let reply = command(words).query::<Value>(&mut past);
        let error = reply.expect_err("refused").to_string();
        assert!(error.contains(PAST) && error.contains(LAST), "{words:?}: {error}");
    }
    let status = redis.status();
    assert_eq!((status.int("registrations"), status.int("dirty_keys")), (1, 1));
    assert_eq!(status.int("paused"), 0);
}

#[test]
fn a_database_swapped_with_an_unsupported_one_keeps_its_dirty_values() {
    let world = World::with(many);
    world.register("k:", "keys", "INTERVAL 60000");
    let World { redis, .. } = &world;
    run(&mut past(redis), &["MSET", "k:1", "past", "k:2", "past"]);
    redis.cmd(&["MSET", "k:1", "zero", "k:3", "zero"]);
    redis.cmd(&["SWAPDB", "0", PAST]);
    assert_eq!(redis.flush().persisted, 2);
    world.holds("keys", "1", "zero");
    world.holds("keys", "3", "zero");
    // And swapped back, after a change.
    redis.cmd(&["SET", "k:2", "changed"]);
    redis.cmd(&["SWAPDB", PAST, "0"]);
    assert_eq!(redis.flush().persisted, 1);
    world.holds("keys", "2", "changed");
    world.holds("keys", "1", "zero");
}

#[test]
fn the_last_supported_database_works_like_any_other() {
    let world = World::with(many);
    let World { redis, database } = &world;
    let mut last = redis.connect();
    run(&mut last, &["SELECT", LAST]);
    run(&mut last, &["WB.REGISTER", "k:", &database.namespace("last")]);
    run(&mut last, &["SET", "k:1", "last"]);
    run(&mut past(redis), &["SET", "k:1", "past"]);
    redis.cmd(&["SET", "k:1", "zero"]);
    redis.flush();
    world.holds("last", "1", "last");
    assert_eq!(redis.status().int("captured_total"), 1);
}

#[test]
fn state_of_a_database_beyond_the_servers_limit_stops_the_load_with_a_log_line() {
    let mut redis = Setup::new(&unreachable_uri()).config("databases 64").start();
    let mut high = redis.connect();
    run(&mut high, &["SELECT", "40"]);
    run(&mut high, &["WB.REGISTER", "k:", "db.keys"]);
    run(&mut high, &["SET", "k:1", "x"]);
    run(&mut high, &["DEL", "k:1"]);
    redis.cmd(&["SAVE"]);
    redis.begin_restart(&["--databases", "16"]);
    assert!(became(SOON, || redis.ended().is_some()), "{}", redis.log());
    let log = redis.log();
    assert!(log.contains("database 40") && log.contains("databases to 41"), "{log}");
    redis.restart();
    assert_eq!(redis.status().int("dirty_keys"), 1);
}
