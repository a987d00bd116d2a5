//! ONERROR: fields that SCHEMA cannot convert.

use mongodb::bson::{Bson, doc};

use testkit::fixture::World;

const SCHEMA: &str = "SCHEMA age INT64 born DATE data JSON";

#[test]
fn a_hash_field_stays_a_string_or_is_left_out() {
    let world = World::new();
    world.register("d:", "deadletter", SCHEMA);
    world.register("t:", "string", &format!("ONERROR STRING {SCHEMA}"));
    world.register("s:", "skip", &format!("ONERROR SKIP {SCHEMA}"));
    for prefix in ["d:", "t:", "s:"] {
        let key = format!("{prefix}1");
        let fields = ["HSET", &key, "name", "Ann", "age", "old", "born", "0", "data", "{"];
        world.redis.cmd(&fields);
    }
    assert_eq!(world.redis.flush().failed, 1);
    let born = Bson::DateTime(mongodb::bson::DateTime::from_millis(0));
    let text = doc! { "_id": "1", "name": "Ann", "age": "old", "born": born.clone(), "data": "{" };
    assert_eq!(world.database.collection("string").document("1"), text);
    let skipped = doc! { "_id": "1", "name": "Ann", "born": born };
    assert_eq!(world.database.collection("skip").document("1"), skipped);
    assert_eq!(world.database.collection("deadletter").count(), 0);
}

#[test]
fn a_field_that_is_left_out_is_removed_by_replace_and_stays_with_merge() {
    let world = World::new();
    world.register("r:", "replace", "ONERROR SKIP SCHEMA age INT64");
    world.register("m:", "merge", "WRITE MERGE ONERROR SKIP SCHEMA age INT64");
    let write = |age: &str| {
        world.redis.cmd(&["HSET", "r:1", "age", age]);
        world.redis.cmd(&["HSET", "m:1", "age", age]);
        assert_eq!(world.redis.flush().failed, 0);
    };
    write("41");
    write("old");
    assert_eq!(world.database.collection("replace").document("1"), doc! { "_id": "1" });
    let kept = doc! { "_id": "1", "age": 41_i64 };
    assert_eq!(world.database.collection("merge").document("1"), kept);
}

#[test]
fn onerror_applies_to_json_strings_lists_and_streams() {
    let world = World::json();
    let schema = "SCHEMA a INT64 list INT64 inner.x BOOL value INT64";
    world.register("t:", "string", &format!("ONERROR STRING {schema}"));
    world.register("s:", "skip", &format!("ONERROR SKIP {schema}"));
    let json = r#"{"a":{"z":1,"b":[1.5,"x",{}]},"list":[1,"x",2],"inner":{"x":7,"y":1},"ok":true}"#;
    for prefix in ["t:", "s:"] {
        world.redis.cmd(&["JSON.SET", &format!("{prefix}json"), "$", json]);
        world.redis.cmd(&["SET", &format!("{prefix}text"), "x"]);
        world.redis.cmd(&["RPUSH", &format!("{prefix}list"), "1", "x", "2"]);
        world.redis.cmd(&["SADD", &format!("{prefix}set"), "1", "x"]);
        world.redis.cmd(&["XADD", &format!("{prefix}stream"), "1-1", "a", "x", "b", "y"]);
    }
    assert_eq!(world.redis.flush().failed, 0);
    let text = world.database.collection("string");
    let expected = doc! {
        "_id": "json",
        "a": r#"{"z":1,"b":[1.5,"x",{}]}"#,
        "list": [1_i64, "x", 2_i64],
        "inner": { "x": "7", "y": 1_i64 },
        "ok": true,
    };
    assert_eq!(text.document("json"), expected);
    assert_eq!(text.document("text"), doc! { "_id": "text", "value": "x" });
    assert_eq!(text.document("list"), doc! { "_id": "list", "value": [1_i64, "x", 2_i64] });
    assert_eq!(text.document("set"), doc! { "_id": "set", "value": [1_i64, "x"] });
    let entry = doc! { "id": "1-1", "fields": { "a": "x", "b": "y" } };
    assert_eq!(text.document("stream"), doc! { "_id": "stream", "value": [entry] });

    let skip = world.database.collection("skip");
    let expected = doc! { "_id": "json", "inner": { "y": 1_i64 }, "ok": true };
    assert_eq!(skip.document("json"), expected);
    assert_eq!(skip.document("text"), doc! { "_id": "text" });
    assert_eq!(skip.document("list"), doc! { "_id": "list" });
    assert_eq!(skip.document("set"), doc! { "_id": "set" });
    let entry = doc! { "id": "1-1", "fields": { "b": "y" } };
    assert_eq!(skip.document("stream"), doc! { "_id": "stream", "value": [entry] });
}
