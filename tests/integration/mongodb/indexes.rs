//! The unique index of a key field other than `_id`: one document per key, also after the index is
//! dropped or hidden, and no effect on the documents of other applications.

use mongodb::bson::{Document, doc};

use testkit::comparison::Mapping;
use testkit::fixture::World;
use testkit::mongod::collection::Collection;
use testkit::mongod::{Mongod, TestDatabase};
use testkit::redis_server::Redis;
use testkit::redis_server::reply::Fields;

/// Keys of a batch: enough for the module to use a transaction.
const KEYS: u32 = 500;

/// Sets `KEYS` keys under `prefix`, from `first` on, and waits until they are written.
#[track_caller]
fn write(redis: &Redis, prefix: &str, first: u32, value: &str) {
    let mut pipeline = redis::pipe();
    for n in first..first + KEYS {
        pipeline.set(format!("{prefix}{n}"), value).ignore();
    }
    pipeline.exec(&mut redis.connection()).expect("SET");
    let flushed = redis.flush();
    assert_eq!((flushed.failed, flushed.pending), (0, 0), "{flushed:?}");
}

/// A server that has learned that its documents are new, and so inserts instead of upserting.
fn inserting(mongod: &Mongod, database: &TestDatabase) -> Redis {
    let redis = Redis::start(&mongod.uri());
    redis.cmd(&["WB.REGISTER", "k:", &database.namespace("keys"), "KEY", "id"]);
    for batch in 0..4 {
        write(&redis, "k:", batch * KEYS, "first");
    }
    redis
}

/// Insert operations since mongod started.
fn inserts(mongod: &Mongod) -> i64 {
    let status = mongod.admin(doc! { "serverStatus": 1 });
    let counters = status.get_document("opcounters").expect("opcounters");
    counters.get_i64("insert").expect("insert")
}

fn index_names(database: &TestDatabase, collection: &str) -> Vec<String> {
    let list = database.run(doc! { "listIndexes": collection });
    let indexes = list.get_document("cursor").and_then(|cursor| cursor.get_array("firstBatch"));
    let name = |index: &Document| index.get_str("name").expect("name").to_owned();
    indexes
        .expect("indexes")
        .iter()
        .map(|index| name(index.as_document().expect("index")))
        .collect()
}

fn dead_letters(redis: &Redis) -> Vec<(String, String)> {
    let list: Vec<Fields> = redis.run(&["WB.DEADLETTER", "LIST"]);
    list.iter().map(|row| (row.text("key"), row.text("reason"))).collect()
}

#[test]
fn a_dropped_collection_gets_one_document_per_key_again() {
    let mongod = Mongod::pooled();
    let database = mongod.named_database("dropped");
    let redis = inserting(&mongod, &database);
    let keys = database.collection("keys");
    assert!(inserts(&mongod) >= i64::from(2 * KEYS), "new documents are not inserted");

    database.run(doc! { "drop": "keys" });
    for round in ["second", "third", "fourth"] {
        for batch in 0..4 {
            write(&redis, "k:", batch * KEYS, round);
        }
        assert_eq!(keys.count(), u64::from(4 * KEYS), "{round}");
    }
    assert_eq!(keys.unique_indexes(), [["id"]]);
    Mapping::by_field("k:", "id").holds(&redis, &keys);
}

#[test]
fn a_dropped_index_is_recreated_before_the_next_write() {
    let world = World::new();
    let redis = inserting(Mongod::shared(), &world.database);
    let keys = world.database.collection("keys");
    world.database.run(doc! { "dropIndexes": "keys", "index": "*" });
    for round in ["second", "third"] {
        write(&redis, "k:", 3 * KEYS, round);
        write(&redis, "k:", 4 * KEYS, round);
    }
    assert_eq!(keys.unique_indexes(), [["id"]]);
    assert_eq!(keys.count(), u64::from(5 * KEYS));
    assert_eq!(redis.status_of("k:").text("last_error"), "", "the error is cleared");

    // A deletion uses the index as well.
    world.database.run(doc! { "dropIndexes": "keys", "index": "*" });
    redis.cmd(&["DEL", "k:0"]);
    redis.flush();
    assert_eq!(keys.unique_indexes(), [["id"]]);
    assert_eq!(keys.count(), u64::from(5 * KEYS) - 1);
}

