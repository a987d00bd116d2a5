//! The document of a key's value, with the key in `_id` and in another field.

use mongodb::bson::{Binary, Bson, DateTime, doc, spec::BinarySubtype};

use testkit::comparison::{Mapping, text};
use testkit::fixture::World;
use testkit::mongod::dollar_name;

/// A type of value: the commands that create and change a key of it.
struct Kind {
    name: &'static str,
    create: &'static [&'static str],
    change: &'static [&'static str],
}

const KINDS: [Kind; 3] = [
    Kind {
        name: "HASH",
        create: &["HSET", "film:7", "title", "It's \"here\"", "year", "1998"],
        change: &["HSET", "film:7", "year", "1999"],
    },
    Kind {
        name: "STRING",
        create: &["SET", "film:7", "first"],
        change: &["APPEND", "film:7", " and more"],
    },
    Kind {
        name: "JSON",
        create: &["JSON.SET", "film:7", "$", r#"{"title":"It's here","tags":["a","b"]}"#],
        change: &["JSON.ARRAPPEND", "film:7", "$.tags", "\"c\""],
    },
];

fn is_created_changed_and_deleted(options: &str, mapping: &Mapping) {
    for Kind { name, create, change } in KINDS {
        let world = World::json();
        let films = world.database.collection("films");
        world.register("film:", "films", &format!("TYPE {name} {options}"));
        for words in [create, change, create] {
            world.redis.cmd(words);
            mapping.holds(&world.redis, &films);
            assert_eq!(films.count(), 1, "{name} after {words:?}");
        }
        world.redis.cmd(&["DEL", "film:7"]);
        mapping.holds(&world.redis, &films);
        assert_eq!(films.count(), 0, "{name} after DEL");
        world.redis.cmd(create);
        mapping.holds(&world.redis, &films);
        assert_eq!(films.count(), 1, "{name} created again");
    }
}

#[test]
fn a_key_is_created_changed_deleted_and_created_again_in_id() {
    is_created_changed_and_deleted("", &Mapping::by_id("film:"));
}

#[test]
fn a_key_is_created_changed_deleted_and_created_again_in_a_field() {
    is_created_changed_and_deleted("KEY movieId", &Mapping::by_field("film:", "movieId"));
}

#[test]
fn a_hash_keeps_its_fields_as_strings() {
    let world = World::new();
    world.register("person:", "people", "");
    world.redis.cmd(&["HSET", "person:1", "name", "O'Brien", "said", "\"so\" — ok", "age", "42"]);
    let set = &dollar_name("set");
    world.redis.cmd(&["HSET", "person:2", "a.b", "dotted", set, "dollar", "", "empty name"]);
    Mapping::by_id("person:").holds(&world.redis, &world.database.collection("people"));
    assert_eq!(
        world.database.collection("people").document("1"),
        doc! { "_id": "1", "name": "O'Brien", "said": "\"so\" — ok", "age": "42" }
    );
}

#[test]
fn nested_json_keeps_types_and_order() {
    let world = World::json();
    world.register("film:", "films", "TYPE JSON");
    let json = r#"{"title":"Schindler's \"List\"","year":1993,"rating":9.0,"votes":1e3,"none":null,
        "seen":true,"big":9007199254740993,"less":-0.5,
        "cast":[{"name":"Liam","roles":[["Oskar","O'"],[]]},"\\u0027",{}],
        "a":{"b":{"c":[1,2.5,[3]]}},"dotted.name":1,"$dollar":{"$set":2}}"#;
    let json = &json.replace('$', &dollar_name(""));
    world.redis.cmd(&["JSON.SET", "film:1", "$", json]);
    let films = world.database.collection("films");
    Mapping::by_id("film:").holds(&world.redis, &films);

    let film = films.document("1");
    assert_eq!(film.get("year"), Some(&Bson::Int64(1993)));
    assert_eq!(film.get("rating"), Some(&Bson::Double(9.0)));
    assert_eq!(film.get("big"), Some(&Bson::Int64(9_007_199_254_740_993)));
    let names: Vec<&str> = film.keys().map(String::as_str).collect();
    assert_eq!(names[..5], ["_id", "title", "year", "rating", "votes"]);
    assert_eq!(names[10..], ["a", "dotted.name", &dollar_name("dollar")]);
}

