//! Errors are reported as long as they last: in the reply of WB.FLUSH, `last_error`, `warning`,
//! INFO and the log.

use mongodb::bson::doc;

use testkit::fixture::{World, connect_mongodb};
use testkit::mongod::major_version;
use testkit::mongod::unreachable_uri;
use testkit::redis_server::reply::Fields;
use testkit::redis_server::{Redis, Setup};
use testkit::wait::{SOON, wait_until};

/// A value that no message may contain.
const SECRET: &str = "swordfish";

fn flush_fields(redis: &Redis, arguments: &[&str]) -> Fields {
    redis.run(&[&["WB.FLUSH"], arguments].concat())
}

/// Lines of the log that contain the text.
fn logged(redis: &Redis, text: &str) -> usize {
    redis.log().lines().filter(|line| line.contains(text)).count()
}

fn info_number(redis: &Redis, field: &str) -> i64 {
    let info: String = redis.run(&["INFO", "writebehind"]);
    let line = info.lines().find_map(|line| line.strip_prefix(&format!("writebehind_{field}:")));
    line.and_then(|number| number.trim().parse().ok()).unwrap_or_else(|| panic!("{field}: {info}"))
}

#[test]
fn a_flush_reports_why_keys_are_pending() {
    let redis = Redis::start(&unreachable_uri());
    redis.cmd(&["WB.REGISTER", "k:", "db.keys"]);
    redis.cmd(&["WB.REGISTER", "p:", "db.others"]);
    assert_eq!(flush_fields(&redis, &[]).text("error"), "");
    redis.cmd(&["MSET", "k:1", "a", "p:1", "b"]);
    wait_until("the link is down", SOON, || redis.status().text("link") == "down");
    for arguments in [&["TIMEOUT", "1"][..], &["k:", "TIMEOUT", "1"]] {
        let reply = flush_fields(&redis, arguments);
        assert_eq!(reply.text("error"), redis.status().text("link_error"), "{arguments:?}");
        assert!(reply.text("error").contains("refused"), "{}", reply.text("error"));
    }
    let reply = flush_fields(&redis, &["KEYS", "1", "k:1", "TIMEOUT", "1"]);
    assert!(reply.text("error").contains("refused"), "{}", reply.text("error"));
    redis.cmd(&["WB.PAUSE", "p:"]);
    assert!(flush_fields(&redis, &["p:", "TIMEOUT", "1"]).text("error").contains("WB.RESUME"));
    assert!(flush_fields(&redis, &["TIMEOUT", "1"]).text("error").contains("refused"));
    let script: Fields = redis.run(&["EVAL", "return redis.call('WB.FLUSH')", "0"]);
    assert!(script.text("error").contains("refused"), "{}", script.text("error"));
    connect_mongodb(&redis);
    redis.cmd(&["WB.RESUME"]);
    let reply = flush_fields(&redis, &[]);
    assert_eq!((reply.int("pending"), reply.text("error").as_str()), (0, ""));
}

#[test]
fn a_resolved_error_is_no_longer_reported() {
    let world = World::without_mongodb(|setup| setup);
    let redis = &world.redis;
    world.register("k:", "keys", "");
    world.register("idle:", "others", "");
    redis.cmd(&["SET", "k:1", "a"]);
    let explained = |key: &str| redis.run::<Fields>(&["WB.EXPLAIN", key]).text("last_error");
    wait_until("the error is reported", SOON, || {
        redis.status_of("k:").text("last_error").contains("refused")
    });
    assert!(redis.status().text("last_error").contains("refused"));
    assert!(explained("k:1").contains("refused"));
    assert_eq!(redis.status_of("idle:").text("last_error"), "", "none of its keys waits");
    assert_eq!(explained("idle:1"), "");
    world.connect_mongodb();
    redis.flush();
    assert_eq!(redis.status().text("last_error"), "");
    assert_eq!(redis.status_of("k:").text("last_error"), "");
    assert_eq!(explained("k:1"), "");
}

