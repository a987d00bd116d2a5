//! CONFIG GET and SET, `loadmodule` arguments, and the sources of the URI.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use testkit::mongod::{Mongod, unreachable_uri};
use testkit::redis_server::{Redis, Setup};
use testkit::wait::{SOON, wait_until};

const DEFAULTS: [(&str, &str); 12] = [
    ("mongodb-uri-file", ""),
    ("registrations-file", ""),
    ("flush-interval-ms", "100"),
    ("batch-max-keys", "1000"),
    ("batch-max-bytes", "8388608"),
    ("max-in-flight-batches", "2"),
    ("read-slice-us", "500"),
    ("retry-backoff-min-ms", "50"),
    ("retry-backoff-max-ms", "10000"),
    ("write-timeout-ms", "10000"),
    ("shutdown-drain-ms", "5000"),
    ("mongodb-uri", "mongodb://127.0.0.1:27017"),
];

fn setting(redis: &Redis, name: &str) -> String {
    let pair: Vec<String> = redis.run(&["CONFIG", "GET", &format!("writebehind.{name}")]);
    assert_eq!(pair.len(), 2, "no setting {name}");
    pair[1].clone()
}

/// Writes a key, and waits for its document in a database of the shared MongoDB.
fn writes_succeed(redis: &Redis) {
    let database = Mongod::shared().database();
    redis.cmd(&["WB.REGISTER", "k:", &database.namespace("keys")]);
    redis.cmd(&["SET", "k:1", "x"]);
    let keys = database.collection("keys");
    wait_until("the key is written", SOON, || keys.count() == 1);
}

#[test]
fn every_setting_has_its_default() {
    let redis = Setup::default().start();
    for (name, value) in DEFAULTS {
        assert_eq!(setting(&redis, name), value, "{name}");
    }
}

#[test]
fn settings_can_be_changed_at_runtime() {
    let redis = Redis::start(&unreachable_uri());
    for (name, _) in &DEFAULTS[2..11] {
        let other = match *name {
            "batch-max-bytes" => "1048576",
            "write-timeout-ms" => "600",
            _ => "60",
        };
        redis.cmd(&["CONFIG", "SET", &format!("writebehind.{name}"), other]);
        assert_eq!(setting(&redis, name), other);
    }
}

#[test]
fn a_setting_out_of_range_is_refused() {
    let redis = Redis::start(&unreachable_uri());
    for (name, default) in &DEFAULTS[2..11] {
        for bad in ["-1", "many", ""] {
            redis.error(&["CONFIG", "SET", &format!("writebehind.{name}"), bad]);
        }
        assert_eq!(setting(&redis, name), *default, "{name}");
    }
    for name in ["batch-max-keys", "batch-max-bytes", "max-in-flight-batches"] {
        redis.error(&["CONFIG", "SET", &format!("writebehind.{name}"), "0"]);
    }
}

#[test]
fn settings_are_read_from_the_loadmodule_line() {
    let redis = Setup::new(&Mongod::shared().uri())
        .setting("flush-interval-ms", "7")
        .setting("batch-max-keys", "3")
        .start();
    assert_eq!(setting(&redis, "flush-interval-ms"), "7");
    assert_eq!(setting(&redis, "batch-max-keys"), "3");
    assert_eq!(setting(&redis, "mongodb-uri"), Mongod::shared().uri());
    writes_succeed(&redis);
}

#[test]
fn settings_are_read_from_lines_of_the_configuration_file() {
    let redis = Setup::default()
        .config(&format!("writebehind.mongodb-uri {}", Mongod::shared().uri()))
        .config("writebehind.flush-interval-ms 7")
        .start();
    assert_eq!(setting(&redis, "flush-interval-ms"), "7");
    writes_succeed(&redis);
}

#[test]
fn config_rewrite_keeps_what_was_set() {
    let mut redis = Redis::start(&Mongod::shared().uri());
    redis.cmd(&["CONFIG", "SET", "writebehind.flush-interval-ms", "33"]);
    redis.cmd(&["CONFIG", "REWRITE"]);
    redis.kill();
    redis.restart();
    assert_eq!(setting(&redis, "flush-interval-ms"), "33");
    assert_eq!(setting(&redis, "mongodb-uri"), Mongod::shared().uri());
}

