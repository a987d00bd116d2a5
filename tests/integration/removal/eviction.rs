//! Far more dirty keys than fit into memory, while MongoDB is down: values that clients wrote and
//! the server evicted are written to MongoDB afterwards.

use std::collections::HashMap;

use mongodb::bson::Document;

use testkit::fixture::World;
use testkit::redis_server::{Redis, command};

/// Commands per pipeline.
const PIPELINE: usize = 100;
/// Bytes of a value, including its number.
const VALUE: usize = 1000;
/// The approximate memory of such a key in Redis.
const KEY_BYTES: usize = 1_150;

fn value(turn: &str, key: usize) -> String {
    format!("{turn}-{key}-{:x<width$}", "", width = VALUE)
}

/// Writes the keys and returns those that were acknowledged.
fn write(redis: &Redis, turn: &str, keys: impl Iterator<Item = usize>, ttl: bool) -> Vec<usize> {
    let keys: Vec<usize> = keys.collect();
    let mut acknowledged = Vec::new();
    for some in keys.chunks(PIPELINE) {
        let mut pipeline = redis::pipe();
        for key in some {
            let (name, value) = (format!("k:{key}"), value(turn, *key));
            let mut words = vec!["SET", &name, &value];
            if ttl {
                words.extend(["EX", "3600"]);
            }
            pipeline.add_command(command(&words)).ignore();
        }
        pipeline.query::<()>(&mut redis.connection()).expect("every write is acknowledged");
        acknowledged.extend(some);
    }
    acknowledged
}

/// Sets `maxmemory` to the memory in use plus that of a tenth of `keys` keys.
fn limit(redis: &Redis, keys: usize, policy: &str) {
    let used: usize = redis.info("memory", "used_memory").expect("memory").parse().expect("bytes");
    let limit = (used + keys / 10 * KEY_BYTES).to_string();
    redis.cmd(&["CONFIG", "SET", "maxmemory-policy", policy, "maxmemory", &limit]);
}

/// Asserts that MongoDB has the last acknowledged value of every key.
#[track_caller]
fn all_written(world: &World, expected: &HashMap<String, String>) {
    world.connect_mongodb();
    let flushed = world.redis.flush();
    assert_eq!((flushed.failed, flushed.pending), (0, 0), "{flushed:?}");
    let documents: HashMap<String, Document> = world
        .database
        .collection("keys")
        .all()
        .into_iter()
        .map(|document| (document.get_str("_id").expect("_id").to_owned(), document))
        .collect();
    let wrong: Vec<&String> = expected
        .iter()
        .filter(|(id, value)| {
            let found = documents.get(*id).and_then(|document| document.get_str("value").ok());
            found != Some(value)
        })
        .map(|(id, _)| id)
        .collect();
    assert!(
        wrong.is_empty(),
        "{} of {} acknowledged values are not in MongoDB, such as {:?}",
        wrong.len(),
        expected.len(),
        &wrong[..wrong.len().min(5)]
    );
}

fn expect(expected: &mut HashMap<String, String>, turn: &str, keys: &[usize]) {
    expected.extend(keys.iter().map(|key| (key.to_string(), value(turn, *key))));
}

/// Writes `count` keys, some of them twice, into memory for a tenth of them.
#[track_caller]
fn nothing_is_lost(policy: &str, count: usize, options: &str) {
    let world = World::without_mongodb(|setup| setup);
    world.register("k:", "keys", options);
    limit(&world.redis, count, policy);
    let ttl = policy.starts_with("volatile");
    let mut expected = HashMap::new();
    expect(&mut expected, "first", &write(&world.redis, "first", 0..count, ttl));
    let again = (0..count).step_by(7);
    expect(&mut expected, "second", &write(&world.redis, "second", again, ttl));
    let evicted = world.redis.info("stats", "evicted_keys").expect("evicted_keys");
    let left: usize = world.redis.run(&["DBSIZE"]);
    println!("{policy}: {count} keys, {evicted} evictions, {left} left");
    assert!(left < count / 2, "{left} of {count} are still in Redis");
    assert!(world.redis.status().int("dirty_keys") >= count as i64);
    all_written(&world, &expected);
}

