//! `INFO writebehind`: the figures of WB.STATUS as numbers that an exporter can read.

use std::collections::BTreeMap;

use crate::support::redis_server::Redis;
use crate::world::World;

/// The fields of status that are numbers, and stand in INFO too.
const NUMBERS: [&str; 20] = [
    "link_since_unix_ms",
    "paused",
    "registrations",
    "dirty_keys",
    "in_flight_keys",
    "dead_letters",
    "oldest_dirty_ms",
    "captured_total",
    "coalesced_total",
    "written_total",
    "deleted_total",
    "failed_total",
    "retries_total",
    "batches_total",
    "bytes_total",
    "lag_p50_us",
    "lag_p99_us",
    "last_write_unix_ms",
    "memory_bytes",
    "slice_max_us",
];

fn info(redis: &Redis) -> BTreeMap<String, String> {
    let text: String = redis.run(&["INFO", "writebehind"]);
    text.lines()
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_owned(), value.trim().to_owned()))
        .collect()
}

#[test]
fn every_number_of_status_stands_in_info() {
    let world = World::new();
    world.register("k:", "keys", "");
    world.redis.cmd(&["MSET", "k:1", "a", "k:2", "b", "k:3", "c"]);
    world.redis.flush();
    let (info, status) = (info(&world.redis), world.redis.status());
    for name in NUMBERS {
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