#[test]
fn a_json_value_that_is_no_object_is_stored_in_the_field_value() {
    let world = World::json();
    world.register("j:", "values", "");
    for (key, json) in [("j:1", "[1,\"two\",null]"), ("j:2", "\"text\""), ("j:3", "1.0")] {
        world.redis.cmd(&["JSON.SET", key, "$", json]);
    }
    Mapping::by_id("j:").holds(&world.redis, &world.database.collection("values"));
    let third = world.database.collection("values").document("3");
    assert_eq!(third, doc! { "_id": "3", "value": 1.0 });
}

#[test]
fn bytes_that_are_not_utf_8_become_binary() {
    let world = World::new();
    world.register("b:", "bytes", "");
    let bytes: Vec<u8> = (0..=255).collect();
    world.redis.cmd(&[b"SET".as_slice(), b"b:string", &bytes]);
    world.redis.cmd(&[b"HSET".as_slice(), b"b:hash", b"raw", &bytes, b"nul", b"a\0b"]);
    let collection = world.database.collection("bytes");
    Mapping::by_id("b:").holds(&world.redis, &collection);
    let expected = Bson::Binary(Binary { subtype: BinarySubtype::Generic, bytes });
    assert_eq!(collection.document("string").get("value"), Some(&expected));
    assert_eq!(collection.document("hash").get("nul"), Some(&Bson::String("a\0b".into())));
}

#[test]
fn a_field_removed_in_redis_is_removed_with_replace() {
    let world = World::new();
    world.register("p:", "people", "WRITE REPLACE");
    let people = world.database.collection("people");
    world.redis.cmd(&["HSET", "p:1", "name", "Ann", "age", "42"]);
    world.redis.flush();
    people.update(doc! { "_id": "1" }, doc! { "$set": { "foreign": 1 } });
    world.redis.cmd(&["HDEL", "p:1", "age"]);
    world.redis.flush();
    assert_eq!(people.document("1"), doc! { "_id": "1", "name": "Ann" });
}

#[test]
fn a_field_of_another_application_is_kept_with_merge() {
    for (options, key_field) in [("", "_id"), ("KEY id", "id")] {
        let world = World::new();
        world.register("p:", "people", &format!("WRITE MERGE {options}"));
        let people = world.database.collection("people");
        let joined = DateTime::from_millis(1_700_000_000_000);
        people.insert(doc! { key_field: "1", "joined": joined, "name": "old" });
        world.redis.cmd(&["HSET", "p:1", "name", "Ann", "a.b", "dotted"]);
        world.redis.cmd(&["HSET", "p:2", "name", "new"]);
        world.redis.flush();
        let mut first = people.find(doc! { key_field: "1" }).expect("document");
        if key_field != "_id" {
            first.remove("_id");
        }
        assert_eq!(
            first,
            doc! { key_field: "1", "joined": joined, "name": "Ann", "a.b": "dotted" }
        );
        assert_eq!(people.count(), 2);
    }
}

#[test]
fn keys_of_other_types_than_registered_are_not_written() {
    let world = World::json();
    world.register("t:", "hashes", "TYPE HASH");
    world.redis.cmd(&["HSET", "t:1", "a", "b"]);
    world.redis.cmd(&["SET", "t:index:hash", "bookkeeping"]);
    world.redis.cmd(&["JSON.SET", "t:3", "$", "{}"]);
    world.redis.flush();
    let hashes = world.database.collection("hashes");
    assert_eq!(hashes.all(), [doc! { "_id": "1", "a": "b" }]);

    // A key whose type stops matching counts as deleted.
    world.redis.cmd(&["SET", "t:1", "now a string"]);
    world.redis.flush();
    assert_eq!(hashes.count(), 0);
}

#[test]
fn type_any_accepts_hashes_strings_and_json() {
    let world = World::json();
    world.register("x:", "mixed", "");
    world.redis.cmd(&["HSET", "x:1", "a", "b"]);
    world.redis.cmd(&["SET", "x:2", "text"]);
    world.redis.cmd(&["JSON.SET", "x:3", "$", r#"{"a":{"b":[1]}}"#]);
    let mixed = world.database.collection("mixed");
    Mapping::by_id("x:").holds(&world.redis, &mixed);
    assert_eq!(mixed.count(), 3);

    world.redis.cmd(&["SET", "x:1", "no hash any more"]);
    world.redis.flush();
    assert_eq!(mixed.document("1").get("value"), Some(&text(b"no hash any more")));
}