#[test]
fn the_query_planner_uses_the_index_although_it_is_partial() {
    let world = World::new();
    for (key_as, suffix) in
        [("STRING", "7"), ("INT64", "7"), ("OBJECTID", "65f0c0ffee65f0c0ffee0001")]
    {
        let name = format!("keys_{key_as}");
        world.register("k:", &name, &format!("KEY id AS {key_as}"));
        world.redis.cmd(&["SET", &format!("k:{suffix}"), "x"]);
        world.redis.flush();
        let document = world.database.collection(&name).find(doc! {}).expect("document");
        let operation = doc! { "q": { "id": document.get("id") }, "u": {}, "upsert": true };
        let update = doc! { "update": &name, "updates": [operation] };
        let explained = world.database.run(doc! { "explain": update, "verbosity": "queryPlanner" });
        let text = explained.to_string();
        assert!(text.contains("IXSCAN") && text.contains("writebehind_id"), "{text}");
    }
}

#[test]
fn documents_without_the_key_field_are_not_in_the_index() {
    let world = World::new();
    world.register("k:", "keys", "KEY id");
    world.redis.cmd(&["SET", "k:1", "x"]);
    world.redis.flush();
    let keys = world.database.collection("keys");
    keys.insert(doc! { "foreign": 1 });
    keys.insert(doc! { "foreign": 2 });
    assert_eq!(keys.count(), 3);
}

#[test]
fn two_key_fields_share_one_collection() {
    let world = World::new();
    world.register("a:", "both", "KEY a");
    world.register("b:", "both", "KEY b");
    for key in ["a:1", "a:2", "b:1", "b:2"] {
        world.redis.cmd(&["SET", key, key]);
    }
    let flushed = world.redis.flush();
    assert_eq!((flushed.persisted, flushed.failed), (4, 0), "{:?}", dead_letters(&world.redis));
    let both = world.database.collection("both");
    let holds = |key: Document, value: &str| {
        let document = both.find(key).expect("document");
        assert_eq!(document.get_str("value").expect("value"), value);
    };
    holds(doc! { "a": "2" }, "a:2");
    holds(doc! { "b": "1" }, "b:1");
}

#[test]
fn a_unique_index_of_the_application_is_used_and_a_duplicate_in_it_is_explained() {
    let world = World::new();
    let index = doc! { "key": { "a": 1 }, "name": "mine", "unique": true };
    world.database.run(doc! { "createIndexes": "both", "indexes": [index] });
    world.register("a:", "both", "KEY a");
    world.redis.cmd(&["SET", "a:1", "x"]);
    world.redis.cmd(&["SET", "a:2", "x"]);
    assert_eq!(world.redis.flush().failed, 0);
    assert_eq!(index_names(&world.database, "both"), ["_id_", "mine"]);

    // That index is not sparse: it indexes a missing field as null.
    world.register("b:", "both", "KEY b");
    world.redis.cmd(&["SET", "b:1", "x"]);
    assert_eq!(world.redis.flush().failed, 0);
    world.redis.cmd(&["SET", "b:2", "x"]);
    assert_eq!(world.redis.flush().failed, 1);
    let (key, reason) = dead_letters(&world.redis).remove(0);
    assert_eq!(key, "b:2");
    assert!(reason.contains("without a") && reason.contains("partial"), "{reason}");
    assert!(!reason.contains("same value"), "{reason}");
}

#[test]
fn a_hidden_index_is_reported() {
    let world = World::new();
    world.register("k:", "keys", "KEY id");
    world.redis.cmd(&["SET", "k:1", "x"]);
    world.redis.flush();
    let keys = world.database.collection("keys");
    let hide = |hidden: bool| {
        let index = doc! { "name": "writebehind_id", "hidden": hidden };
        world.database.run(doc! { "collMod": "keys", "index": index });
    };
    hide(true);
    world.redis.cmd(&["SET", "k:1", "y"]);
    assert_eq!(world.redis.flush_with(&["TIMEOUT", "500"]).pending, 1);
    assert!(world.redis.status_of("k:").text("last_error").contains("index"));
    hide(false);
    assert_eq!(world.redis.flush().pending, 0);
    assert_eq!(value_of(&keys, "1"), "y");
}

fn value_of(keys: &Collection, id: &str) -> String {
    let document = keys.find(doc! { "id": id }).expect("document");
    document.get_str("value").expect("value").to_owned()
}
