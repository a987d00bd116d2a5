//! WB.EXPLAIN: the state of a key, and the exact document that would be written.

use mongodb::bson::{Document, doc};
use redis::Value;

use testkit::fixture::World;
use testkit::mongod::Mongod;
use testkit::mongod::dollar_name;
use testkit::redis_server::reply::Fields;
use testkit::redis_server::{Redis, Setup, command};
use testkit::wait::{SOON, wait_until};

fn explain(redis: &Redis, key: &str) -> Fields {
    redis.run(&["WB.EXPLAIN", key])
}

#[track_caller]
fn document(explained: &Fields) -> Document {
    assert_eq!(explained.text("operation"), "write", "{explained:?}");
    serde_json::from_str(&explained.text("document")).expect("extended JSON")
}

fn state(redis: &Redis, key: &str) -> String {
    explain(redis, key).text("state")
}

fn now_ms() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.expect("after 1970").as_millis() as i64
}

/// Asserts that the documents in WB.EXPLAIN before a flush are those in MongoDB after it.
#[track_caller]
fn is_written_as_shown(world: &World, keys: &[&str]) {
    let shown: Vec<Document> =
        keys.iter().map(|key| document(&explain(&world.redis, &format!("k:{key}")))).collect();
    let before = world.redis.status();
    assert_eq!(before.int("written_total"), 0);
    world.redis.flush();
    for (key, shown) in keys.iter().zip(shown) {
        assert_eq!(shown, world.database.collection("keys").document(*key));
    }
}

#[test]
fn the_document_of_every_type_is_shown_as_it_is_written() {
    let world = World::json();
    world.register("k:", "keys", "TTLFIELD until INTERVAL 600000");
    let json = r#"{"$i":1,"d":1.0,"e":1e300,"n":null,"l":[true,{}]}"#;
    let json = json.replace("$i", &dollar_name("i"));
    for words in [
        &["HSET", "k:hash", "a", "1", "dotted.$name", "é\"\\"][..],
        &["SET", "k:string", "x", "EX", "1000"],
        &["JSON.SET", "k:json", "$", &json],
        &["RPUSH", "k:list", "a", "b"],
        &["SADD", "k:set", "a", "b"],
        &["ZADD", "k:zset", "1", "a", "-inf", "b"],
        &["XADD", "k:stream", "1-1", "f", "v"],
    ] {
        world.redis.cmd(words);
    }
    command(&[&b"SET"[..], b"k:binary", b"\xff\x00"])
        .exec(&mut world.redis.connection())
        .expect("SET");
    is_written_as_shown(
        &world,
        &["hash", "string", "binary", "json", "list", "set", "zset", "stream"],
    );
}

#[test]
fn schema_and_merge_are_applied() {
    let world = World::new();
    let schema = "age INT64 born DATE price DECIMAL ok BOOL n AUTO";
    world.register("k:", "keys", &format!("WRITE MERGE INTERVAL 600000 SCHEMA {schema}"));
    let fields = ["age", "41", "born", "2020-02-02", "price", "1.50", "ok", "true", "n", "2.5"];
    world.redis.cmd(&[&["HSET", "k:1"], fields.as_slice()].concat());
    is_written_as_shown(&world, &["1"]);
}

#[test]
fn explain_shows_the_registration_of_a_key_and_changes_nothing() {
    let world = World::new();
    world.register("k:", "keys", "INTERVAL 600000");
    world.redis.cmd(&["SET", "k:1", "x"]);
    world.redis.flush();
    world.redis.cmd(&["SET", "k:2", "x"]);
    let digest = || world.redis.run::<String>(&["WB._DIGEST"]);
    let before = (digest(), world.redis.status().int("captured_total"));
    let clean = explain(&world.redis, "k:1");
    assert_eq!((clean.text("state").as_str(), clean.int("since_unix_ms")), ("clean", 0));
    assert_eq!(clean.text("prefix"), "k:");
    assert_eq!(clean.text("namespace"), world.database.namespace("keys"));
    assert_eq!(document(&clean), doc! { "_id": "1", "value": "x" });
    let dirty = explain(&world.redis, "k:2");
    assert_eq!(dirty.text("state"), "dirty");
    let age_ms = now_ms() - dirty.int("since_unix_ms");
    assert!((0..60_000).contains(&age_ms), "{age_ms}");
    let other = explain(&world.redis, "other");
    assert_eq!(
        (other.text("state").as_str(), other.text("prefix").as_str()),
        ("not registered", "")
    );
    assert!(other.text("reason").contains("prefix"));
    let missing = explain(&world.redis, "k:3");
    assert_eq!((missing.text("operation"), missing.text("document")), ("none".into(), "".into()));
    assert_eq!((digest(), world.redis.status().int("captured_total")), before);
    world.redis.error(&["WB.EXPLAIN"]);
    world.redis.error(&["WB.EXPLAIN", "a", "b"]);
}

