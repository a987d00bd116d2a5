//! The keys that one MULTI, one script or one command changed become visible in MongoDB together.
//!
//! - `transfers`: the sum of all accounts is right in every snapshot, under faults too
//! - `together`: two documents of which one is locked: neither is written
//! - `options`: `ATOMIC SPLIT`, `WHOLE` and `NONE`, and what splits a group
//! - `restarts`: a dirty group in the RDB, in the AOF and on a replica

mod options;
mod restarts;
mod together;
mod transfers;

use mongodb::bson::doc;
use testkit::mongod::transaction::Transaction;
use testkit::mongod::{Mongod, TestDatabase};
use testkit::redis_server::reply::Flushed;
use testkit::redis_server::{Redis, Setup};
use testkit::wait::{SOON, wait_until};

/// The collections of the prefixes `a:`, `b:` and `c:`.
const COLLECTIONS: [(&str, &str); 3] = [("a:", "first"), ("b:", "second"), ("c:", "third")];

/// No key is written before WB.FLUSH.
const LONG_INTERVAL_MS: &str = "60000";

/// Redis with three prefixes, and a MongoDB. Document `1` of each collection has the value `old`.
struct Stage<M: std::ops::Deref<Target = Mongod>> {
    redis: Redis,
    database: TestDatabase,
    mongod: M,
}

impl<M: std::ops::Deref<Target = Mongod>> Stage<M> {
    /// With the same options for every prefix.
    #[track_caller]
    fn new(mongod: M, options: &str) -> Self {
        Self::with(mongod, &[options; 3])
    }

    /// With the options of each prefix.
    #[track_caller]
    fn with(mongod: M, options: &[&str; 3]) -> Self {
        let redis = Setup::new(&mongod.uri())
            .setting("flush-interval-ms", LONG_INTERVAL_MS)
            .setting("retry-backoff-max-ms", "100")
            .start();
        let database = mongod.database();
        let stage = Self { redis, database, mongod };
        stage.register(options);
        for (prefix, _) in COLLECTIONS {
            stage.redis.cmd(&["SET", &format!("{prefix}1"), "old"]);
        }
        flush_all(&stage.redis);
        stage
    }

    #[track_caller]
    fn register(&self, options: &[&str; 3]) {
        for ((prefix, collection), options) in COLLECTIONS.iter().zip(options) {
            let namespace = self.database.namespace(collection);
            let options: Vec<&str> = options.split_whitespace().collect();
            self.redis.cmd(&[&["WB.REGISTER", prefix, &namespace], options.as_slice()].concat());
        }
    }

    /// Another application locks document `1` of a collection.
    fn hold(&self, collection: &str) -> Transaction {
        Transaction::hold(&self.mongod, self.database.name(), collection, &["1"])
    }

    /// Asserts the value of document `1` of each collection; `-` if there is none.
    #[track_caller]
    fn holds(&self, expected: [&str; 3]) {
        assert_eq!(values(&self.database), expected);
    }

    /// `groups_total` and `groups_split_total`.
    #[track_caller]
    fn groups(&self) -> [i64; 2] {
        groups(&self.redis)
    }
}

#[track_caller]
fn groups(redis: &Redis) -> [i64; 2] {
    let status = redis.status();
    ["groups_total", "groups_split_total"].map(|field| status.int(field))
}

/// The value of document `1` of each collection; `-` if there is none. They are read one
/// after the other.
fn values(database: &TestDatabase) -> [String; 3] {
    COLLECTIONS.map(|(_, collection)| {
        let found = database.collection(collection).find(doc! { "_id": "1" });
        found
            .map_or_else(|| "-".to_owned(), |found| found.get_str("value").expect("a value").into())
    })
}

/// MULTI, the commands, EXEC.
#[track_caller]
fn transaction(redis: &Redis, commands: &[&[&str]]) {
    let mut transaction = redis::pipe();
    transaction.atomic();
    for words in commands {
        transaction.cmd(words[0]).arg(&words[1..]).ignore();
    }
    transaction.query::<()>(&mut *redis.connection()).expect("EXEC");
}

/// Sets key `1` of these prefixes in one MULTI.
#[track_caller]
fn set_together(redis: &Redis, prefixes: &[&str], value: &str) {
    let keys: Vec<String> = prefixes.iter().map(|prefix| format!("{prefix}1")).collect();
    let commands: Vec<[&str; 3]> = keys.iter().map(|key| ["SET", key, value]).collect();
    let commands: Vec<&[&str]> = commands.iter().map(<[&str; 3]>::as_slice).collect();
    transaction(redis, &commands);
}

/// The reply of WB.FLUSH without dead letters.
fn flushed(persisted: i64, pending: i64) -> Flushed {
    Flushed { persisted, failed: 0, pending }
}

/// WB.FLUSH, after which nothing is dirty and there is no dead letter. Some keys may have been written
/// before it.
#[track_caller]
fn flush_all(redis: &Redis) {
    let Flushed { failed, pending, .. } = redis.flush_with(&["TIMEOUT", "20000"]);
    assert_eq!((failed, pending), (0, 0), "{:?}", redis.status());
}

/// WB.FLUSH while a document is locked: the time is enough for everything else to be written.
#[track_caller]
fn flush_while_locked(redis: &Redis) -> Flushed {
    redis.flush_with(&["TIMEOUT", "3000"])
}

#[track_caller]
fn wait_until_clean(redis: &Redis) {
    wait_until("all is written", SOON, || redis.status().int("dirty_keys") == 0);
}