#[test]
fn the_uri_can_be_changed_at_runtime() {
    let redis = Redis::start(&unreachable_uri());
    let database = Mongod::shared().database();
    redis.cmd(&["WB.REGISTER", "k:", &database.namespace("keys")]);
    redis.cmd(&["MSET", "k:1", "a", "k:2", "b"]);
    wait_until("the link is down", SOON, || redis.status().text("link") == "down");
    redis.cmd(&["CONFIG", "SET", "writebehind.mongodb-uri", &Mongod::shared().uri()]);
    let keys = database.collection("keys");
    wait_until("the backlog is written", SOON, || keys.count() == 2);
}

#[test]
fn the_uri_may_come_from_a_file_and_is_never_shown() {
    let folder = tempfile::tempdir().expect("folder");
    let file = folder.path().join("uri");
    // An option with a secret value in place of a password, because this MongoDB has no users.
    let uri = format!("{}&appName=s3cret\n", Mongod::shared().uri());
    std::fs::write(&file, uri).expect("file");
    let redis = Setup::default().setting("mongodb-uri-file", file.to_str().expect("path")).start();
    writes_succeed(&redis);
    let everything = [
        redis.log(),
        format!("{:?}", redis.cmd(&["CONFIG", "GET", "writebehind.*"])),
        format!("{:?}", redis.cmd(&["WB.STATUS"])),
        redis.run(&["INFO", "everything"]),
    ];
    assert!(!everything.concat().contains("s3cret"));
}

#[test]
fn the_password_in_a_uri_file_is_never_shown() {
    let folder = tempfile::tempdir().expect("folder");
    let file = folder.path().join("uri");
    std::fs::write(&file, unreachable_uri().replace("//", "//ann:s3cret@")).expect("file");
    let redis = Setup::default().setting("mongodb-uri-file", file.to_str().expect("path")).start();
    redis.cmd(&["WB.REGISTER", "k:", "db.keys"]);
    redis.cmd(&["SET", "k:1", "x"]);
    wait_until("the link is down", SOON, || redis.status().text("link") == "down");
    let everything = [
        redis.log(),
        format!("{:?}", redis.cmd(&["CONFIG", "GET", "writebehind.*"])),
        format!("{:?}", redis.cmd(&["WB.STATUS"])),
        format!("{:?}", redis.cmd(&["SLOWLOG", "GET"])),
        redis.run(&["INFO", "everything"]),
    ];
    assert!(!everything.concat().contains("s3cret"));
}

#[test]
fn the_uri_may_come_from_the_environment() {
    let redis =
        Setup::default().environment("WRITEBEHIND_MONGODB_URI", Mongod::shared().uri()).start();
    writes_succeed(&redis);
}

#[test]
fn space_around_the_uri_is_trimmed_for_every_source() {
    let uri = format!(" {}\n", Mongod::shared().uri());
    writes_succeed(&Setup::default().environment("WRITEBEHIND_MONGODB_URI", &uri).start());
    let redis = Redis::start(&unreachable_uri());
    redis.cmd(&["CONFIG", "SET", "writebehind.mongodb-uri", &uri]);
    assert_eq!(setting(&redis, "mongodb-uri"), uri.trim());
    writes_succeed(&redis);
    let blank = Setup::new(&Mongod::shared().uri()).environment("WRITEBEHIND_MONGODB_URI", " \n");
    writes_succeed(&blank.start());
}

#[test]
fn a_uri_in_the_environment_that_is_not_utf_8_is_refused() {
    let value = OsStr::from_bytes(b"mongodb://\xff");
    let setup = Setup::default().environment("WRITEBEHIND_MONGODB_URI", value);
    let log = setup.try_start().err().expect("the server must not start");
    assert!(log.contains("WRITEBEHIND_MONGODB_URI: the connection string must be UTF-8"), "{log}");
}

#[test]
fn a_minimum_backoff_above_the_maximum_is_refused() {
    let redis = Redis::start(&unreachable_uri());
    let (min, max) = ("writebehind.retry-backoff-min-ms", "writebehind.retry-backoff-max-ms");
    for words in [[min, "10001"].as_slice(), &[max, "49"], &[min, "7", max, "6"]] {
        let error = redis.error(&[&["CONFIG", "SET"], words].concat());
        assert!(error.contains("retry-backoff-min-ms") && error.contains("above"), "{error}");
        assert_eq!(setting(&redis, "retry-backoff-min-ms"), "50", "{words:?}");
        assert_eq!(setting(&redis, "retry-backoff-max-ms"), "10000", "{words:?}");
    }
    // Set in one command they are valid, in either order.
    redis.cmd(&["CONFIG", "SET", min, "20000", max, "30000"]);
    redis.cmd(&["CONFIG", "SET", max, "40", min, "30"]);
    assert_eq!(setting(&redis, "retry-backoff-min-ms"), "30");
}
