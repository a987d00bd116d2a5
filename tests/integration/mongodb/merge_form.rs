//! WRITE MERGE by `$set` or by a pipeline: the form that pays is sent, and the documents are the same.

use std::fmt::Write;

use mongodb::bson::{Bson, Document, doc};

use testkit::fixture::World;
use testkit::mongod::collection::Collection;
use testkit::mongod::{dollar_name, major_version};

/// Documents from which the module learns that few of a collection's documents are new. They are the
/// least for a batch to count.
const KNOWN: usize = 10;

fn set(world: &World, prefix: &str, pairs: &[(&str, &str)]) {
    let pairs = pairs.iter().flat_map(|(name, value)| [*name, *value]);
    world.redis.cmd(&["HSET", prefix].into_iter().chain(pairs).collect::<Vec<_>>());
}

#[track_caller]
fn flush(world: &World) {
    let flushed = world.redis.flush();
    assert_eq!((flushed.failed, flushed.pending), (0, 0), "{flushed:?}");
}

/// Writes documents until few of the collection's are new; removes them from Redis only.
#[track_caller]
fn make_known(world: &World, prefix: &str) {
    let keys: Vec<String> = (0..KNOWN).map(|key| format!("{prefix}100{key}")).collect();
    for round in 0..6 {
        for key in &keys {
            set(world, key, &[("round", &round.to_string())]);
        }
        flush(world);
    }
}

/// The update of the last operation on `collection` that MongoDB's profiler has recorded.
#[track_caller]
fn last_update(world: &World, collection: &str) -> Bson {
    let find = doc! {
        "find": "system.profile",
        "filter": { "ns": world.database.namespace(collection), "op": "update" },
        "sort": { "$natural": -1 }, "limit": 1, "singleBatch": true,
    };
    let reply = world.database.run(find);
    let entries = reply.get_document("cursor").and_then(|cursor| cursor.get_array("firstBatch"));
    let entry = entries.expect("entries").first().and_then(Bson::as_document).expect("an entry");
    entry.get_document("command").expect("command").get("u").expect("u").clone()
}

fn profile(world: &World) {
    world.database.run(doc! { "profile": 2 });
}

#[track_caller]
fn assert_form(world: &World, collection: &str, is_set: bool) {
    let update = last_update(world, collection);
    let found = update.as_document().is_some_and(|update| update.contains_key("$set"));
    assert!(found || update.as_array().is_some(), "{update}");
    assert_eq!(found, is_set, "{update}");
}

#[test]
fn hashes_are_merged_by_set_where_few_documents_are_new() {
    let world = World::new();
    profile(&world);
    world.register("k:", "keys", "INTERVAL 600000 WRITE MERGE");
    set(&world, "k:1", &[("a", "1")]);
    flush(&world);
    assert_form(&world, "keys", false);
    make_known(&world, "k:");
    assert_form(&world, "keys", true);
    set(&world, "k:1", &[("a", "2")]);
    flush(&world);
    assert_form(&world, "keys", true);
    set(&world, "k:1", &[("a.b", "2")]);
    flush(&world);
    assert_form(&world, "keys", false);
    (0..40).for_each(|field| set(&world, "k:2", &[(&format!("f{field}"), "1")]));
    flush(&world);
    assert_form(&world, "keys", false);
    world.redis.cmd(&["SET", "k:3", "text"]);
    flush(&world);
    assert_form(&world, "keys", true);
    world.redis.cmd(&["RPUSH", "k:4", "item"]);
    flush(&world);
    assert_form(&world, "keys", false);
}

#[test]
fn numbers_as_id_and_fields_that_hold_json_are_merged_by_a_pipeline() {
    let world = World::new();
    profile(&world);
    for (options, is_set) in [
        ("KEY _id AS INT64", false),
        ("KEY nr AS INT64", true),
        ("SCHEMA a JSON", false),
        ("SCHEMA a INT64", true),
        ("TTLFIELD until", true),
    ] {
        let collection = options.replace(' ', "_");
        let prefix = format!("{collection}:");
        world.register(&prefix, &collection, &format!("INTERVAL 600000 WRITE MERGE {options}"));
        make_known(&world, &prefix);
        assert_form(&world, &collection, is_set);
    }
}

/// Two prefixes of the same registration: `known:`, where `$set` pays, and `new:`, where the module
/// does not know that documents exist.
const PREFIXES: [&str; 2] = ["known:", "new:"];

/// The documents without those of [`make_known`], in text that contains the order of the fields, without
/// generated ids.
fn documents(collection: &Collection, key_field: &str) -> Vec<String> {
    let mut texts = Vec::new();
    for mut document in collection.all() {
        if document.contains_key("round") {
            continue;
        }
        if key_field != "_id" {
            let id = document.remove("_id");
            assert!(matches!(id, Some(Bson::ObjectId(_) | Bson::Int32(_))), "{id:?}");
        }
        texts.push(document.to_string());
    }
    texts.sort();
    texts
}

