//! What MongoDB 4.4 does otherwise than newer ones.

use mongodb::bson::doc;

use testkit::comparison::Mapping;
use testkit::fixture::World;
use testkit::mongod::major_version;
use testkit::redis_server::reply::Fields;

/// Documents that MongoDB stores from 5.0 on, in whatever form they are sent.
const DOLLARS: [&str; 4] =
    [r#"{"$a":1}"#, r#"{"b":1,"$a":1}"#, r#"{"b":{"$a":1}}"#, r#"{"b":[{"$ref":1}]}"#];

#[test]
fn a_name_that_begins_with_a_dollar_sign_is_a_dead_letter_before_5_0_alone() {
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
        let letters: Vec<Fields> = world.redis.run(&["WB.DEADLETTER", "LIST"]);
        for letter in letters {
            let reason = letter.text("reason");
            assert!(reason.contains("`$`") && reason.contains("5.0"), "{letter:?}");
        }
    }
}

#[test]
fn new_documents_with_a_dollar_sign_are_treated_like_changed_ones() {
    let world = World::json();
    world.register("k:", "keys", "");
    // Documents prove new, so that they are inserted.
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
