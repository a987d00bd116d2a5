//! Far more dirty keys than memory holds, while MongoDB is away: what was acknowledged and then
//! evicted is in MongoDB in the end.

use std::collections::HashMap;

use mongodb::bson::Document;

use testkit::fixture::World;
use testkit::redis_server::{Redis, command};

/// Commands sent in one go.
const PIPELINE: usize = 100;
/// Bytes of a value, its number included.
const VALUE: usize = 1000;
/// What one such key takes in Redis, about.
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

/// A limit that holds a tenth of so many keys, beyond what the server takes by itself.
fn limit(redis: &Redis, keys: usize, policy: &str) {
    let used: usize = redis.info("memory", "used_memory").expect("memory").parse().expect("bytes");
    let limit = (used + keys / 10 * KEY_BYTES).to_string();
    redis.cmd(&["CONFIG", "SET", "maxmemory-policy", policy, "maxmemory", &limit]);
}

/// Every key has in MongoDB the value that was acknowledged last.
#[track_caller]
fn all_arrived(world: &World, expected: &HashMap<String, String>) {
    world.find_mongodb();
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

/// Writes so many keys into memory for a tenth of them, some of them twice.
#[track_caller]
fn nothing_is_lost(policy: &str, count: usize, options: &str) {
    let world = World::away(|setup| setup);
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
    assert!(left < count / 2, "{left} of {count} are still there");
    assert!(world.redis.status().int("dirty_keys") >= count as i64);
    all_arrived(&world, &expected);
}

#[test]
fn fifty_thousand_dirty_keys_in_memory_for_five_thousand_all_arrive() {
    nothing_is_lost("allkeys-lru", 50_000, "");
}

#[test]
fn every_policy_of_eviction_leaves_nothing_behind() {
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
fn hashes_that_are_evicted_while_dirty_arrive_whole() {
    let world = World::away(|setup| setup);
    world.register("k:", "keys", "INTERVAL 0");
    limit(&world.redis, 5_000, "allkeys-random");
    for turn in ["a", "b"] {
        for key in 0..5_000 {
            let padding = "x".repeat(VALUE);
            world.redis.cmd(&["HSET", &format!("k:{key}"), "turn", turn, "padding", &padding]);
        }
    }
    world.find_mongodb();
    world.redis.flush();
    let documents = world.database.collection("keys").all();
    assert_eq!(documents.len(), 5_000);
    let late = documents.iter().filter(|document| document.get_str("turn").ok() != Some("b"));
    assert_eq!(late.count(), 0);
    assert!(documents.iter().all(|document| document.contains_key("padding")));
}

#[test]
fn a_key_read_back_after_its_eviction_is_not_taken_for_deleted() {
    let world = World::away(|setup| setup);
    world.register("k:", "keys", "");
    limit(&world.redis, 5_000, "allkeys-random");
    let mut expected = HashMap::new();
    expect(&mut expected, "first", &write(&world.redis, "first", 0..5_000, false));
    // Deleting what is not there changes nothing: MongoDB keeps the evicted value.
    let gone: Vec<usize> = (0..5_000)
        .filter(|key| world.redis.run::<i64>(&["EXISTS", &format!("k:{key}")]) == 0)
        .collect();
    assert!(gone.len() > 500, "{}", gone.len());
    for key in &gone {
        assert_eq!(world.redis.run::<i64>(&["DEL", &format!("k:{key}")]), 0);
    }
    all_arrived(&world, &expected);
}

/// Large values of many clients: more than the distance to the limit within one turn of the loop.
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
fn large_values_of_many_clients_at_once_all_arrive_under_a_limit_from_the_start() {
    let world =
        World::away(|setup| setup.config("maxmemory 48mb").config("maxmemory-policy allkeys-lru"));
    world.register("k:", "keys", "");
    write_large(&world.redis, 'a');
    all_arrived(&world, &write_large(&world.redis, 'b'));
}

#[test]
fn what_a_limit_evicts_that_is_set_in_a_transaction_arrives() {
    for policy_first in [false, true] {
        let world = World::away(|setup| setup);
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
        // Not before the values are gone.
        world.redis.cmd(&["DBSIZE"]);
        all_arrived(&world, &expected);
    }
}
