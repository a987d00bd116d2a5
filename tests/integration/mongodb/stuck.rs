//! A document or a namespace that cannot be written for a while does not delay others.

use std::time::{Duration, Instant};

use mongodb::bson::{Document, doc};

use testkit::mongod::major_version;
use testkit::mongod::transaction::Transaction;
use testkit::mongod::{Mongod, MongodSetup, TestDatabase};
use testkit::redis_server::{Redis, Setup};
use testkit::wait::{SOON, became, wait_until};

/// How long the lag of other prefixes is measured.
const MEASURED: Duration = Duration::from_secs(12);

fn start(mongod: &Mongod, batches: &str) -> Redis {
    Setup::new(&mongod.uri()).setting("max-in-flight-batches", batches).start()
}

fn register(redis: &Redis, database: &TestDatabase, prefix: &str, collection: &str) {
    redis.cmd(&["WB.REGISTER", prefix, &database.namespace(collection), "INTERVAL", "20"]);
}

/// Sets `keys` keys of the prefix.
fn set(redis: &Redis, prefix: &str, keys: usize, value: &str) {
    for key in 0..keys {
        redis.cmd(&["SET", &format!("{prefix}{key}"), value]);
    }
}

/// Changes a key repeatedly, and returns the sorted times until acknowledgement in milliseconds.
fn lags(redis: &Redis, prefix: &str, for_time: Duration) -> Vec<u128> {
    let began = Instant::now();
    let mut lags = Vec::new();
    while began.elapsed() < for_time {
        let changed = Instant::now();
        redis.cmd(&["SET", &format!("{prefix}1"), &lags.len().to_string()]);
        let clean = became(SOON, || redis.status_of(prefix).int("dirty_keys") == 0);
        assert!(clean, "{prefix}: {}", redis.status_of(prefix).text("last_error"));
        lags.push(changed.elapsed().as_millis());
    }
    lags.sort_unstable();
    lags
}

fn median(sorted: &[u128]) -> u128 {
    sorted[sorted.len() / 2]
}

#[test]
fn a_document_that_a_transaction_locks_blocks_only_its_key() {
    let mongod = Mongod::pooled();
    let database = mongod.named_database("stuck");
    let redis = start(&mongod, "2");
    register(&redis, &database, "held:", "held");
    register(&redis, &database, "other:", "other");
    set(&redis, "held:", 500, "a");
    redis.flush();
    let before = lags(&redis, "other:", Duration::from_secs(3));

    let transaction = Transaction::hold(&mongod, "stuck", "held", &["137"]);
    set(&redis, "held:", 500, "b");
    let during = lags(&redis, "other:", MEASURED);
    assert!(median(&during) * 10 <= median(&before) * 12 + 100, "{before:?} {during:?}");
    assert!(during[during.len() - 1] < 1000, "{during:?}");

    let keys = || {
        let status = redis.status_of("held:");
        (status.int("dirty_keys"), status.int("blocked_keys"))
    };
    wait_until("only that key is dirty and blocked", SOON, || keys() == (1, 1));
    let status = redis.status_of("held:");
    assert!(status.text("last_error").contains("stuck.held"), "{}", status.text("last_error"));
    let status = redis.status();
    assert_eq!((status.text("link").as_str(), status.int("dead_letters")), ("up", 0));
    assert!(status.text("warning").contains("1 of 'held:'"), "{}", status.text("warning"));
    let explained =
        || redis.run::<testkit::redis_server::reply::Fields>(&["WB.EXPLAIN", "held:137"]);
    wait_until("it waits", SOON, || explained().text("state") == "waiting");
    assert!(explained().text("waits_for").contains("document"), "{:?}", explained());
    let held = database.collection("held");
    assert_eq!(
        (held.count_of(doc! { "value": "b" }), held.text("137", "value")),
        (499, "a".into())
    );

    // Other keys of the prefix are written as usual, and the blocked key after the transaction.
    redis.cmd(&["SET", "held:new", "c"]);
    wait_until("a new key", SOON, || held.by_id("new").is_some());
    redis.cmd(&["SET", "held:137", "c"]);
    transaction.end();
    wait_until("it is written", SOON, || redis.status_of("held:").int("dirty_keys") == 0);
    assert_eq!(held.text("137", "value"), "c");
    assert_eq!(redis.status().int("blocked_keys"), 0);
}

#[test]
fn a_locked_document_blocks_only_its_key_with_one_batch_in_flight_and_few_keys() {
    let mongod = Mongod::pooled();
    let database = mongod.named_database("stuck");
    let redis = start(&mongod, "1");
    register(&redis, &database, "held:", "held");
    register(&redis, &database, "other:", "other");
    set(&redis, "held:", 20, "a");
    set(&redis, "other:", 2, "a");
    redis.flush();
    let transaction = Transaction::hold(&mongod, "stuck", "held", &["7"]);
    set(&redis, "held:", 20, "b");
    let during = lags(&redis, "other:", Duration::from_secs(8));
    assert!(during[during.len() - 1] < 1000, "{during:?}");
    assert_eq!(database.collection("held").count_of(doc! { "value": "b" }), 19);
    transaction.end();
    assert_eq!(redis.flush().pending, 0);
    assert_eq!(database.collection("held").count_of(doc! { "value": "b" }), 20);
    assert_eq!((redis.status().int("dead_letters"), redis.status().text("link")), (0, "up".into()));
}

