//! SCHEMA: fields get types and names in MongoDB; a value that cannot be converted is a dead
//! letter.

use mongodb::bson::{Binary, Bson, DateTime, Decimal128, doc, oid::ObjectId, spec::BinarySubtype};
use redis::Value;

use testkit::fixture::World;
use testkit::mongod::dollar_name;

fn binary(subtype: BinarySubtype, bytes: &[u8]) -> Bson {
    Bson::Binary(Binary { subtype, bytes: bytes.to_vec() })
}

#[test]
fn a_hash_field_is_converted_to_every_type() {
    let world = World::new();
    world.register(
        "k:",
        "keys",
        "TYPE HASH SCHEMA s STRING i INT64 d DOUBLE dec DECIMAL b BOOL at DATE o OBJECTID u UUID \
         raw BINARY j JSON a AUTO gone SKIP old INT64 AS new",
    );
    world.redis.cmd(&[
        "HSET",
        "k:1",
        "s",
        "5",
        "i",
        "-9223372036854775808",
        "d",
        "-inf",
        "dec",
        "0.10",
        "b",
        "TRUE",
        "at",
        "2023-11-14T22:13:20.5Z",
        "o",
        "000102030405060708090a0b",
        "u",
        "00112233-4455-6677-8899-aabbccddeeff",
        "raw",
        "text",
        "j",
        r#"{"x":[1,2.0,"3"]}"#,
        "a",
        "1.5",
        "gone",
        "secret",
        "old",
        "7",
        "other",
        "5",
    ]);
    assert_eq!(world.redis.flush().failed, 0);
    let uuid: Vec<u8> = (0..=15).map(|n| n * 0x11).collect();
    let expected = doc! {
        "_id": "1",
        "s": "5",
        "i": i64::MIN,
        "d": f64::NEG_INFINITY,
        "dec": "0.10".parse::<Decimal128>().unwrap(),
        "b": true,
        "at": DateTime::from_millis(1_700_000_000_500),
        "o": ObjectId::from_bytes([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11]),
        "u": binary(BinarySubtype::Uuid, &uuid),
        "raw": binary(BinarySubtype::Generic, b"text"),
        "j": { "x": [1_i64, 2.0, "3"] },
        "a": 1.5,
        "new": 7_i64,
        "other": "5",
    };
    assert_eq!(world.database.collection("keys").document("1"), expected);
}

#[test]
fn paths_of_json_are_converted() {
    let world = World::json();
    let options = "TYPE JSON SCHEMA at DATE address.zip INT64 AS code items.price DECIMAL";
    world.register("k:", "keys", options);
    let json = r#"{"at":1700000000,"address":{"zip":"8010","street":"x"},"items":[{"price":1.5}]}"#;
    world.redis.cmd(&["JSON.SET", "k:1", "$", json]);
    assert_eq!(world.redis.flush().failed, 0);
    let expected = doc! {
        "_id": "1",
        "at": DateTime::from_millis(1_700_000_000_000),
        "address": { "code": 8010_i64, "street": "x" },
        "items": [{ "price": "1.5".parse::<Decimal128>().unwrap() }],
    };
    assert_eq!(world.database.collection("keys").document("1"), expected);
}

#[test]
fn dates_have_fractions_and_a_unit_where_it_is_given() {
    let world = World::json();
    world.register("h:", "hashes", "SCHEMA at DATE s DATE_S ms DATE_MS");
    world.register("j:", "json", "TYPE JSON SCHEMA at DATE s DATE_S ms DATE_MS");
    // 1971 in milliseconds, which DATE would interpret as seconds.
    world.redis.cmd(&["HSET", "h:1", "at", "1659038730.123", "s", "0.5", "ms", "50000000000"]);
    let json = r#"{"at":1659038730.123,"s":0.5,"ms":50000000000}"#;
    world.redis.cmd(&["JSON.SET", "j:1", "$", json]);
    assert_eq!(world.redis.flush().failed, 0);
    for collection in ["hashes", "json"] {
        let expected = doc! {
            "_id": "1",
            "at": DateTime::from_millis(1_659_038_730_123),
            "s": DateTime::from_millis(500),
            "ms": DateTime::from_millis(50_000_000_000),
        };
        assert_eq!(world.database.collection(collection).document("1"), expected, "{collection}");
    }
}

