//! Large values: read in slices, so that no client waits for them, or rejected without a full read.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use mongodb::bson::{Document, doc};

use testkit::comparison::Mapping;
use testkit::fixture::World;
use testkit::wait::{SOON, wait_until};

/// The longest latency of a PING while `work` runs.
fn longest_ping(world: &World, work: impl FnOnce()) -> Duration {
    let done = AtomicBool::new(false);
    let mut connection = world.redis.connect();
    std::thread::scope(|scope| {
        let pings = scope.spawn(|| {
            let mut longest = Duration::ZERO;
            while !done.load(Ordering::Relaxed) {
                let start = Instant::now();
                redis::cmd("PING").exec(&mut connection).expect("PING");
                longest = longest.max(start.elapsed());
            }
            longest
        });
        work();
        done.store(true, Ordering::Relaxed);
        pings.join().expect("pings")
    })
}

fn fill_hash(world: &World, key: &str, fields: usize, value_len: usize) {
    let script = "local value = string.rep('v', tonumber(ARGV[2])) \
        for i = 1, tonumber(ARGV[1]) do redis.call('HSET', KEYS[1], 'f' .. i, value) end";
    let (fields, value_len) = (fields.to_string(), value_len.to_string());
    world.redis.cmd(&["EVAL", script, "1", key, &fields, &value_len]);
}

/// A world whose keys are not written before WB.FLUSH.
fn unflushed() -> World {
    let world = World::new();
    world.register("k:", "keys", "INTERVAL 600000");
    world
}

#[test]
fn a_hash_of_ten_megabytes_is_written_completely() {
    let world = unflushed();
    fill_hash(&world, "k:1", 200_000, 40);
    let longest = longest_ping(&world, || {
        let flushed = world.redis.flush();
        assert_eq!((flushed.failed, flushed.pending), (0, 0));
    });
    println!("200,000 fields, 10 MB: longest PING {longest:?}");
    assert_eq!(world.database.collection("keys").document("1").len(), 200_001);
}

#[test]
fn a_hash_of_a_million_fields_is_written_completely() {
    let world = unflushed();
    fill_hash(&world, "k:1", 1_000_000, 1);
    world.redis.cmd(&["SET", "k:2", "x"]);
    let longest = longest_ping(&world, || {
        let flushed = world.redis.flush();
        assert_eq!((flushed.persisted, flushed.failed, flushed.pending), (2, 0, 0));
    });
    println!("1,000,000 fields: longest PING {longest:?}");
}

#[test]
fn a_large_string_is_read_in_slices_and_written_completely() {
    let world = unflushed();
    let value = "0123456789abcdef".repeat(1_000_000);
    world.redis.cmd(&["CONFIG", "SET", "writebehind.read-slice-us", "10"]);
    let written = || world.redis.status().int("written_total");
    let changes_while_it_is_read = |round: usize| {
        let before = written();
        world.redis.cmd(&["SET", "k:1", &value]);
        let mut flushing = world.redis.connect();
        std::thread::scope(|scope| {
            let flush =
                scope.spawn(|| redis::cmd("WB.FLUSH").exec(&mut flushing).expect("WB.FLUSH"));
            let begun = || world.redis.status().int("in_flight_keys") == 1 || flush.is_finished();
            wait_until("reading begins", SOON, begun);
            world.redis.cmd(&["SETRANGE", "k:1", "0", &round.to_string()]);
            flush.join().expect("flush");
        });
        world.redis.flush();
        let expected = format!("{round}{}", &value[round.to_string().len()..]);
        assert!(world.database.collection("keys").text("1", "value") == expected);
        written() - before == 1
    };
    // If the value were read in one slice, it would be written twice.
    assert!((0..50).any(changes_while_it_is_read), "it never changed while it was read");
}

#[test]
fn commands_are_served_while_a_large_value_is_read() {
    let world = unflushed();
    fill_hash(&world, "k:1", 500_000, 1);
    let mut flushing = world.redis.connect();
    std::thread::scope(|scope| {
        let flush = scope.spawn(|| redis::cmd("WB.FLUSH").exec(&mut flushing).expect("WB.FLUSH"));
        let begun = || world.redis.status().int("in_flight_keys") == 1;
        wait_until("reading begins", SOON, begun);
        // During the read, which so starts again.
        world.redis.cmd(&["HSET", "k:1", "f1", "new"]);
        flush.join().expect("flush");
    });
    assert_eq!(world.database.collection("keys").text("1", "f1"), "new");
    assert_eq!(world.redis.status().int("written_total"), 1);
}

#[test]
fn every_large_collection_type_is_read_completely() {
    let world = unflushed();
    let script = "for i = 1, 30000 do \
        redis.call('RPUSH', 'k:list', i) \
        redis.call('SADD', 'k:set', 'm' .. i) \
        redis.call('ZADD', 'k:zset', i % 7, 'm' .. i) \
        redis.call('HSET', 'k:hash', 'f' .. i, i) \
        redis.call('XADD', 'k:stream', i .. '-0', 'f', i) end";
    world.redis.cmd(&["EVAL", script, "0"]);
    Mapping::by_id("k:").holds(&world.redis, &world.database.collection("keys"));
}