/// Documents of another application, for keys 1 to 5.
fn foreign(collection: &Collection, key_field: &str, as_number: bool) {
    let key = |number: i32| match as_number {
        // A type of number that is not the one of the module.
        true => Bson::Double(f64::from(number)),
        false => Bson::String(number.to_string()),
    };
    let rest = [
        doc! { "foreign": { "deep": 1 }, "b": "old", "until": 1, "a": "old" },
        doc! { "a": { "x": 1, "y": 2 }, "a.b": "dotted", "z": [1, 2] },
        doc! { "a": 1_i32, "b": 2.5, "n": 7_i32 },
        doc! {},
        doc! { "value": { "x": 1 }, "foreign": "stays" },
    ];
    for (number, rest) in (1..).zip(rest) {
        let mut document = doc! {};
        if key_field != "_id" {
            document.insert("_id", number);
        }
        document.insert(key_field, key(number));
        document.extend(rest);
        collection.insert(document);
    }
}

/// The changes of one round, each in a batch of its own, which is too small to count.
fn change(world: &World, prefix: &str, round: &str) {
    let hash = |key: &str, pairs: &[(&str, &str)]| {
        set(world, &format!("{prefix}{key}"), pairs);
        flush(world);
    };
    let command = |words: &str, key: &str, rest: &[&str]| {
        let key = format!("{prefix}{key}");
        world.redis.cmd(&[&[words, key.as_str()], rest].concat());
        flush(world);
    };
    hash("1", &[("b", round), ("a", round)]);
    hash("2", &[("a", round), ("z", "")]);
    hash("3", &[("a", "1"), ("b", "2.5"), ("n", "7")]);
    hash("4", &[("_id", "of the value"), ("until", "of the value")]);
    command("SET", "5", &[round]);
    // New documents; the module creates their fields in the order of the names.
    hash("11", &[("a", round), ("b", "x"), ("c", "é\0")]);
    let [dollar, set] = ["a", "set"].map(dollar_name);
    hash("12", &[("a.b", round), (&dollar, "$b"), (&set, "$$ROOT"), ("", round), ("c", "x")]);
    hash("13", &[("a.", round)]);
    hash("14", &[("", round)]);
    hash("15", &[(&dollar, round)]);
    hash("16", &[("[0]", round), ("a$", "$a"), ("b c", "{}"), ("é", "")]);
    hash("17", &[("0", round), ("1", "a"), ("22", "b")]);
    let many: Vec<String> = (0..60).map(|field| format!("f{field}")).collect();
    hash("18", &many.iter().map(|name| (name.as_str(), round)).collect::<Vec<_>>());
    hash("19", &[("_id", "x")]);
    command("SET", "20", &["\u{1}"]);
    command("RPUSH", "21", &[round]);
    let nested =
        format!("{{\"z\": {{\"x\": \"{round}\"}}, \"a\": {{}}, \"m.n\": [{{\"$b\": 1}}]}}");
    if major_version() >= 5 {
        command("JSON.SET", "22", &["$", &nested]);
    }
    command("JSON.SET", "23", &["$", "{}"]);
    command("JSON.SET", "24", &["$", &format!("{{\"z\": 1, \"{round}\": 2, \"a\": {{}}}}")]);
    for key in ["1", "5", "11", "12", "18", "20", "23"] {
        command("PEXPIREAT", key, &["4000000000123"]);
    }
    if round == "second" {
        command("HDEL", "11", &["a"]);
        ["1", "11", "12", "20"].iter().for_each(|key| command("PERSIST", key, &[]));
        command("DEL", "13", &[]);
    }
}

#[track_caller]
fn compare(options: &str, key_field: &str, as_number: bool) {
    let world = World::json();
    profile(&world);
    for prefix in PREFIXES {
        let collection = prefix.trim_end_matches(':');
        world.register(prefix, collection, &format!("INTERVAL 600000 WRITE MERGE {options}"));
        foreign(&world.database.collection(collection), key_field, as_number);
    }
    make_known(&world, "known:");
    for round in ["first", "second"] {
        let [known, new] = PREFIXES.map(|prefix| {
            change(&world, prefix, round);
            let collection = world.database.collection(prefix.trim_end_matches(':'));
            documents(&collection, key_field)
        });
        assert!(known.len() > 15, "{known:?}");
        let mut different = String::new();
        for (known, new) in known.iter().zip(&new).filter(|(known, new)| known != new) {
            writeln!(different, "by $set:     {known}\nby pipeline: {new}").expect("a string");
        }
        assert!(
            different.is_empty() && known.len() == new.len(),
            "{options}, {round}\n{different}"
        );
    }
    let by_set = |collection: &str| {
        let update = doc! {
            "count": "system.profile",
            "query": {
                "ns": world.database.namespace(collection), "command.u.$set": { "$exists": true },
            },
        };
        world.database.run(update).get_i32("n").expect("n")
    };
    assert_eq!(by_set("new"), 0);
    assert_eq!(by_set("known") > 20, !(as_number && key_field == "_id"));
}