#[test]
fn counters_and_sets_of_numbers_are_numbers() {
    let world = World::new();
    world.register("k:", "keys", "SCHEMA value INT64");
    world.redis.cmd(&["INCRBY", "k:1", "41"]);
    world.redis.cmd(&["SADD", "k:2", "2", "1", "10"]);
    world.redis.cmd(&["RPUSH", "k:3", "2", "1"]);
    assert_eq!(world.redis.flush().failed, 0);
    let keys = world.database.collection("keys");
    assert_eq!(keys.document("1"), doc! { "_id": "1", "value": 41_i64 });
    assert_eq!(keys.document("2"), doc! { "_id": "2", "value": [1_i64, 10_i64, 2_i64] });
    assert_eq!(keys.document("3"), doc! { "_id": "3", "value": [2_i64, 1_i64] });
}

#[test]
fn values_that_cannot_be_converted_are_dead_letters_and_do_not_block_other_keys() {
    let types = [
        ("INT64", ["9223372036854775808", "1.0", ""].as_slice()),
        ("DOUBLE", &["1e400", "-1e400", "x"]),
        ("DECIMAL", &["1e6145", "12345678901234567890123456789012345"]),
        ("BOOL", &["yes"]),
        ("DATE", &["yesterday", "1659038730."]),
        ("DATE_S", &["9223372036854775807"]),
        ("DATE_MS", &["tomorrow"]),
        ("OBJECTID", &["12"]),
        ("UUID", &["12"]),
        ("JSON", &["{", "[1e400]", "{\"a\\u0000\":1}"]),
    ];
    let world = World::new();
    for (kind, values) in types {
        let prefix = format!("{kind}:");
        world.register(&prefix, kind, &format!("SCHEMA field {kind}"));
        for (n, value) in values.iter().enumerate() {
            world.redis.cmd(&["HSET", &format!("{prefix}{n}"), "field", value]);
        }
        world.redis.cmd(&["HSET", &format!("{prefix}good"), "other", "x"]);
        let flushed = world.redis.flush_with(&[&prefix]);
        assert_eq!((flushed.failed, flushed.pending), (values.len() as i64, 0), "{kind}");
        let good = doc! { "_id": "good", "other": "x" };
        assert_eq!(world.database.collection(kind).all(), [good], "{kind}");
        let error = world.redis.status_of(&prefix).text("last_error");
        let named = error.contains("\"field\"") && error.contains(kind);
        assert!(named || error.contains("NUL"), "{error}");
        values.iter().filter(|value| value.len() > 1).for_each(|value| {
            assert!(!error.contains(value), "{error}");
        });
    }
    // A corrected value resolves the dead letter.
    world.redis.cmd(&["HSET", "BOOL:0", "field", "1"]);
    assert_eq!(world.redis.flush_with(&["BOOL:"]).failed, 0);
}

#[test]
fn a_schema_is_shown_and_survives_a_restart() {
    let mut world = World::with(|setup| setup.durable());
    let schema = "SCHEMA age INT64 AS years a.b DATE x SKIP * AUTO";
    world.register("k:", "keys", schema);
    let shown = |world: &World| -> Vec<String> {
        let status = world.redis.status_of("k:");
        redis::from_redis_value::<Vec<String>>(status.value("schema").clone()).expect("words")
    };
    let expected: Vec<&str> = schema.split(' ').skip(1).collect();
    assert_eq!(shown(&world), expected);
    world.redis.cmd(&["HSET", "k:1", "age", "5", "x", "secret", "n", "1.5"]);
    world.redis.kill();
    world.redis.restart();
    assert_eq!(shown(&world), expected);
    world.redis.cmd(&["BGREWRITEAOF"]);
    world.redis.flush();
    let document = doc! { "_id": "1", "years": 5_i64, "n": 1.5 };
    assert_eq!(world.database.collection("keys").document("1"), document);
    world.register("k:", "keys", "");
    let fields = world.redis.status_of("k:");
    assert!(!fields.names().contains(&"schema"));
    assert_ne!(world.redis.cmd(&["WB.STATUS", "k:"]), Value::Nil);
}

#[test]
fn merge_sets_converted_fields_and_leaves_others() {
    let world = World::new();
    let d = &dollar_name("d");
    world.register("k:", "keys", &format!("WRITE MERGE SCHEMA n INT64 {d} INT64"));
    let keys = world.database.collection("keys");
    keys.insert(doc! { "_id": "1", "foreign": 1, "n": 0 });
    world.redis.cmd(&["HSET", "k:1", "n", "5", d, "6", "a.b", "x"]);
    world.redis.flush();
    let expected = doc! { "_id": "1", "foreign": 1, "n": 5_i64, d: 6_i64, "a.b": "x" };
    assert_eq!(keys.document("1"), expected);
}
