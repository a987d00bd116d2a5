//! MongoDB with authentication: passwords, their rotation, and the errors when they are wrong.

use std::path::Path;
use std::time::{Duration, Instant};

use mongodb::bson::doc;

use testkit::comparison::Mapping;
use testkit::mongod::users::{Guarded, PASSWORD};
use testkit::mongod::{Mongod, TestDatabase};
use testkit::redis_server::{Redis, Setup};
use testkit::wait::{SOON, became, wait_until};

/// The time within which a link that cannot work must report its error.
const REPORTED_WITHIN: Duration = Duration::from_secs(10);

fn from_file(file: &Path) -> Setup {
    Setup::default()
        .setting("mongodb-uri-file", file.to_str().expect("path"))
        .setting("retry-backoff-max-ms", "500")
}

#[track_caller]
pub fn writes_succeed(redis: &Redis, database: &TestDatabase) {
    redis.cmd(&["WB.REGISTER", "k:", &database.namespace("keys")]);
    for i in 0..100 {
        redis.cmd(&["SET", &format!("k:{i}"), "x"]);
    }
    let flushed = redis.flush_with(&["TIMEOUT", "15000"]);
    assert_eq!(flushed.pending, 0, "{}", redis.status().text("link_error"));
    Mapping::by_id("k:").holds(redis, &database.collection("keys"));
}

/// The link is soon down with an error that contains `words`, Redis stays fast, and the log stays
/// short.
#[track_caller]
pub fn link_error_names(redis: &Redis, words: &[&str]) {
    redis.cmd(&["WB.REGISTER", "k:", "db.keys"]);
    let start = Instant::now();
    redis.cmd(&["SET", "k:1", "x"]);
    let is_down = became(REPORTED_WITHIN, || redis.status().text("link") == "down");
    let error = redis.status().text("link_error");
    assert!(is_down, "not down within {REPORTED_WITHIN:?}");
    println!("{:?}: {error}", start.elapsed());
    for word in words {
        assert!(error.contains(word), "{error:?} does not contain {word}");
    }
    let mut slowest = Duration::ZERO;
    while start.elapsed() < Duration::from_secs(5) {
        let before = Instant::now();
        redis.cmd(&["SET", "k:2", "x"]);
        slowest = slowest.max(before.elapsed());
        std::thread::sleep(Duration::from_millis(1));
    }
    assert!(slowest < Duration::from_secs(1), "one write took {slowest:?}");
    let log = redis.log();
    let lines: Vec<&str> = log.lines().filter(|line| line.contains("is not reached")).collect();
    assert!((1..=2).contains(&lines.len()), "{lines:#?}");
    assert_eq!((redis.status().int("dirty_keys"), redis.status().int("dead_letters")), (2, 0));
}

#[test]
fn passwords_of_any_characters_are_read_from_a_file_and_the_environment() {
    let guarded = Guarded::start();
    guarded.add_user("a%n:/@ user", PASSWORD);
    let uri = guarded.uri("a%n:/@ user", PASSWORD);
    let folder = tempfile::tempdir().expect("folder");
    let file = folder.path().join("uri");
    std::fs::write(&file, &uri).expect("file");
    writes_succeed(&from_file(&file).start(), &guarded.mongod.database());
    let redis = Setup::default().environment("WRITEBEHIND_MONGODB_URI", &uri).start();
    writes_succeed(&redis, &guarded.mongod.database());
}

#[test]
fn a_rotated_password_is_read_from_its_file_after_an_authentication_failure() {
    let mut guarded = Guarded::start();
    guarded.add_user("ann", "first");
    let folder = tempfile::tempdir().expect("folder");
    let file = folder.path().join("uri");
    std::fs::write(&file, guarded.uri("ann", "first")).expect("file");
    let redis = from_file(&file).start();
    let database = guarded.mongod.named_database("rotated");
    writes_succeed(&redis, &database);

    // Only new connections authenticate.
    guarded.set_password("ann", "second");
    guarded.mongod.stop();
    guarded.mongod.restart();
    redis.cmd(&["SET", "k:rotated", "x"]);
    wait_until("the old password is refused", SOON, || {
        redis.status().text("link_error").contains("authentication failed")
    });
    std::fs::write(&file, guarded.uri("ann", "second")).expect("file");
    let database = guarded.mongod.named_database("rotated");
    Mapping::by_id("k:").holds(&redis, &database.collection("keys"));
    assert_eq!(redis.status().text("link"), "up");
    assert_eq!(redis.status().int("dead_letters"), 0);
}

#[test]
fn a_wrong_password_is_reported() {
    let guarded = Guarded::start();
    guarded.add_user("ann", "right");
    let uri = guarded.uri("ann", "wrong");
    let redis = Setup::default().environment("WRITEBEHIND_MONGODB_URI", &uri).start();
    link_error_names(&redis, &["authentication failed"]);
}

#[test]
fn a_wrong_replica_set_is_reported() {
    let uri = Mongod::shared().uri().replace("replicaSet=rs", "replicaSet=another");
    link_error_names(&Setup::new(&uri).start(), &["replicaSet"]);
}

#[test]
fn missing_write_privileges_make_no_dead_letter_and_writing_continues_once_they_are_granted() {
    let guarded = Guarded::start();
    guarded.add_reader("ann", "pass");
    let uri = guarded.uri("ann", "pass");
    let redis = Setup::default()
        .setting("retry-backoff-max-ms", "500")
        .environment("WRITEBEHIND_MONGODB_URI", &uri)
        .start();
    let database = guarded.mongod.database();
    redis.cmd(&["WB.REGISTER", "k:", &database.namespace("keys")]);
    redis.cmd(&["SET", "k:1", "x"]);
    wait_until("the error is reported", SOON, || {
        redis.status().text("last_error").contains("readWrite")
    });
    assert_eq!((redis.status().int("dirty_keys"), redis.status().int("dead_letters")), (1, 0));
    let roles = ["readWriteAnyDatabase"];
    guarded.mongod.admin(doc! { "grantRolesToUser": "ann", "roles": roles });
    let keys = database.collection("keys");
    wait_until("it is written", SOON, || keys.count() == 1);
}

#[test]
fn missing_credentials_are_reported() {
    let guarded = Guarded::start();
    let redis = Setup::new(&guarded.mongod.uri()).start();
    redis.cmd(&["WB.REGISTER", "k:", "db.keys"]);
    redis.cmd(&["SET", "k:1", "x"]);
    wait_until("the error is reported", REPORTED_WITHIN, || {
        let error = redis.status().text("last_error");
        error.contains("may not write") || error.contains("authentication")
    });
    assert_eq!((redis.status().int("dirty_keys"), redis.status().int("dead_letters")), (1, 0));
}
