//! `write-form`: MongoDB stores and replicates the difference of a replaced document where that pays,
//! and the document is the same.

use mongodb::bson::{Document, doc};

use testkit::fixture::World;
use testkit::mongod::{Mongod, MongodSetup, dollar_name, major_version};
use testkit::redis_server::{Redis, Setup};
use testkit::wait::{SOON, wait_until};

/// The form of the last update of a collection in the oplog.
#[derive(Debug, PartialEq)]
enum Logged {
    Difference,
    WholeDocument,
}

/// Reads the last entry of the oplog about `namespace`.
#[track_caller]
fn last_update(mongod: &Mongod, namespace: &str) -> Logged {
    let of = doc! { "$or": [{ "ns": namespace }, { "o.applyOps.ns": namespace }] };
    let find = doc! {
        "find": "oplog.rs", "filter": of, "sort": { "$natural": -1 }, "limit": 1, "singleBatch": true,
    };
    let reply = mongod.named_database("local").run(find);
    let entries = reply.get_document("cursor").and_then(|cursor| cursor.get_array("firstBatch"));
    let entry = entries.expect("entries")[0].as_document().expect("an entry");
    let operation = match entry.get_document("o").and_then(|o| o.get_array("applyOps")) {
        Ok(operations) => {
            operations.last().and_then(|last| last.as_document()).expect("operations")
        }
        Err(_) => entry,
    };
    assert!(operation.get_str("op").is_ok_and(|op| op == "u"), "{entry}");
    match operation.get_document("o").expect("o").contains_key("diff") {
        true => Logged::Difference,
        false => Logged::WholeDocument,
    }
}

/// The form of what pays on this MongoDB: 4.4 gains nothing from a difference.
fn where_it_pays() -> Logged {
    if major_version() < 5 { Logged::WholeDocument } else { Logged::Difference }
}

fn fields(count: usize, len: usize) -> Vec<String> {
    (0..count).flat_map(|field| [format!("f{field}"), "x".repeat(len)]).collect()
}

fn hset(redis: &Redis, key: &str, fields: &[String]) {
    let words = ["HSET".to_owned(), key.to_owned()].into_iter().chain(fields.iter().cloned());
    redis.cmd(&words.collect::<Vec<_>>());
}

/// Changes one field of the hashes `k:0` to `k:<keys - 1>`.
fn change(redis: &Redis, keys: usize, value: &str) {
    (0..keys).for_each(|key| drop(redis.cmd(&["HSET", &format!("k:{key}"), "f0", value])));
    assert_eq!(redis.flush().pending, 0);
}

/// The form of a change of one field of `keys` hashes in the oplog.
fn logged(world: &World, keys: usize, hash: &[String]) -> Logged {
    // Nothing is sent before the flush, so that all keys are in one batch.
    world.register("k:", "keys", "INTERVAL 600000");
    (0..keys).for_each(|key| hset(&world.redis, &format!("k:{key}"), hash));
    world.redis.flush();
    // Earlier batches tell how many documents are new.
    for round in 0..6 {
        change(&world.redis, keys, &format!("round {round}"));
    }
    assert_eq!(world.database.collection("keys").text("0", "f0"), "round 5");
    last_update(Mongod::shared(), &world.database.namespace("keys"))
}

#[test]
fn a_changed_field_of_a_large_hash_is_replicated_alone() {
    assert_eq!(logged(&World::new(), 1, &fields(20, 40)), where_it_pays());
}

#[test]
fn in_a_transaction_that_pays_for_smaller_hashes_too() {
    assert_eq!(logged(&World::new(), 40, &fields(10, 20)), where_it_pays());
}

#[test]
fn where_it_does_not_pay_the_document_is_replaced() {
    let small = logged(&World::new(), 1, &fields(10, 20));
    assert_eq!(small, Logged::WholeDocument, "a small hash");
    let single = logged(&World::new(), 1, &fields(1, 2_000));
    assert_eq!(single, Logged::WholeDocument, "a single field");
    let world = World::new();
    world.register("k:", "strings", "");
    for value in ["x", "y"] {
        world.redis.cmd(&["SET", "k:1", &value.repeat(2_000)]);
        world.redis.flush();
    }
    let logged = last_update(Mongod::shared(), &world.database.namespace("strings"));
    assert_eq!(logged, Logged::WholeDocument, "a string");
}

#[test]
fn with_write_form_document_every_document_is_replaced() {
    let world = World::with(|setup| setup.setting("write-form", "document"));
    assert_eq!(logged(&world, 40, &fields(20, 40)), Logged::WholeDocument);
    world.redis.cmd(&["CONFIG", "SET", "writebehind.write-form", "difference"]);
    change(&world.redis, 40, "third");
    let namespace = world.database.namespace("keys");
    assert_eq!(last_update(Mongod::shared(), &namespace), where_it_pays());
    let error = world.redis.error(&["CONFIG", "SET", "writebehind.write-form", "replace"]);
    assert!(error.contains("difference, document"), "{error}");
}