/// Writes to one namespace fail like this for a while, and the lag of another prefix stays the
/// same.
#[track_caller]
fn delays_no_other_namespace(how: Document, word: &str) {
    let mongod = MongodSetup::replica_set().failpoints().start();
    let database = mongod.named_database("stuck");
    let redis = start(&mongod, "2");
    register(&redis, &database, "bad:", "bad");
    register(&redis, &database, "other:", "other");
    set(&redis, "bad:", 100, "a");
    set(&redis, "other:", 2, "a");
    redis.flush();
    let before = lags(&redis, "other:", Duration::from_secs(2));
    let mut how = how;
    how.insert("namespace", database.namespace("bad"));
    mongod.fail_always(&["update", "insert", "delete"], how);
    set(&redis, "bad:", 100, "b");
    let during = lags(&redis, "other:", MEASURED);
    assert!(median(&during) * 10 <= median(&before) * 12 + 100, "{before:?} {during:?}");
    assert!(during[during.len() - 1] < 1000, "{during:?}");
    let status = redis.status_of("bad:");
    assert!(status.text("last_error").contains(word), "{}", status.text("last_error"));
    assert_eq!((status.int("dirty_keys"), status.int("dead_letters")), (100, 0));
    assert_eq!(redis.status().text("link"), "up");
    mongod.stop_failing();
    assert_eq!(redis.flush().pending, 0);
    assert_eq!(database.collection("bad").count_of(doc! { "value": "b" }), 100);
}

#[test]
fn a_namespace_whose_commands_all_time_out_delays_no_other() {
    let slow = doc! { "blockConnection": true, "blockTimeMS": 1_000, "errorCode": 50 };
    delays_no_other_namespace(slow, "MongoDB did not write a document of stuck.bad within");
}

#[test]
fn an_unavailable_shard_delays_only_its_own_namespaces() {
    let unavailable = doc! { "blockConnection": true, "blockTimeMS": 500, "errorCode": 133 };
    delays_no_other_namespace(unavailable, "no member of a shard");
}

#[test]
fn a_full_cache_or_disk_for_one_namespace_delays_no_other() {
    delays_no_other_namespace(doc! { "errorCode": 365 }, "cache");
    delays_no_other_namespace(doc! { "errorCode": 14_031 }, "disk is full");
}

/// A namespace that rejects all documents backs off: it makes no dead letters, others are written,
/// and all is written once the operator has repaired it.
#[track_caller]
fn backs_off(make: Document, repair: Document, values: &[&str], word: &str) {
    let database = Mongod::shared().database();
    let redis = Redis::start(&Mongod::shared().uri());
    register(&redis, &database, "bad:", "bad");
    register(&redis, &database, "other:", "other");
    database.run(make);
    for key in 0..5_000 {
        let key = format!("bad:{key}");
        let words = [&["HSET", key.as_str()], values].concat();
        redis.cmd(&words);
    }
    wait_until("the error is reported", SOON, || {
        redis.status_of("bad:").text("last_error").contains(word)
    });
    redis.cmd(&["SET", "other:1", "x"]);
    assert_eq!(redis.flush_with(&["other:"]).pending, 0);
    let status = redis.status();
    assert_eq!((status.int("dead_letters"), status.text("link")), (0, "up".into()));
    assert_eq!(redis.status_of("bad:").int("dirty_keys"), 5_000);
    database.run(repair);
    assert_eq!(redis.flush().pending, 0);
    assert_eq!(redis.status().int("dead_letters"), 0);
    assert_eq!(database.collection("bad").count(), 5_000);
}

#[test]
fn a_time_series_collection_makes_no_dead_letters() {
    if major_version() < 5 {
        // Time series collections came with 5.0.
        return;
    }
    backs_off(
        doc! { "create": "bad", "timeseries": { "timeField": "at" } },
        doc! { "drop": "bad" },
        &["f", "v"],
        "time series",
    );
}

#[test]
fn a_text_index_that_rejects_all_documents_makes_no_dead_letters() {
    let index = doc! { "key": { "title": "text" }, "name": "titles" };
    backs_off(
        doc! { "createIndexes": "bad", "indexes": [index] },
        doc! { "dropIndexes": "bad", "index": "titles" },
        &["title", "x", "language", "klingon"],
        "language_override",
    );
}

#[test]
fn a_single_document_that_a_text_index_rejects_is_a_dead_letter() {
    let database = Mongod::shared().database();
    let redis = Redis::start(&Mongod::shared().uri());
    register(&redis, &database, "film:", "films");
    let index = doc! { "key": { "title": "text" }, "name": "titles" };
    database.run(doc! { "createIndexes": "films", "indexes": [index] });
    redis.cmd(&["HSET", "film:bad", "title", "x", "language", "klingon"]);
    wait_until("it waits", SOON, || redis.status().int("blocked_keys") == 1);
    assert_eq!(redis.status().int("dead_letters"), 0, "the cause may be the collection");
    for key in 0..10 {
        redis.cmd(&["HSET", &format!("film:{key}"), "title", "x", "language", "english"]);
    }
    wait_until("others are written", SOON, || database.collection("films").count() == 10);
    wait_until("a dead letter", SOON, || redis.status().int("dead_letters") == 1);
    assert_eq!(redis.flush().pending, 0);
}
