//! MODE THROUGH: clients that know nothing of it get their replies when MongoDB has what they wrote.
//!
//! - `replies`: what is held, until when, and the bytes of the replies
//! - `errors`: timeouts, refusals, and a MongoDB that is away
//! - `scripts`: scripts and functions
//! - `other_modules`: commands that other modules run
//! - `shutdown`: SHUTDOWN while clients are held
//! - `clients`: clients in all states: in MULTI, subscribed, tracking, with few rights, gone
//! - `options`: the option, the settings, the figures
//! - `stress`: clients that count their replies under faults

mod clients;
mod errors;
mod options;
mod other_modules;
mod replies;
mod scripts;
mod shutdown;
mod stress;

use mongodb::bson::doc;
use std::time::Duration;
use testkit::fixture::World;
use testkit::mongod::Mongod;
use testkit::mongod::transaction::Transaction;
use testkit::redis_server::Redis;
use testkit::redis_server::raw::RawClient;
use testkit::wait::{SOON, wait_until};

/// For a reply that must not come.
const A_WHILE: Duration = Duration::from_millis(300);

/// `k:` with MODE THROUGH and these options, and MongoDB reached.
#[track_caller]
fn through(world: &World, options: &str) {
    register(world, "k:", "keys", &format!("MODE THROUGH {options}"));
}

/// Registers a prefix, and waits until MongoDB is reached.
#[track_caller]
fn register(world: &World, prefix: &str, collection: &str, options: &str) {
    world.register(prefix, collection, options);
    wait_until("MongoDB is reached", SOON, || world.redis.status().text("link") == "up");
}

/// Locks the documents of these keys of `k:`, which are written for that.
#[track_caller]
fn lock(world: &World, ids: &[&str]) -> Transaction {
    for id in ids {
        assert_eq!(world.redis.run::<String>(&["SET", &format!("k:{id}"), "old"]), "OK");
    }
    Transaction::hold(Mongod::shared(), world.database.name(), "keys", ids)
}

/// A figure of the prefix `k:`.
fn figure(redis: &Redis, name: &str) -> i64 {
    redis.status_of("k:").int(name)
}

/// Waits until so many clients wait for MongoDB.
#[track_caller]
fn wait_for_writers(redis: &Redis, count: i64) {
    wait_until("clients wait", SOON, || redis.status().int("writers_waiting") == count);
}

/// Asserts that no client is held, of which the server knows or the module.
#[track_caller]
fn is_free(redis: &Redis) {
    wait_until("no client waits", SOON, || {
        redis.status().int("writers_waiting") == 0
            && redis.info("clients", "blocked_clients").as_deref() == Some("0")
    });
}

fn raw(world: &World) -> RawClient {
    RawClient::new(world.redis.port(), "2")
}