#[test]
fn fifty_thousand_dirty_keys_in_memory_for_five_thousand_are_all_written() {
    nothing_is_lost("allkeys-lru", 50_000, "");
}

#[test]
fn no_dirty_value_is_lost_with_any_eviction_policy() {
    for policy in [
        "allkeys-lfu",
        "allkeys-random",
        "volatile-lru",
        "volatile-lfu",
        "volatile-random",
        "volatile-ttl",
    ] {
        nothing_is_lost(policy, 5_000, "");
    }
}

#[test]
fn hashes_that_are_evicted_while_dirty_are_written_completely() {
    let world = World::without_mongodb(|setup| setup);
    world.register("k:", "keys", "INTERVAL 0");
    limit(&world.redis, 5_000, "allkeys-random");
    for turn in ["a", "b"] {
        for key in 0..5_000 {
            let padding = "x".repeat(VALUE);
            world.redis.cmd(&["HSET", &format!("k:{key}"), "turn", turn, "padding", &padding]);
        }
    }
    world.connect_mongodb();
    world.redis.flush();
    let documents = world.database.collection("keys").all();
    assert_eq!(documents.len(), 5_000);
    let old = documents.iter().filter(|document| document.get_str("turn").ok() != Some("b"));
    assert_eq!(old.count(), 0);
    assert!(documents.iter().all(|document| document.contains_key("padding")));
}

#[test]
fn del_of_an_evicted_key_does_not_delete_its_document() {
    let world = World::without_mongodb(|setup| setup);
    world.register("k:", "keys", "");
    limit(&world.redis, 5_000, "allkeys-random");
    let mut expected = HashMap::new();
    expect(&mut expected, "first", &write(&world.redis, "first", 0..5_000, false));
    // DEL of a missing key changes nothing: MongoDB gets the evicted value.
    let evicted: Vec<usize> = (0..5_000)
        .filter(|key| world.redis.run::<i64>(&["EXISTS", &format!("k:{key}")]) == 0)
        .collect();
    assert!(evicted.len() > 500, "{}", evicted.len());
    for key in &evicted {
        assert_eq!(world.redis.run::<i64>(&["DEL", &format!("k:{key}")]), 0);
    }
    all_written(&world, &expected);
}

/// Writes large values from many clients: in one event-loop iteration more than the free memory
/// below `maxmemory`.
fn write_large(redis: &Redis, turn: char) -> HashMap<String, String> {
    let value = |key: usize| format!("{key}{}", turn.to_string().repeat(1 << 20));
    std::thread::scope(|scope| {
        for client in 0..16 {
            let mut connection = redis.connect();
            scope.spawn(move || {
                for key in (client * 5)..(client * 5 + 5) {
                    let set = command(&["SET", &format!("k:{key}"), &value(key)]);
                    set.exec(&mut connection).expect("SET");
                }
            });
        }
    });
    (0..80).map(|key| (key.to_string(), value(key))).collect()
}

#[test]
fn large_values_of_many_concurrent_clients_are_all_written_under_a_configured_limit() {
    let world = World::without_mongodb(|setup| {
        setup.config("maxmemory 48mb").config("maxmemory-policy allkeys-lru")
    });
    world.register("k:", "keys", "");
    write_large(&world.redis, 'a');
    all_written(&world, &write_large(&world.redis, 'b'));
}

#[test]
fn values_evicted_by_a_limit_that_a_transaction_set_are_written() {
    for policy_first in [false, true] {
        let world = World::without_mongodb(|setup| setup);
        world.register("k:", "keys", "");
        let mut expected = HashMap::new();
        expect(&mut expected, "first", &write(&world.redis, "first", 0..2_000, false));
        let policy = ["CONFIG", "SET", "maxmemory-policy", "allkeys-lru"];
        if policy_first {
            world.redis.cmd(&policy);
        }
        let mut pipeline = redis::pipe();
        pipeline.atomic().add_command(command(&["CONFIG", "SET", "maxmemory", "2mb"])).ignore();
        pipeline.add_command(command(&policy)).ignore();
        pipeline.query::<()>(&mut world.redis.connection()).expect("EXEC");
        // The values are evicted before this command.
        world.redis.cmd(&["DBSIZE"]);
        all_written(&world, &expected);
    }
}
