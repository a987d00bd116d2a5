//! READTHROUGH: clients that know nothing of it find keys that Redis does not have.

mod clients;
mod misses;
mod options;
mod races;
mod replies;
mod stress;
mod writes;

use mongodb::bson::{Document, doc};
use testkit::fixture::World;
use testkit::redis_server::Redis;
use testkit::wait::{SOON, wait_until};

/// A document for each number, as TYPE STRING writes it.
fn numbered(count: usize) -> impl Iterator<Item = Document> {
    (0..count).map(|id| doc! { "_id": id.to_string(), "value": format!("value-{id}") })
}

/// `k:` with TYPE STRING, READTHROUGH and these options, and so many documents.
#[track_caller]
fn strings(world: &World, options: &str, count: usize) {
    if count > 0 {
        world.database.collection("keys").insert_many(numbered(count));
    }
    register(world, "k:", "keys", &format!("TYPE STRING READTHROUGH {options}"));
}

/// Registers a prefix, and waits until MongoDB is reached.
#[track_caller]
fn register(world: &World, prefix: &str, collection: &str, options: &str) {
    world.register(prefix, collection, options);
    wait_until("MongoDB is reached", SOON, || world.redis.status().text("link") == "up");
}

fn get(redis: &Redis, key: &str) -> Option<String> {
    redis.run(&["GET", key])
}

/// A figure of the prefix `k:`.
fn figure(redis: &Redis, name: &str) -> i64 {
    redis.status_of("k:").int(name)
}

/// Asserts that the module has captured nothing and has nothing to write.
#[track_caller]
fn is_untouched(redis: &Redis) {
    let status = redis.status();
    let figures = ["dirty_keys", "captured_total", "dead_letters"].map(|name| status.int(name));
    assert_eq!(figures, [0, 0, 0]);
}
