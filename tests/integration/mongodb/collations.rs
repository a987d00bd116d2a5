//! Collections whose default collation treats different strings as equal.

use mongodb::bson::{Document, doc};

use testkit::comparison::Mapping;
use testkit::fixture::World;
use testkit::mongod::TestDatabase;
use testkit::mongod::users::Guarded;
use testkit::redis_server::Redis;

/// Creates a collection with a case-insensitive default collation.
fn create(database: &TestDatabase, collection: &str) {
    database.run(doc! { "create": collection, "collation": english() });
}

fn english() -> Document {
    doc! { "locale": "en", "strength": 2 }
}

/// Keys that differ only in case have separate documents.
#[track_caller]
fn keys_have_separate_documents(world: &World, collection: &str) {
    let redis = &world.redis;
    for key in ["c:Ann", "c:ann", "c:ANN"] {
        redis.cmd(&["HSET", key, "is", key]);
    }
    let mapping = Mapping::by_field("c:", "id");
    let documents = world.database.collection(collection);
    mapping.holds(redis, &documents);
    assert_eq!(documents.count(), 3);
    redis.cmd(&["DEL", "c:ann"]);
    redis.cmd(&["HSET", "c:ANN", "is", "changed"]);
    mapping.holds(redis, &documents);
    assert_eq!(documents.count(), 2);
    // Enough keys for the module to use inserts and transactions.
    for round in ["1", "2", "3"] {
        let mut pipeline = redis::pipe();
        for n in 0..200 {
            pipeline.cmd("HSET").arg(format!("c:x{round}{n}")).arg("n").arg(round).ignore();
            pipeline.cmd("HSET").arg(format!("c:X{round}{n}")).arg("n").arg(round).ignore();
        }
        pipeline.exec(&mut redis.connection()).expect("HSET");
        mapping.holds(redis, &documents);
    }
    assert_eq!(documents.count(), 1202);
}

#[test]
fn keys_that_differ_only_in_case_have_separate_documents() {
    let world = World::new();
    create(&world.database, "people");
    world.register("c:", "people", "KEY id");
    keys_have_separate_documents(&world, "people");
}

#[test]
fn a_unique_index_with_the_collation_of_the_collection_is_not_enough() {
    let world = World::new();
    create(&world.database, "people");
    let index = doc! { "key": { "id": 1 }, "name": "other", "unique": true };
    world.database.run(doc! { "createIndexes": "people", "indexes": [index] });
    world.register("c:", "people", "KEY id");
    world.redis.cmd(&["HSET", "c:Ann", "is", "c:Ann"]);
    world.redis.flush();
    let list = world.database.run(doc! { "listIndexes": "people" }).to_string();
    assert!(list.contains("writebehind_id"), "{list}");
    world.database.run(doc! { "dropIndexes": "people", "index": "other" });
    keys_have_separate_documents(&world, "people");
}

#[test]
fn string_ids_are_not_written_and_the_error_names_the_collation() {
    let world = World::new();
    create(&world.database, "people");
    world.register("c:", "people", "");
    world.register("other:", "others", "");
    world.redis.cmd(&["SET", "c:Ann", "x"]);
    world.redis.cmd(&["SET", "other:1", "x"]);
    assert_eq!(world.redis.flush_with(&["other:"]).persisted, 1);
    let flushed = world.redis.flush_with(&["c:", "TIMEOUT", "300"]);
    assert_eq!((flushed.failed, flushed.pending), (0, 1));
    let error = world.redis.status_of("c:").text("last_error");
    for part in
        ["{ locale: \"en\", strength: 2 }", "KEY <field>", &world.database.namespace("people")]
    {
        assert!(error.contains(part), "{error}");
    }
    assert_eq!(world.redis.status().text("link"), "up");
    assert_eq!(world.database.collection("people").count(), 0);

    // Without the collation writing continues without a command.
    world.database.run(doc! { "drop": "people" });
    assert_eq!(world.redis.flush().pending, 0);
    world.holds("people", "Ann", "x");
}

#[test]
fn ids_that_are_no_strings_are_written_under_any_collation() {
    let world = World::new();
    create(&world.database, "people");
    world.register("n:", "people", "KEY _id AS INT64");
    for key in ["n:1", "n:2"] {
        world.redis.cmd(&["SET", key, "x"]);
    }
    world.redis.cmd(&["DEL", "n:2"]);
    world.redis.flush();
    let people = world.database.collection("people");
    assert_eq!(people.all(), [doc! { "_id": 1_i64, "value": "x" }]);
}

#[test]
fn a_collection_that_is_recreated_with_a_collation_is_detected() {
    let world = World::new();
    world.register("c:", "people", "KEY id");
    world.redis.cmd(&["HSET", "c:Ann", "is", "c:Ann"]);
    world.redis.flush();
    world.database.run(doc! { "drop": "people" });
    create(&world.database, "people");
    keys_have_separate_documents(&world, "people");
}

#[test]
fn keys_have_separate_documents_although_the_user_may_not_list_indexes() {
    let guarded = Guarded::start();
    let database = guarded.mongod.named_database("narrow");
    create(&database, "plain");
    database.run(doc! { "drop": "plain" });
    create(&database, "people");
    let actions = ["find", "insert", "update", "remove", "createIndex"];
    let resource = doc! { "db": "narrow", "collection": "" };
    let privileges = [doc! { "resource": resource, "actions": actions.to_vec() }];
    guarded.mongod.admin(doc! {
        "createRole": "writer", "privileges": privileges.to_vec(), "roles": [],
    });
    let roles = [doc! { "role": "writer", "db": "admin" }];
    guarded.mongod.admin(doc! { "createUser": "ann", "pwd": "ann", "roles": roles.to_vec() });
    let redis = Redis::start("mongodb://127.0.0.1:1");
    let file = redis.dir().join("uri");
    std::fs::write(&file, guarded.uri("ann", "ann")).expect("URI file");
    let file = file.to_str().expect("path");
    redis.cmd(&["CONFIG", "SET", "writebehind.mongodb-uri-file", file]);
    redis.cmd(&["WB.REGISTER", "p:", &database.namespace("plain")]);
    redis.cmd(&["WB.REGISTER", "c:", &database.namespace("people"), "KEY", "id"]);
    for key in ["p:Ann", "p:ann", "c:Ann", "c:ann"] {
        redis.cmd(&["SET", key, key]);
    }
    redis.flush();
    redis.cmd(&["DEL", "c:ann"]);
    Mapping::by_id("p:").holds(&redis, &database.collection("plain"));
    Mapping::by_field("c:", "id").holds(&redis, &database.collection("people"));
}
