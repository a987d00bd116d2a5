//! Differences between MongoDB 4.4 and newer versions.

use mongodb::bson::doc;

use testkit::comparison::Mapping;
use testkit::fixture::World;
use testkit::mongod::major_version;
use testkit::redis_server::reply::Fields;

/// Documents that MongoDB stores since 5.0, with inserts, updates and replacements.
const DOLLARS: [&str; 4] =
    [r#"{"$a":1}"#, r#"{"b":1,"$a":1}"#, r#"{"b":{"$a":1}}"#, r#"{"b":[{"$ref":1}]}"#];

#[test]
fn a_field_name_with_a_leading_dollar_sign_is_a_dead_letter_only_before_5_0() {
    for write in ["REPLACE", "MERGE"] {
        let world = World::json();
        world.register("k:", "keys", &format!("WRITE {write}"));
        for (n, json) in DOLLARS.iter().enumerate() {
            world.redis.cmd(&["JSON.SET", &format!("k:{n}"), "$", json]);
        }
        world.redis.cmd(&["JSON.SET", "k:good", "$", r#"{"a$":1,"a.b":2}"#]);
        let flushed = world.redis.flush();
        assert_eq!(flushed.pending, 0);
        let keys = world.database.collection("keys");
        assert_eq!(keys.count_of(doc! { "_id": "good" }), 1);
        if major_version() >= 5 {
            Mapping::by_id("k:").holds(&world.redis, &keys);
            continue;
        }
        assert_eq!(flushed.failed, 4);
        let list: Vec<Fields> = world.redis.run(&["WB.DEADLETTER", "LIST"]);
        for row in list {
            let reason = row.text("reason");
            assert!(reason.contains("`$`") && reason.contains("5.0"), "{row:?}");
        }
    }
}

#[test]
fn inserted_documents_with_a_dollar_sign_are_treated_like_updated_ones() {
    let world = World::json();
    world.register("k:", "keys", "");
    // The module learns that documents are new, and so inserts them.
    for round in 0..4 {
        for n in 0..40 {
            world.redis.cmd(&["JSON.SET", &format!("k:{round}.{n}"), "$", r#"{"a":1}"#]);
        }
        assert_eq!(world.redis.flush().failed, 0);
    }
    for n in 0..40 {
        let json = DOLLARS[n % DOLLARS.len()];
        world.redis.cmd(&["JSON.SET", &format!("k:new{n}"), "$", json]);
    }
    let flushed = world.redis.flush();
    let keys = world.database.collection("keys");
    let expected = if major_version() >= 5 { (0, 200) } else { (40, 160) };
    assert_eq!((flushed.failed, keys.count()), expected);
}
