//! UNWRAP: a string that contains a JSON object is written as that object's fields.

use mongodb::bson::{DateTime, doc};

use testkit::fixture::World;
use testkit::mongod::dollar_name;

#[test]
fn a_string_that_holds_an_object_becomes_its_fields() {
    let world = World::new();
    world.register("k:", "keys", "TYPE STRING UNWRAP");
    world.register("plain:", "plain", "TYPE STRING");
    let name = dollar_name("d");
    let json = r#" {"name":"Ann","age":41,"score":1.0,"tags":["a",{"b":null}],"_id":"x","$d":1} "#;
    let json = &json.replace("$d", &name);
    world.redis.cmd(&["MSET", "k:1", json, "plain:1", json]);
    assert_eq!(world.redis.flush().failed, 0);
    let expected = doc! {
        "_id": "1",
        "name": "Ann",
        "age": 41_i64,
        "score": 1.0,
        "tags": ["a", { "b": null }],
        &name: 1_i64,
    };
    let keys = world.database.collection("keys");
    assert_eq!(keys.document("1"), expected);
    let plain = doc! { "_id": "1", "value": json };
    assert_eq!(world.database.collection("plain").document("1"), plain);
    // Longer than the strings that one MGET reads.
    let long = format!(r#"{{"text":"{}"}}"#, "x".repeat(100_000));
    world.redis.cmd(&["SET", "k:1", &long]);
    world.redis.flush();
    assert_eq!(keys.document("1"), doc! { "_id": "1", "text": "x".repeat(100_000) });
}

#[test]
fn a_string_that_is_no_object_is_stored_in_the_field_value() {
    let world = World::new();
    world.register("k:", "keys", "UNWRAP");
    let others = ["", "text", "7", "[1]", "null", "{", r#"{"a":1} x"#, r#"{"a":NaN}"#, "{'a':1}"];
    let keys = world.database.collection("keys");
    for (n, text) in others.iter().enumerate() {
        world.redis.cmd(&["SET", &format!("k:{n}"), text]);
    }
    world.redis.cmd(&["HSET", "k:hash", "field", r#"{"a":1}"#]);
    assert_eq!(world.redis.flush().failed, 0);
    for (n, text) in others.iter().enumerate() {
        let id = n.to_string();
        assert_eq!(keys.document(id.clone()), doc! { "_id": id, "value": *text }, "{text}");
    }
    assert_eq!(keys.document("hash"), doc! { "_id": "hash", "field": r#"{"a":1}"# });
    // A change between the two forms leaves no fields of the earlier form.
    world.redis.cmd(&["SET", "k:0", r#"{"a":1}"#]);
    world.redis.flush();
    assert_eq!(keys.document("0"), doc! { "_id": "0", "a": 1_i64 });
    world.redis.cmd(&["APPEND", "k:0", "x"]);
    world.redis.flush();
    assert_eq!(keys.document("0"), doc! { "_id": "0", "value": r#"{"a":1}x"# });
}

#[test]
fn an_object_that_mongodb_cannot_hold_is_a_dead_letter() {
    let world = World::new();
    world.register("k:", "keys", "UNWRAP");
    let deep = format!(r#"{{"a":{}1{}}}"#, "[".repeat(100_000), "]".repeat(100_000));
    let objects = [r#"{"a":1e999}"#, r#"{"a\u0000":1}"#, r#"{"a":"\ud800"}"#, &deep];
    for (n, json) in objects.iter().enumerate() {
        world.redis.cmd(&["SET", &format!("k:{n}"), json]);
    }
    assert_eq!(world.redis.flush().failed, objects.len() as i64);
    assert_eq!(world.database.collection("keys").count(), 0);
}

#[test]
fn schema_and_merge_work_as_with_json() {
    let world = World::new();
    let schema = "SCHEMA at DATE address.zip INT64 AS code value INT64";
    world.register("k:", "keys", &format!("TYPE STRING UNWRAP WRITE MERGE {schema}"));
    let keys = world.database.collection("keys");
    keys.insert(doc! { "_id": "1", "foreign": 1 });
    world.redis.cmd(&["SET", "k:1", r#"{"at":1659038730.5,"address":{"zip":"8010"}}"#]);
    world.redis.cmd(&["SET", "k:2", "41"]);
    assert_eq!(world.redis.flush().failed, 0);
    let expected = doc! {
        "_id": "1",
        "foreign": 1,
        "at": DateTime::from_millis(1_659_038_730_500),
        "address": { "code": 8010_i64 },
    };
    assert_eq!(keys.document("1"), expected);
    assert_eq!(keys.document("2"), doc! { "_id": "2", "value": 41_i64 });
    world.redis.cmd(&["SET", "k:3", r#"{"at":"yesterday"}"#]);
    assert_eq!(world.redis.flush().failed, 1);
}
