//! `INFO writebehind`: the numbers of WB.STATUS, for exporters.

use std::collections::BTreeMap;

use redis::Value;

use testkit::fixture::World;
use testkit::redis_server::{Redis, Setup, command};
use testkit::wait::{SOON, wait_until};

fn info(redis: &Redis) -> BTreeMap<String, String> {
    let text: String = redis.run(&["INFO", "writebehind"]);
    text.lines()
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_owned(), value.trim().to_owned()))
        .collect()
}

#[test]
fn every_number_of_status_is_in_info() {
    let world = World::new();
    world.register("k:", "keys", "");
    world.redis.cmd(&["MSET", "k:1", "a", "k:2", "b", "k:3", "c"]);
    world.redis.flush();
    // The lag is reported after the acknowledgement.
    wait_until("the lag is known", SOON, || world.redis.status().int("lag_p50_us") > 0);
    let (info, status) = (info(&world.redis), world.redis.status());
    let is_number = |name: &&str| matches!(status.value(name), Value::Int(_));
    let numbers: Vec<&str> = status.names().into_iter().filter(is_number).collect();
    assert!(numbers.len() >= 24, "{numbers:?}");
    for name in numbers {
        let value = info.get(&format!("writebehind_{name}"));
        let value = value.unwrap_or_else(|| panic!("no writebehind_{name} in {info:?}"));
        let number: i64 = value.parse().unwrap_or_else(|_| panic!("{name}: {value}"));
        if !["memory_bytes", "slice_max_us"].contains(&name) {
            assert_eq!(number, status.int(name), "{name}");
        }
    }
    assert!(status.int("slice_max_us") > 0);
    assert_eq!(info["writebehind_written_total"], "3");
    assert_eq!(info["writebehind_registrations"], "1");
}

#[test]
fn the_state_of_the_link_is_a_number_too() {
    let world = World::new();
    world.register("k:", "keys", "");
    world.redis.cmd(&["SET", "k:1", "a"]);
    world.redis.flush();
    let info = info(&world.redis);
    assert_eq!(info.get("writebehind_link_up").map(String::as_str), Some("1"), "{info:?}");
    assert_eq!(info.get("writebehind_paused").map(String::as_str), Some("0"), "{info:?}");
}

#[test]
fn info_of_everything_has_the_section() {
    let world = World::new();
    for section in ["everything", "modules"] {
        let text: String = world.redis.run(&["INFO", section]);
        assert!(text.contains("writebehind_dirty_keys:0"), "{section}");
    }
}

/// The server's hits and misses, and those that the module reports as its own.
fn reads(redis: &Redis) -> [i64; 4] {
    let counted = |field: &str| -> i64 {
        redis.info("stats", field).expect("a figure").parse().expect("a number")
    };
    let status = redis.status();
    [
        counted("keyspace_hits"),
        counted("keyspace_misses"),
        status.int("own_hits_total"),
        status.int("own_misses_total"),
    ]
}

#[test]
fn reads_of_the_module_are_counted_separately_from_those_of_clients() {
    let world = World::json();
    world.register("k:", "keys", "TTLFIELD until");
    for turn in 0..10 {
        world.redis.cmd(&["SET", "k:short", &format!("{turn}")]);
        world.redis.cmd(&["SET", "k:long", &format!("{turn}{}", "x".repeat(1_000))]);
        world.redis.cmd(&["SET", "k:brief", "x", "EX", "100"]);
        world.redis.cmd(&["HSET", "k:hash", "field", &format!("{turn}")]);
        world.redis.cmd(&["JSON.SET", "k:json", "$", &format!("{{\"turn\": {turn}}}")]);
        world.redis.cmd(&["RPUSH", "k:list", "x"]);
        world.redis.flush();
        world.redis.cmd(&["DEL", "k:list"]);
        world.redis.flush();
    }
    // Writes of JSON and lists may themselves count as hits or misses.
    let without = Setup::without_module().json().start();
    for turn in 0..10 {
        without.cmd(&["SET", "k:short", &format!("{turn}")]);
        without.cmd(&["SET", "k:long", &format!("{turn}{}", "x".repeat(1_000))]);
        without.cmd(&["SET", "k:brief", "x", "EX", "100"]);
        without.cmd(&["HSET", "k:hash", "field", &format!("{turn}")]);
        without.cmd(&["JSON.SET", "k:json", "$", &format!("{{\"turn\": {turn}}}")]);
        without.cmd(&["RPUSH", "k:list", "x"]);
        without.cmd(&["DEL", "k:list"]);
    }
    let counted = |field: &str| -> i64 {
        without.info("stats", field).expect("a figure").parse().expect("a number")
    };
    let [hits, misses, own_hits, own_misses] = reads(&world.redis);
    let others = (counted("keyspace_hits"), counted("keyspace_misses"));
    println!(
        "{hits} hits, {own_hits} of them by the module; {misses} misses, {own_misses} of them by the module"
    );
    assert_eq!((hits - own_hits, misses - own_misses), others);
    // Short strings and JSON are read by commands, which count as hits; other values are not
    // counted.
    assert_eq!((own_hits, own_misses), (30, 0));
}

#[test]
fn reading_a_key_aborts_no_transaction_that_watches_it() {
    let world = World::new();
    world.register("k:", "keys", "INTERVAL 600000");
    world.redis.cmd(&["HSET", "k:1", "field", "value"]);
    let before = world.redis.status().int("batches_total");
    let mut watching = world.redis.connect();
    command(&["WATCH", "k:1"]).exec(&mut watching).expect("OK");
    world.redis.flush();
    assert_eq!(world.redis.status().int("batches_total"), before + 1);
    for words in [&["MULTI"][..], &["HSET", "k:1", "field", "other"]] {
        command(words).exec(&mut watching).expect("queued");
    }
    let done: Option<Vec<i64>> = command(&["EXEC"]).query(&mut watching).expect("EXEC");
    assert_eq!(done, Some(vec![0]), "the transaction was aborted");
}
