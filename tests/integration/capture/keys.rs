//! A key's suffix becomes the `_id` of its document, or the value of the field that KEY names.

use mongodb::bson::{Binary, Bson, doc, oid::ObjectId, spec::BinarySubtype};

use testkit::comparison::Mapping;
use testkit::fixture::World;

#[test]
fn the_module_creates_the_unique_index_of_a_key_field() {
    let world = World::new();
    world.register("film:", "films", "KEY movieId");
    world.redis.cmd(&["SET", "film:1", "x"]);
    world.redis.flush();
    let films = world.database.collection("films");
    assert_eq!(films.unique_indexes(), [["movieId"]]);
    assert!(matches!(
        films.find(doc! { "movieId": "1" }).and_then(|film| film.get("_id").cloned()),
        Some(Bson::ObjectId(_))
    ));
}

#[test]
fn the_suffix_is_everything_after_the_prefix() {
    let world = World::new();
    world.register("p:", "all", "");
    for suffix in ["a:b:c", "::", "p:", "with space", "{tag}", "é", "*", "42"] {
        world.redis.cmd(&["SET", &format!("p:{suffix}"), suffix]);
    }
    let all = world.database.collection("all");
    Mapping::by_id("p:").holds(&world.redis, &all);
    assert_eq!(all.count(), 8);
    assert_eq!(all.document("a:b:c"), doc! { "_id": "a:b:c", "value": "a:b:c" });
}

#[test]
fn a_key_field_inside_the_value_never_overrides_the_key() {
    let world = World::json();
    world.register("a:", "a", "");
    world.register("b:", "b", "KEY movieId");
    world.redis.cmd(&["HSET", "a:1", "_id", "forged", "x", "1"]);
    world.redis.cmd(&["JSON.SET", "a:2", "$", r#"{"x":1,"_id":{"$oid":"forged"}}"#]);
    world.redis.cmd(&["HSET", "b:1", "movieId", "forged", "x", "1"]);
    world.redis.flush();
    assert_eq!(world.database.collection("a").document("1"), doc! { "_id": "1", "x": "1" });
    assert_eq!(world.database.collection("a").document("2"), doc! { "_id": "2", "x": 1_i64 });
    let b = world.database.collection("b").find(doc! { "movieId": "1" }).expect("document");
    assert_eq!(b.get("x"), Some(&Bson::String("1".into())));
}

#[test]
fn the_suffix_is_converted_as_registered() {
    let object_id = "65f0c0ffee65f0c0ffee0001";
    let uuid = "00112233-4455-6677-8899-aabbccddeeff";
    let binary = Binary {
        subtype: BinarySubtype::Uuid,
        bytes: vec![0, 17, 34, 51, 68, 85, 102, 119, 136, 153, 170, 187, 204, 221, 238, 255],
    };
    let cases = [
        ("STRING", "42", Bson::String("42".into())),
        ("INT64", "-42", Bson::Int64(-42)),
        ("OBJECTID", object_id, Bson::ObjectId(ObjectId::parse_str(object_id).expect("id"))),
        ("UUID", uuid, Bson::Binary(binary)),
    ];
    for (kind, suffix, id) in cases {
        let world = World::new();
        world.register("k:", "keys", &format!("KEY _id AS {kind}"));
        world.redis.cmd(&["SET", &format!("k:{suffix}"), "x"]);
        world.redis.flush();
        let found = world.database.collection("keys").document(id.clone());
        assert_eq!(found, doc! { "_id": id, "value": "x" }, "{kind}");
    }
}

#[test]
fn a_suffix_that_cannot_be_converted_does_not_block_other_keys() {
    let world = World::new();
    world.register("k:", "keys", "KEY id AS INT64");
    for suffix in ["1", "two", "3", "99999999999999999999"] {
        world.redis.cmd(&["SET", &format!("k:{suffix}"), suffix]);
    }
    let flushed = world.redis.flush();
    assert_eq!((flushed.persisted, flushed.failed, flushed.pending), (2, 2, 0));
    assert_eq!(world.redis.status().int("dead_letters"), 2);
    assert_eq!(world.database.collection("keys").count(), 2);
}
