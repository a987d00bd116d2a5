//! Clock skew: state that was saved by a server whose clock was ahead.

use testkit::fixture::World;
use testkit::redis_server::Redis;
use testkit::wait::{SOON, wait_until};

/// How far the clock was ahead.
const AHEAD_US: u64 = 3_600_000_000;

/// Moves the times at which these keys became dirty. In the RDB they precede the key's length
/// (`core/backlog/record.rs`).
fn set_ahead(redis: &Redis, keys: &[&str]) {
    let path = redis.dir().join("dump.rdb");
    let mut rdb = std::fs::read(&path).expect("RDB");
    for key in keys {
        let saved = [&(key.len() as u32).to_le_bytes(), key.as_bytes()].concat();
        let at = rdb.windows(saved.len()).position(|bytes| bytes == saved).expect("the key");
        let time: &mut [u8; 8] = rdb[..at].last_chunk_mut().expect("the time");
        let since_us = u64::from_le_bytes(*time);
        assert!(since_us > 1_600_000_000_000_000, "not a time: {since_us}");
        *time = (since_us + AHEAD_US).to_le_bytes();
    }
    std::fs::write(&path, rdb).expect("RDB");
}

#[test]
fn state_saved_with_a_clock_that_was_ahead_is_written_at_once() {
    // Without compression and checksum, so that the test can change the times in the file.
    let mut world =
        World::without_mongodb(|setup| setup.config("rdbcompression no").config("rdbchecksum no"));
    world.register("k:", "keys", "");
    world.redis.cmd(&["MSET", "k:1", "a", "k:2", "b", "k:3", "c"]);
    world.redis.cmd(&["DEL", "k:3"]);
    world.redis.cmd(&["SAVE"]);
    world.redis.kill();
    set_ahead(&world.redis, &["k:1", "k:2", "k:3"]);
    world.redis.restart();
    assert_eq!(world.redis.status().int("dirty_keys"), 3);
    // Without a flush: the keys are due.
    world.connect_mongodb();
    wait_until("it is written", SOON, || world.redis.status().int("dirty_keys") == 0);
    world.redis.cmd(&["SET", "k:4", "d"]);
    let flushed = world.redis.flush_with(&["TIMEOUT", "20000"]);
    assert_eq!((flushed.pending, flushed.failed), (0, 0));
    assert_eq!(world.database.collection("keys").count(), 3);
}

#[test]
fn a_flush_waits_for_keys_with_times_in_the_future() {
    let mut world =
        World::without_mongodb(|setup| setup.config("rdbcompression no").config("rdbchecksum no"));
    world.register("k:", "keys", "INTERVAL 60000");
    world.redis.cmd(&["MSET", "k:1", "a", "k:2", "b"]);
    world.redis.cmd(&["SAVE"]);
    world.redis.kill();
    set_ahead(&world.redis, &["k:2"]);
    world.redis.restart();
    world.connect_mongodb();
    let flushed = world.redis.flush_with(&["TIMEOUT", "20000"]);
    assert_eq!((flushed.persisted, flushed.pending), (2, 0));
    world.holds("keys", "2", "b");
}