#[test]
fn a_namespace_that_backs_off_is_logged_once_until_it_accepts_writes_again() {
    let world = World::with(|setup| {
        setup.setting("retry-backoff-min-ms", "5").setting("retry-backoff-max-ms", "50")
    });
    let redis = &world.redis;
    world.database.run(doc! { "create": "view", "viewOn": "films", "pipeline": [] });
    world.register("v:", "view", "");
    world.register("k:", "keys", "");
    redis.cmd(&["SET", "v:1", SECRET]);
    wait_until("it is retried often", SOON, || redis.status().int("retries_total") > 5);
    redis.cmd(&["SET", "k:1", "x"]);
    assert_eq!(redis.flush_with(&["k:"]).persisted, 1);
    let status = redis.status();
    assert_eq!((status.int("resting"), info_number(redis, "resting")), (1, 1));
    for text in [status.text("warning"), status.text("last_error"), redis.log()] {
        assert!(text.contains("it is a view"), "{text}");
    }
    assert!(status.text("warning").contains("prefix 'v:' of database 0 backs off"));
    assert!(flush_fields(redis, &["v:", "TIMEOUT", "1"]).text("error").contains("it is a view"));
    assert_eq!(redis.status_of("k:").text("last_error"), "");
    world.database.run(doc! { "drop": "view" });
    redis.flush();
    wait_until("it no longer backs off", SOON, || redis.status().int("resting") == 0);
    assert_eq!(redis.status().text("last_error"), "");
    assert!(!redis.status().text("warning").contains("backs off"));
    assert_eq!(logged(redis, "backs off and is not written"), 1, "{}", redis.log());
    assert!(!redis.log().contains(SECRET));
}

#[test]
fn dead_letters_are_logged_once_a_minute_and_name_properties_only() {
    let world = World::new();
    let redis = &world.redis;
    let schema = doc! {
        "bsonType": "object",
        "required": ["title"],
        "properties": { "year": { "bsonType": "string", "pattern": "^[0-9]+$" } },
    };
    world.database.run(doc! { "create": "films", "validator": { "$jsonSchema": schema } });
    world.register("f:", "films", "");
    for film in ["f:1", "f:2", "f:3"] {
        redis.cmd(&["HSET", film, "year", SECRET]);
        assert_eq!(redis.flush().pending, 0);
    }
    let status = redis.status();
    assert_eq!((status.int("dead_letters"), info_number(redis, "dead_letters")), (3, 3));
    let listed = format!("{:?}", redis.cmd(&["WB.DEADLETTER", "LIST"]));
    for text in [&listed, &status.text("warning"), &status.text("last_error"), &redis.log()] {
        // MongoDB 4.4 does not report the properties.
        let named = text.contains("year (pattern)") && text.contains("title (required)");
        assert_eq!(named, major_version() >= 5, "{text}");
        assert!(text.contains("schema validation"), "{text}");
        assert!(!text.contains(SECRET), "{text}");
    }
    assert!(status.text("warning").contains("prefix 'f:' of database 0 has 3 dead letters"));
    assert_eq!(logged(redis, "are dead letters now"), 1, "{}", redis.log());
    redis.cmd(&["HSET", "f:1", "title", "Alien", "year", "1979"]);
    redis.cmd(&["WB.DEADLETTER", "DROP", "KEY", "f:2"]);
    redis.flush();
    assert!(redis.status_of("f:").text("last_error").contains("schema validation"), "f:3 is left");
    redis.cmd(&["DEL", "f:3"]);
    redis.flush();
    let status = redis.status();
    assert_eq!((status.int("dead_letters"), status.text("last_error").as_str()), (0, ""));
    assert!(!status.text("warning").contains("dead letters"), "{}", status.text("warning"));
}

#[test]
fn the_reason_of_a_dead_letter_survives_a_restart() {
    let world = World::with(Setup::durable);
    world.register("k:", "keys", "KEY _id AS INT64");
    world.redis.cmd(&["SET", "k:no-number", SECRET]);
    world.redis.flush();
    let World { mut redis, .. } = world;
    redis.restart();
    let status = redis.status();
    assert!(status.text("last_error").contains("suffix"), "{}", status.text("last_error"));
    assert!(status.text("warning").contains("has 1 dead letters"), "{}", status.text("warning"));
}
