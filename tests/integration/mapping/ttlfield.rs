//! TTLFIELD: the key's expiry as a date in its document.

use mongodb::bson::{Bson, DateTime, Document, doc};

use testkit::fixture::World;
use testkit::mongod::collection::Collection;
use testkit::mongod::dollar_name;
use testkit::wait::{SOON, wait_until};

/// Times far in the future, in milliseconds since 1970, not at a full second.
const FIRST_MS: i64 = 4_000_000_000_123;
const SECOND_MS: i64 = 4_100_000_000_456;

/// A type of value: the command that creates a key, and the fields of its document.
struct Kind {
    name: &'static str,
    create: &'static [&'static str],
    seen: fn() -> Document,
}

const KINDS: [Kind; 3] = [
    Kind {
        name: "HASH",
        create: &["HSET", "s:1", "user", "Ann", "until", "of the value"],
        seen: || doc! { "user": "Ann" },
    },
    Kind { name: "STRING", create: &["SET", "s:1", "Ann"], seen: || doc! { "value": "Ann" } },
    Kind {
        name: "JSON",
        create: &["JSON.SET", "s:1", "$", r#"{"user":"Ann","until":{"of":"the value"}}"#],
        seen: || doc! { "user": "Ann" },
    },
];

/// WB.FLUSH, then the only document without its `_id`.
#[track_caller]
fn flushed(world: &World, collection: &Collection) -> Document {
    let flushed = world.redis.flush();
    assert_eq!((flushed.failed, flushed.pending), (0, 0), "{flushed:?}");
    let mut all = collection.all();
    assert_eq!(all.len(), 1, "{all:?}");
    let mut document = all.remove(0);
    document.remove("_id");
    document
}

fn with_expiry(mut document: Document, at_ms: i64) -> Document {
    document.insert("until", DateTime::from_millis(at_ms));
    document
}

/// The reply of PEXPIRETIME.
fn expiry_of(world: &World, key: &str) -> i64 {
    world.redis.run(&["PEXPIRETIME", key])
}

/// Asserts that the documents have the same fields, in any order.
#[track_caller]
fn same(found: &Document, expected: &Document, what: &str) {
    let sorted = |document: &Document| {
        let mut fields: Vec<_> = document.clone().into_iter().collect();
        fields.sort_by(|a, b| a.0.cmp(&b.0));
        fields
    };
    assert_eq!(sorted(found), sorted(expected), "{what}");
}

/// Sets, changes and removes the expiry. `foreign` are the fields of another application that the
/// registration keeps.
fn expiry_is_set_changed_and_removed(options: &str, by_field: bool, foreign: &Document) {
    for Kind { name, create, seen } in KINDS {
        let world = World::json();
        let sessions = world.database.collection("sessions");
        world.register("s:", "sessions", &format!("TYPE {name} TTLFIELD until {options}"));
        let mut expected = seen();
        if by_field {
            expected.insert("id", "1");
        }
        world.redis.cmd(create);
        same(&flushed(&world, &sessions), &expected, &format!("{name} created"));
        sessions.update(doc! {}, doc! { "$set": { "foreign": { "until": 1 } } });
        expected.extend(foreign.clone());

        for at_ms in [FIRST_MS, SECOND_MS] {
            world.redis.cmd(&["PEXPIREAT", "s:1", &at_ms.to_string()]);
            let found = flushed(&world, &sessions);
            same(&found, &with_expiry(expected.clone(), at_ms), &format!("{name} at {at_ms}"));
        }
        world.redis.cmd(&["EXPIRE", "s:1", "10000"]);
        let at_ms = expiry_of(&world, "s:1");
        let found = flushed(&world, &sessions);
        same(&found, &with_expiry(expected.clone(), at_ms), &format!("{name} after EXPIRE"));

        world.redis.cmd(&["PERSIST", "s:1"]);
        same(&flushed(&world, &sessions), &expected, &format!("{name} after PERSIST"));
        world.redis.cmd(&["PEXPIREAT", "s:1", &FIRST_MS.to_string()]);
        let found = flushed(&world, &sessions);
        same(&found, &with_expiry(expected, FIRST_MS), &format!("{name} expires again"));
    }
}

#[test]
fn an_expiry_is_set_changed_and_removed_with_replace() {
    expiry_is_set_changed_and_removed("WRITE REPLACE", false, &doc! {});
    expiry_is_set_changed_and_removed("WRITE REPLACE KEY id", true, &doc! {});
}

#[test]
fn an_expiry_is_set_changed_and_removed_with_merge_and_other_fields_stay() {
    let foreign = doc! { "foreign": { "until": 1 } };
    expiry_is_set_changed_and_removed("WRITE MERGE", false, &foreign);
    expiry_is_set_changed_and_removed("WRITE MERGE KEY id", true, &foreign);
}

#[test]
fn every_command_that_changes_the_expiry_of_a_string_updates_the_document() {
    for write in ["REPLACE", "MERGE"] {
        let world = World::new();
        let sessions = world.database.collection("sessions");
        world.register("s:", "sessions", &format!("TTLFIELD until WRITE {write}"));
        let (first, second) = (FIRST_MS.to_string(), SECOND_MS.to_string());
        let steps: [(&[&str], Option<i64>); 11] = [
            (&["SET", "s:1", "x", "PXAT", &first], Some(FIRST_MS)),
            (&["SET", "s:1", "y", "KEEPTTL"], Some(FIRST_MS)),
            (&["APPEND", "s:1", "z"], Some(FIRST_MS)),
            (&["GETEX", "s:1", "PXAT", &second], Some(SECOND_MS)),
            (&["GETEX", "s:1", "PERSIST"], None),
            (&["PEXPIREAT", "s:1", &first], Some(FIRST_MS)),
            (&["SET", "s:1", "x"], None),
            (&["PEXPIREAT", "s:1", &second], Some(SECOND_MS)),
            (&["GETSET", "s:1", "y"], None),
            (
                &["EVAL", "redis.call('PEXPIREAT', KEYS[1], ARGV[1])", "1", "s:1", &first],
                Some(FIRST_MS),
            ),
            (&["PERSIST", "s:1"], None),
        ];
        for (words, at_ms) in steps {
            world.redis.cmd(words);
            let found = flushed(&world, &sessions);
            let until = at_ms.map(|at_ms| Bson::from(DateTime::from_millis(at_ms)));
            assert_eq!(found.get("until"), until.as_ref(), "{write} {words:?}");
        }
    }
}

#[test]
fn copied_renamed_and_restored_keys_keep_their_expiry() {
    for write in ["REPLACE", "MERGE"] {
        let world = World::new();
        let sessions = world.database.collection("sessions");
        world.register("s:", "sessions", &format!("TTLFIELD until WRITE {write}"));
        for key in ["s:copied", "s:renamed", "s:restored"] {
            world.redis.cmd(&["HSET", key, "old", "value"]);
        }
        world.redis.flush();
        let at_ms = FIRST_MS.to_string();
        world.redis.cmd(&["HSET", "other", "user", "Ann"]);
        world.redis.cmd(&["PEXPIREAT", "other", &at_ms]);
        world.redis.cmd(&["COPY", "other", "s:copied", "REPLACE"]);
        let dump: Vec<u8> = world.redis.run(&["DUMP", "other"]);
        let restore: [&[u8]; 6] =
            [b"RESTORE", b"s:restored", at_ms.as_bytes(), &dump, b"REPLACE", b"ABSTTL"];
        world.redis.cmd(&restore);
        world.redis.cmd(&["RENAME", "other", "s:renamed"]);
        world.redis.flush();
        for id in ["copied", "renamed", "restored"] {
            let found = sessions.document(id);
            let until = Some(Bson::from(DateTime::from_millis(FIRST_MS)));
            assert_eq!(found.get("user"), Some(&Bson::from("Ann")), "{write} {id}");
            assert_eq!(found.get("until"), until.as_ref(), "{write} {id}");
        }
    }
}

#[test]
fn a_field_of_that_name_in_the_value_is_never_written() {
    for write in ["REPLACE", "MERGE"] {
        let world = World::json();
        let sessions = world.database.collection("sessions");
        world.register("s:", "sessions", &format!("TTLFIELD until WRITE {write}"));
        let dollar = dollar_name("dollar");
        world.redis.cmd(&["HSET", "s:hash", "until", "x", &dollar, "1", "a.until", "2"]);
        world.redis.cmd(&["JSON.SET", "s:json", "$", r#"{"until":1,"in":{"until":2}}"#]);
        world.redis.flush();
        let hash = doc! { "_id": "hash", &dollar: "1", "a.until": "2" };
        let json = doc! { "_id": "json", "in": { "until": 2_i64 } };
        same(&sessions.document("hash"), &hash, write);
        same(&sessions.document("json"), &json, write);

        for key in ["s:hash", "s:json"] {
            world.redis.cmd(&["PEXPIREAT", key, &FIRST_MS.to_string()]);
        }
        world.redis.cmd(&["HSET", "s:hash", "until", "y"]);
        world.redis.flush();
        same(&sessions.document("hash"), &with_expiry(hash, FIRST_MS), write);
        same(&sessions.document("json"), &with_expiry(json, FIRST_MS), write);
    }
}

#[test]
fn an_unusual_field_name_is_used_literally() {
    for name in ["0", "a$b", "ROOT", "läuft ab", "expires-at"] {
        let world = World::new();
        let sessions = world.database.collection("sessions");
        let namespace = world.database.namespace("sessions");
        let words = ["WB.REGISTER", "s:", &namespace, "TTLFIELD", name, "WRITE", "MERGE"];
        assert_eq!(world.redis.run::<String>(&words), "OK");
        let until = DateTime::from_millis(FIRST_MS);
        world.redis.cmd(&["SET", "s:1", "x", "PXAT", &FIRST_MS.to_string()]);
        same(&flushed(&world, &sessions), &doc! { "value": "x", name: until }, name);
        world.redis.cmd(&["PERSIST", "s:1"]);
        same(&flushed(&world, &sessions), &doc! { "value": "x" }, name);
    }
}

#[test]
fn a_string_whose_value_would_be_in_that_field_is_a_dead_letter() {
    let world = World::new();
    world.register("s:", "sessions", "TTLFIELD value");
    world.redis.cmd(&["SET", "s:1", "x"]);
    world.redis.cmd(&["HSET", "s:2", "value", "x", "a", "1"]);
    assert_eq!(world.redis.flush().failed, 1);
    assert_eq!(world.database.collection("sessions").all(), [doc! { "_id": "2", "a": "1" }]);
}

#[test]
fn without_ttlfield_the_expiry_is_not_written() {
    let world = World::new();
    let sessions = world.database.collection("sessions");
    world.register("s:", "sessions", "");
    world.redis.cmd(&["SET", "s:1", "x", "PXAT", &FIRST_MS.to_string()]);
    assert_eq!(flushed(&world, &sessions), doc! { "value": "x" });
}

#[test]
fn registering_again_adds_and_removes_the_expiry() {
    let world = World::new();
    let sessions = world.database.collection("sessions");
    world.register("s:", "sessions", "");
    world.redis.cmd(&["SET", "s:1", "x", "PXAT", &FIRST_MS.to_string()]);
    assert_eq!(flushed(&world, &sessions), doc! { "value": "x" });
    world.register("s:", "sessions", "TTLFIELD until SYNC");
    let until = DateTime::from_millis(FIRST_MS);
    wait_until("the existing key has its expiry", SOON, || {
        flushed(&world, &sessions) == doc! { "until": until, "value": "x" }
    });
    world.register("s:", "sessions", "SYNC");
    wait_until("the expiry is removed", SOON, || {
        flushed(&world, &sessions) == doc! { "value": "x" }
    });
}

#[test]
fn the_document_of_an_expired_key_keeps_its_expiry() {
    let world = World::new();
    let sessions = world.database.collection("sessions");
    world.register("s:", "sessions", "TTLFIELD until");
    world.redis.cmd(&["SET", "s:1", "x", "PX", "500"]);
    let at_ms = expiry_of(&world, "s:1");
    let expected = doc! { "until": DateTime::from_millis(at_ms), "value": "x" };
    assert_eq!(flushed(&world, &sessions), expected);
    wait_until("it expires", SOON, || world.redis.run::<i64>(&["EXISTS", "s:1"]) == 0);
    assert_eq!(flushed(&world, &sessions), expected);
    // A new key of that name has no expiry.
    world.redis.cmd(&["SET", "s:1", "y"]);
    assert_eq!(flushed(&world, &sessions), doc! { "value": "y" });
}

#[test]
fn a_key_removed_before_it_was_written_has_its_expiry_in_the_document() {
    for write in ["REPLACE", "MERGE"] {
        for (ttl_ms, command) in [("1500", "PING"), ("100000", "FLUSHALL")] {
            let world = World::new();
            let sessions = world.database.collection("sessions");
            let options = format!("TTLFIELD until INTERVAL 60000 WRITE {write}");
            world.register("s:", "sessions", &options);
            world.redis.cmd(&["SET", "s:1", "x", "PX", ttl_ms]);
            let at_ms = expiry_of(&world, "s:1");
            world.redis.cmd(&[command]);
            wait_until("the key is removed", SOON, || world.redis.run::<i64>(&["DBSIZE"]) == 0);
            let found = flushed(&world, &sessions);
            let expected = doc! { "value": "x", "until": DateTime::from_millis(at_ms) };
            same(&found, &expected, &format!("{command} {write}"));
        }
    }
}

#[test]
fn the_option_is_validated_and_shown() {
    let world = World::new();
    let namespace = world.database.namespace("sessions");
    let bad: [&[&str]; 6] = [
        &["TTLFIELD"],
        &["TTLFIELD", "a.b"],
        &["TTLFIELD", "$a"],
        &["TTLFIELD", "_id"],
        &["KEY", "id", "TTLFIELD", "id"],
        &["TTLFIELD", "id", "KEY", "id"],
    ];
    for options in bad {
        let words = [&["WB.REGISTER", "s:", &namespace], options].concat();
        let error = world.redis.error(&words);
        assert!(error.contains("TTLFIELD takes the name of a field"), "{options:?}: {error}");
    }
    assert_eq!(world.redis.status().int("registrations"), 0);

    world.register("s:", "sessions", "TTLFIELD until");
    assert_eq!(world.redis.status_of("s:").text("ttlfield"), "until");
    let help: Vec<String> = world.redis.run(&["WB.HELP"]);
    assert!(help.iter().any(|line| line.contains("[TTLFIELD <field>]")), "{help:?}");
    let docs = world.redis.cmd(&["COMMAND", "DOCS", "WB.REGISTER"]);
    assert!(format!("{docs:?}").contains("TTLFIELD"), "{docs:?}");
}
