//! One document, or one namespace, that MongoDB does not let be written: others do not wait for it.

use std::time::{Duration, Instant};

use mongodb::bson::{Document, doc};
use mongodb::{Client, ClientSession};

use testkit::mongod::major_version;
use testkit::mongod::{Mongod, MongodSetup, TestDatabase, block_on};
use testkit::redis_server::{Redis, Setup};
use testkit::wait::{SOON, became, wait_until};

/// How long changes of other prefixes are measured.
const MEASURED: Duration = Duration::from_secs(12);

/// A transaction of another application that holds documents.
struct Transaction {
    session: ClientSession,
}

impl Transaction {
    /// Changes these documents and does not end.
    fn hold(mongod: &Mongod, database: &str, collection: &str, ids: &[&str]) -> Self {
        block_on(async {
            let client = Client::with_uri_str(mongod.uri()).await.expect("client");
            let mut session = client.start_session().await.expect("session");
            session.start_transaction().await.expect("transaction");
            let documents = client.database(database).collection::<Document>(collection);
            let change = doc! { "$set": { "held": true } };
            documents
                .update_many(doc! { "_id": { "$in": ids } }, change)
                .session(&mut session)
                .await
                .expect("update");
            Self { session }
        })
    }

    fn end(mut self) {
        block_on(async { self.session.abort_transaction().await }).expect("abort");
    }
}

fn start(mongod: &Mongod, places: &str) -> Redis {
    Setup::new(&mongod.uri()).setting("max-in-flight-batches", places).start()
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

/// Milliseconds until changes of a prefix are acknowledged, one after the other, in order.
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
fn a_document_that_a_transaction_holds_keeps_only_its_key_waiting() {
    let mongod = Mongod::lent();
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
    wait_until("only that key waits", SOON, || keys() == (1, 1));
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

    // Others of the prefix are written as ever, and the key when the transaction is over.
    redis.cmd(&["SET", "held:new", "c"]);
    wait_until("a new key", SOON, || held.by_id("new").is_some());
    redis.cmd(&["SET", "held:137", "c"]);
    transaction.end();
    wait_until("it is written", SOON, || redis.status_of("held:").int("dirty_keys") == 0);
    assert_eq!(held.text("137", "value"), "c");
    assert_eq!(redis.status().int("blocked_keys"), 0);
}

#[test]
fn it_is_so_with_a_single_place_on_the_wire_and_few_keys() {
    let mongod = Mongod::lent();
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

/// One namespace fails like this for a while, and another prefix notices nothing of it.
#[track_caller]
fn holds_up_nobody(how: Document, word: &str) {
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
fn a_namespace_whose_commands_all_take_too_long_holds_up_no_other() {
    let slow = doc! { "blockConnection": true, "blockTimeMS": 1_000, "errorCode": 50 };
    holds_up_nobody(slow, "MongoDB did not write a document of stuck.bad within");
}

#[test]
fn a_shard_that_is_away_holds_up_only_what_is_on_it() {
    let away = doc! { "blockConnection": true, "blockTimeMS": 500, "errorCode": 133 };
    holds_up_nobody(away, "no member of a shard");
}

#[test]
fn a_full_cache_or_disk_of_one_namespace_holds_up_no_other() {
    holds_up_nobody(doc! { "errorCode": 365 }, "cache");
    holds_up_nobody(doc! { "errorCode": 14_031 }, "disk is full");
}

/// A namespace that takes nothing: no dead letters, others go on, and all is written when the
/// operator has seen to it.
#[track_caller]
fn rests(make: Document, mend: Document, values: &[&str], word: &str) {
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
    wait_until("it is told", SOON, || redis.status_of("bad:").text("last_error").contains(word));
    redis.cmd(&["SET", "other:1", "x"]);
    assert_eq!(redis.flush_with(&["other:"]).pending, 0);
    let status = redis.status();
    assert_eq!((status.int("dead_letters"), status.text("link")), (0, "up".into()));
    assert_eq!(redis.status_of("bad:").int("dirty_keys"), 5_000);
    database.run(mend);
    assert_eq!(redis.flush().pending, 0);
    assert_eq!(redis.status().int("dead_letters"), 0);
    assert_eq!(database.collection("bad").count(), 5_000);
}

#[test]
fn a_time_series_collection_makes_no_dead_letters() {
    if major_version() < 5 {
        // There are none.
        return;
    }
    rests(
        doc! { "create": "bad", "timeseries": { "timeField": "at" } },
        doc! { "drop": "bad" },
        &["f", "v"],
        "time series",
    );
}

#[test]
fn a_text_index_that_takes_no_document_makes_no_dead_letters() {
    let index = doc! { "key": { "title": "text" }, "name": "titles" };
    rests(
        doc! { "createIndexes": "bad", "indexes": [index] },
        doc! { "dropIndexes": "bad", "index": "titles" },
        &["title", "x", "language", "klingon"],
        "language_override",
    );
}

#[test]
fn one_document_that_a_text_index_does_not_take_is_a_dead_letter() {
    let database = Mongod::shared().database();
    let redis = Redis::start(&Mongod::shared().uri());
    register(&redis, &database, "film:", "films");
    let index = doc! { "key": { "title": "text" }, "name": "titles" };
    database.run(doc! { "createIndexes": "films", "indexes": [index] });
    redis.cmd(&["HSET", "film:bad", "title", "x", "language", "klingon"]);
    wait_until("it waits", SOON, || redis.status().int("blocked_keys") == 1);
    assert_eq!(redis.status().int("dead_letters"), 0, "it may be the fault of the collection");
    for key in 0..10 {
        redis.cmd(&["HSET", &format!("film:{key}"), "title", "x", "language", "english"]);
    }
    wait_until("others are written", SOON, || database.collection("films").count() == 10);
    wait_until("a dead letter", SOON, || redis.status().int("dead_letters") == 1);
    assert_eq!(redis.flush().pending, 0);
}