#[test]
fn both_forms_leave_the_same_documents() {
    compare("", "_id", false);
    compare("TTLFIELD until", "_id", false);
}

#[test]
fn both_forms_leave_the_same_documents_by_a_key_field() {
    compare("KEY id", "id", false);
    compare("KEY id TTLFIELD until", "id", false);
}

#[test]
fn both_forms_leave_the_same_documents_by_a_number() {
    compare("KEY _id AS INT64 TTLFIELD until", "_id", true);
    compare("KEY nr AS INT64 TTLFIELD until", "nr", true);
}

#[test]
fn both_forms_leave_the_same_documents_with_types_and_names() {
    compare("SCHEMA a AUTO AS aa b STRING * AUTO", "_id", false);
    compare("KEY id ONERROR SKIP SCHEMA a INT64 n SKIP * DATE", "id", false);
}

#[test]
fn fields_of_json_keep_their_order_in_new_documents_and_those_of_hashes_may_be_sorted() {
    let world = World::json();
    world.register("k:", "keys", "INTERVAL 600000 WRITE MERGE");
    make_known(&world, "k:");
    set(&world, "k:1", &[("b", "1"), ("a", "2")]);
    world.redis.cmd(&["JSON.SET", "k:2", "$", r#"{"b":1,"a":2}"#]);
    flush(&world);
    let names = |id: &str| -> Vec<String> {
        world.database.collection("keys").document(id).keys().cloned().collect()
    };
    assert_eq!(names("1"), ["_id", "a", "b"]);
    assert_eq!(names("2"), ["_id", "b", "a"]);
}

#[test]
fn refused_documents_are_the_same_dead_letters() {
    let world = World::new();
    let [known, new] = PREFIXES.map(|prefix| {
        let collection = prefix.trim_end_matches(':');
        world.register(prefix, collection, "INTERVAL 600000 WRITE MERGE");
        let unique =
            doc! { "key": { "email": 1 }, "name": "email", "unique": true, "sparse": true };
        world.database.run(doc! { "createIndexes": collection, "indexes": [unique] });
        if prefix == "known:" {
            make_known(&world, prefix);
        }
        let validator = doc! { "age": { "$not": { "$type": "string" } } };
        world.database.run(doc! { "collMod": collection, "validator": validator });
        world.database.collection(collection).insert(doc! { "_id": "3", "email": "x" });
        set(&world, &format!("{prefix}1"), &[("age", "7")]);
        set(&world, &format!("{prefix}2"), &[("email", "x")]);
        set(&world, &format!("{prefix}4"), &[("email", "y")]);
        let flushed = world.redis.flush_with(&[prefix]);
        assert_eq!((flushed.failed, flushed.pending), (2, 0), "{flushed:?}");
        let letters: String = format!("{:?}", world.redis.cmd(&["WB.DEADLETTER", "LIST", prefix]));
        let codes = [121, 11_000].map(|code| letters.contains(&format!("{code}")));
        (codes, world.database.collection(collection).text("4", "email"))
    });
    assert_eq!(known, ([true, true], "y".to_owned()));
    assert_eq!(known, new);
}

/// The documents that a batch in a transaction creates and changes are counted as usual.
#[test]
fn a_batch_of_known_and_new_documents_is_written_in_one_transaction() {
    let world = World::new();
    world.register("k:", "keys", "INTERVAL 600000 WRITE MERGE KEY id");
    for round in 0..6 {
        (0..100).for_each(|key| set(&world, &format!("k:{key}"), &[("r", &format!("{round}"))]));
        flush(&world);
    }
    (95..110).for_each(|key| set(&world, &format!("k:{key}"), &[("r", "last")]));
    (0..50).for_each(|key| set(&world, &format!("k:{key}"), &[("s", "last")]));
    flush(&world);
    let collection = world.database.collection("keys");
    assert_eq!(collection.count(), 110);
    assert_eq!(collection.count_of(doc! { "r": "last" }), 15);
    assert_eq!(collection.count_of(doc! { "r": "5", "s": "last" }), 50);
    let update: Document = doc! { "r": "last", "s": "last" };
    assert_eq!(collection.count_of(update), 0);
}