#[test]
fn a_wrong_form_in_the_loadmodule_line_stops_the_load() {
    let setup = Setup::new("mongodb://127.0.0.1:1").setting("write-form", "whole");
    let Err(log) = setup.try_start() else { panic!("it starts") };
    assert!(log.contains("write-form takes difference or document"), "{log}");
}

/// Values whose document is the same in both forms, and different from the one before.
fn write(world: &World, round: &str) {
    let pad = "x".repeat(600);
    let json = |path: &str, text: String| world.redis.cmd(&["JSON.SET", path, "$", &text]);
    let [set, concat, literal] = ["set", "concat", "literal"].map(dollar_name);
    let names = [set.as_str(), "a.b", "", literal.as_str(), "_id", "é", "zz"];
    let hash: Vec<String> =
        names.iter().flat_map(|name| [(*name).to_owned(), format!("{round}{pad}")]).collect();
    hset(&world.redis, "k:names", &hash);
    if round == "second" {
        world.redis.cmd(&["HDEL", "k:names", "zz", ""]);
        world.redis.cmd(&["HSET", "k:names", "a", "last"]);
    }
    let order = if round == "first" { "\"b\": 1, \"a\": 2" } else { "\"a\": 2, \"b\": 1" };
    json("j:order", format!("{{{order}, \"pad\": \"{pad}\"}}"));
    let deep = format!("{}{round:?}{}", "{\"d\":".repeat(100), "}".repeat(100));
    json("j:deep", format!("{{\"pad\": \"{pad}\", \"deep\": {deep}}}"));
    let removed = "{\"x\": \"$$REMOVE\"}";
    let expression = format!("{{\"{concat}\": [\"$pad\", \"$$ROOT\"], \"{set}\": {removed}}}");
    json(
        "j:expression",
        format!("{{\"pad\": \"{pad}\", \"e\": {expression}, \"r\": \"{round}\"}}"),
    );
    let items = (0..300).map(|item| format!("{{\"n\": {item}, \"r\": \"{round}\"}}"));
    json("j:array", format!("{{\"items\": [{}]}}", items.collect::<Vec<_>>().join(",")));
    json(
        "j:types",
        format!(
            "{{\"pad\": \"{pad}\", \"v\": [1, 1.0, null, true, {{}}, [], 9223372036854775807], \"r\": \"{round}\"}}"
        ),
    );
    json("j:large", format!("{{\"a\": \"{}\", \"r\": \"{round}\"}}", "y".repeat(16_000_000)));
    world.redis.cmd(&["EXPIREAT", "j:order", "4000000000"]);
    for item in [round, "x", "y"] {
        world.redis.cmd(&["RPUSH", "l:list", &item.repeat(400)]);
    }
}

fn documents(world: &World, collections: [&str; 3]) -> Vec<Document> {
    let mut all: Vec<Document> = Vec::new();
    for collection in collections {
        let mut documents = world.database.collection(collection).all();
        for document in &mut documents {
            // Where KEY is another field, MongoDB generates the `_id`.
            if document.contains_key("key") {
                document.remove("_id");
            }
        }
        documents.sort_by_key(ToString::to_string);
        all.extend(documents);
    }
    all
}

#[test]
fn both_forms_leave_the_same_documents() {
    let [with_difference, without] = ["difference", "document"].map(|form| {
        let world = World::with(|setup| setup.json().setting("write-form", form));
        world.register("k:", "hashes", "");
        world.register("j:", "json", "KEY key TTLFIELD until");
        world.register("l:", "lists", "");
        for round in ["first", "second"] {
            write(&world, round);
            let flushed = world.redis.flush();
            assert_eq!((flushed.pending, flushed.failed), (0, 0), "{form}");
        }
        documents(&world, ["hashes", "json", "lists"])
    });
    assert_eq!(with_difference.len(), 8);
    assert_eq!(with_difference, without);
}

#[test]
fn a_server_that_refuses_pipelines_gets_documents() {
    if major_version() < 5 {
        return; // It is not asked.
    }
    let mongod = MongodSetup::replica_set().failpoints().start();
    let redis = Redis::start(&mongod.uri());
    let database = mongod.named_database("forms");
    redis.cmd(&["WB.REGISTER", "k:", &database.namespace("keys")]);
    // Updates of the lease must not fail.
    wait_until("the lease", SOON, || redis.status().text("lease") == "held");
    mongod.fail_next(1, &["update"], doc! { "errorCode": 9 });
    hset(&redis, "k:0", &fields(20, 40));
    assert_eq!(redis.flush().pending, 0);
    assert_eq!(mongod.stop_failing(), 1, "the form was not asked for");
    change(&redis, 1, "second");
    assert_eq!(database.collection("keys").text("0", "f0"), "second");
    assert_eq!(last_update(&mongod, &database.namespace("keys")), Logged::WholeDocument);
    // A new link asks again.
    let again = format!("{}&appName=writebehind", mongod.uri());
    redis.cmd(&["CONFIG", "SET", "writebehind.mongodb-uri", &again]);
    wait_until("the new link", SOON, || {
        change(&redis, 1, "third");
        change(&redis, 1, "fourth");
        last_update(&mongod, &database.namespace("keys")) == Logged::Difference
    });
}