#[test]
fn a_value_larger_than_any_document_is_a_dead_letter_and_is_not_read_completely() {
    let world = unflushed();
    fill_hash(&world, "k:hash", 400, 1_000_000);
    let script = "local value = string.rep('v', 1000000) for i = 1, 100 do \
        redis.call('RPUSH', 'k:list', value) redis.call('SADD', 'k:set', i .. value) \
        redis.call('ZADD', 'k:zset', i, i .. value) \
        redis.call('XADD', 'k:stream', i .. '-0', 'f', value) \
        redis.call('APPEND', 'k:string', value) end";
    world.redis.cmd(&["EVAL", script, "0"]);
    world.redis.cmd(&["SET", "k:small", "x"]);
    let flushed = world.redis.flush();
    assert_eq!((flushed.persisted, flushed.failed, flushed.pending), (1, 6, 0));
    let error = world.redis.status().text("last_error");
    assert!(error.contains("larger than 16777216 bytes"), "{error}");
    world.holds("keys", "small", "x");
}

#[test]
fn a_large_value_that_keeps_changing_is_written_at_intervals() {
    let world = World::new();
    world.register("k:", "keys", "INTERVAL 0");
    fill_hash(&world, "k:1", 100_000, 10);
    let keys = world.database.collection("keys");
    let start = Instant::now();
    let (mut writes, mut written) = (0, 0);
    while start.elapsed() < Duration::from_secs(3) || written == 0 {
        assert!(start.elapsed() < SOON, "it was never written");
        writes += 1;
        world.redis.cmd(&["HSET", "k:1", "f1", &writes.to_string()]);
        if writes % 100 == 0 {
            written = world.redis.status().int("written_total");
        }
    }
    println!("{writes} changes of a hash of 100,000 fields: written {written} times");
    // Without a cooldown it would be read and written continuously.
    assert!(written < 50, "{written}");
    world.redis.flush();
    assert_eq!(keys.text("1", "f1"), writes.to_string());
}

#[test]
fn a_large_value_that_changes_type_or_is_removed_while_it_is_read_leaves_no_mixed_document() {
    let world = World::new();
    world.register("k:", "keys", "INTERVAL 0");
    let keys = world.database.collection("keys");
    let mapping = Mapping::by_id("k:");
    for words in [
        &["SET", "k:1", "now a string"][..],
        &["DEL", "k:1"],
        &["RENAME", "k:1", "k:2"],
        &["HDEL", "k:1", "f7"],
        &["PEXPIRE", "k:1", "1000000"],
    ] {
        world.redis.cmd(&["DEL", "k:1", "k:2"]);
        fill_hash(&world, "k:1", 100_000, 10);
        // The read has started by now, and has not ended.
        world.redis.cmd(&["PING"]);
        world.redis.cmd(words);
        mapping.holds(&world.redis, &keys);
    }
}

#[test]
fn a_large_value_is_always_a_consistent_snapshot() {
    let world = World::new();
    world.register("k:", "keys", "INTERVAL 0");
    fill_hash(&world, "k:1", 50_000, 10);
    world.redis.flush();
    let keys = world.database.collection("keys");
    // Fields that always change together, at different positions in the hash.
    let names: Vec<String> = (0..20).map(|n| format!("same{n}")).collect();
    let equal: Vec<Document> =
        names.iter().map(|name| doc! { "$eq": ["$same0", format!("${name}")] }).collect();
    let mixed = doc! { "$expr": { "$not": { "$and": equal } } };
    let start = Instant::now();
    let mut round = 0;
    let written = || world.redis.status().int("written_total");
    while start.elapsed() < Duration::from_secs(3) || written() < 2 {
        assert!(start.elapsed() < SOON, "it was not written again");
        round += 1;
        let value = round.to_string();
        let pairs = names.iter().flat_map(|name| [name.as_str(), &value]);
        world.redis.cmd(&["HSET", "k:1"].into_iter().chain(pairs).collect::<Vec<_>>());
        // The query takes a while, in which a part of the hash is read.
        assert_eq!(keys.find(mixed.clone()), None);
    }
}

#[test]
fn many_large_values_are_all_written() {
    let world = World::new();
    world.register("k:", "keys", "INTERVAL 0");
    for n in 0..20 {
        fill_hash(&world, &format!("k:{n}"), 20_000, 10);
    }
    world.redis.cmd(&["SET", "k:small", "x"]);
    Mapping::by_id("k:").holds(&world.redis, &world.database.collection("keys"));
    assert_eq!(world.database.collection("keys").count(), 21);
}

#[test]
fn a_large_value_is_written_at_shutdown() {
    let mut world = unflushed();
    fill_hash(&world, "k:1", 100_000, 10);
    fill_hash(&world, "k:2", 100_000, 10);
    world.redis.shutdown(&["NOSAVE"]);
    let keys = world.database.collection("keys");
    assert_eq!(keys.count(), 2);
    assert_eq!(keys.find(doc! { "_id": "2" }).map(|document| document.len()), Some(100_001));
}