#[test]
fn deletions_and_retained_values_are_shown() {
    let world = World::new();
    world.register("k:", "keys", "TTLFIELD until INTERVAL 600000");
    world.redis.cmd(&["SET", "k:1", "x"]);
    world.redis.cmd(&["DEL", "k:1"]);
    assert_eq!(explain(&world.redis, "k:1").text("operation"), "delete");
    world.redis.cmd(&["SET", "k:2", "brief", "PX", "50"]);
    // WB.EXPLAIN itself may be the read that deletes the expired key.
    wait_until("the key expires", SOON, || {
        assert_eq!(explain(&world.redis, "k:2").text("operation"), "write");
        world.redis.run::<i64>(&["EXISTS", "k:2"]) == 0
    });
    let brief = document(&explain(&world.redis, "k:2"));
    assert_eq!(brief.get_str("value").ok(), Some("brief"));
    world.redis.flush();
    assert_eq!(world.database.collection("keys").all(), [brief]);
}

#[test]
fn the_reason_is_shown_if_a_key_cannot_be_written() {
    let world = World::new();
    world.register("k:", "keys", "KEY _id AS INT64");
    world.register("large:", "large", "");
    world.register("hash:", "hashes", "TYPE HASH");
    world.redis.cmd(&["SET", "k:no-number", "x"]);
    world.redis.flush();
    let refused = explain(&world.redis, "k:no-number");
    assert_eq!((refused.text("state").as_str(), refused.int("attempts")), ("dead letter", 1));
    assert_eq!(refused.text("operation"), "refused");
    assert!(refused.text("reason").contains("suffix"), "{refused:?}");
    assert_eq!(refused.text("reason"), refused.text("last_error"));
    world.redis.cmd(&["SETRANGE", "large:1", "17000000", "x"]);
    let large = explain(&world.redis, "large:1");
    assert!(large.text("reason").contains("larger than"), "{large:?}");
    world.redis.cmd(&["SETRANGE", "large:2", "400000000", "x"]);
    let start = std::time::Instant::now();
    assert_eq!(explain(&world.redis, "large:2").text("operation"), "refused");
    assert!(start.elapsed().as_millis() < 500, "{:?}", start.elapsed());
    world.redis.cmd(&["SET", "hash:1", "no hash"]);
    assert_eq!(explain(&world.redis, "hash:1").text("operation"), "delete");
}

#[test]
fn explain_shows_what_a_key_waits_for() {
    let mongod = Mongod::replica_set();
    let redis = Setup::new(&mongod.uri()).start();
    let namespace = mongod.database().namespace("keys");
    redis.cmd(&["WB.REGISTER", "k:", &namespace]);
    redis.cmd(&["SET", "k:1", "x"]);
    redis.flush();
    mongod.freeze();
    redis.cmd(&["SET", "k:1", "y"]);
    wait_until("it is sent", SOON, || state(&redis, "k:1") == "in flight");
    redis.cmd(&["SET", "k:1", "z"]);
    assert_eq!(state(&redis, "k:1"), "in flight, changed since");
    mongod.thaw();
    redis.flush();
    assert_eq!(state(&redis, "k:1"), "clean");
    redis.cmd(&["WB.PAUSE", "k:"]);
    redis.cmd(&["SET", "k:1", "x"]);
    assert_eq!(state(&redis, "k:1"), "paused");
    redis.cmd(&["WB.RESUME"]);
    drop(mongod);
    redis.cmd(&["SET", "k:2", "x"]);
    wait_until("it waits", SOON, || state(&redis, "k:2") == "waiting");
    let explained = explain(&redis, "k:2");
    assert!(explained.text("waits_for").contains("MongoDB"), "{explained:?}");
    assert_eq!(explained.text("operation"), "write");
}

#[test]
fn explain_is_a_map_in_resp3_and_works_in_scripts_and_on_replicas() {
    let world = World::new();
    world.register("k:", "keys", "INTERVAL 600000");
    let replica = Setup::new(&Mongod::shared().uri()).config("repl-diskless-sync-delay 0").start();
    replica.follow(&world.redis);
    world.redis.cmd(&["SET", "k:1", "x"]);
    let reply = command(&["WB.EXPLAIN", "k:1"]).query(&mut world.redis.connect_resp3());
    assert!(matches!(reply, Ok(Value::Map(_))), "{reply:?}");
    let script = "return redis.call('WB.EXPLAIN', KEYS[1])";
    let fields: Fields = world.redis.run(&["EVAL_RO", script, "1", "k:1"]);
    let shown = document(&fields);
    replica.wait_until_in_sync_with(&world.redis);
    assert_eq!(document(&explain(&replica, "k:1")), shown);
    assert_eq!(state(&replica, "k:1"), "dirty");
}

#[test]
fn command_getkeys_finds_the_key_of_explain() {
    let world = World::new();
    let keys: Vec<String> = world.redis.run(&["COMMAND", "GETKEYS", "WB.EXPLAIN", "k:1"]);
    assert_eq!(keys, ["k:1"]);
    let info = format!("{:?}", world.redis.cmd(&["COMMAND", "INFO", "WB.EXPLAIN"]));
    assert!(info.contains("readonly"), "{info}");
    world.redis.cmd(&["ACL", "SETUSER", "ann", "on", "nopass", "+wb.explain", "~k:*"]);
    let mut ann = world.redis.connect();
    command(&["AUTH", "ann", "x"]).exec(&mut ann).expect("AUTH");
    command(&["WB.EXPLAIN", "k:1"]).exec(&mut ann).expect("allowed");
    command(&["WB.EXPLAIN", "other"]).exec(&mut ann).expect_err("another key");
}
