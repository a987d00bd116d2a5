//! Warnings about the set-up in the log and in WB.STATUS.

use std::os::unix::fs::PermissionsExt;

use testkit::fixture::World;
use testkit::mongod::unreachable_uri;
use testkit::redis_server::{Redis, Setup};
use testkit::wait::{SOON, wait_until};

/// Asserts that the log and WB.STATUS contain the words.
#[track_caller]
fn warns_of(redis: &Redis, word: &str) {
    assert!(redis.log().contains(word), "{}", redis.log());
    let status = format!("{:?}", redis.cmd(&["WB.STATUS"]));
    assert!(status.contains(word), "{status}");
}

#[test]
fn a_server_without_persistence_causes_a_warning() {
    warns_of(&Redis::start(&unreachable_uri()), "appendonly no");
}

#[test]
fn an_aof_without_the_rdb_preamble_causes_a_warning() {
    let setup = Setup::new(&unreachable_uri()).durable().config("aof-use-rdb-preamble no");
    warns_of(&setup.start(), "aof-use-rdb-preamble");
}

#[test]
fn a_server_with_an_aof_causes_no_warning() {
    let redis = Setup::new(&unreachable_uri()).durable().start();
    let status = format!("{:?}", redis.cmd(&["WB.STATUS"]));
    assert!(!status.contains("preamble") && !status.contains("appendonly"), "{status}");
    assert!(!redis.log().contains("a crash forgets"), "{}", redis.log());
}

#[test]
fn a_prefix_with_a_star_causes_a_warning() {
    let redis = Redis::start(&unreachable_uri());
    redis.cmd(&["WB.REGISTER", "movie:", "db.movies"]);
    assert!(!redis.status().text("warning").contains("wildcard"));
    redis.cmd(&["WB.REGISTER", "movie:*", "db.stars"]);
    warns_of(&redis, "prefix 'movie:*' of database 0 has a * that is no wildcard");
    redis.cmd(&["WB.UNREGISTER", "movie:*"]);
    assert!(!redis.status().text("warning").contains("wildcard"));
}

#[test]
fn a_minimum_backoff_above_the_maximum_causes_a_warning_at_load() {
    let setup = Setup::new(&unreachable_uri()).setting("retry-backoff-min-ms", "20000");
    let log = setup.start().log();
    assert!(log.contains("retry-backoff-min-ms, 20000, is above"), "{log}");
}

#[test]
fn a_world_readable_password_file_causes_a_warning() {
    let folder = tempfile::tempdir().expect("folder");
    let file = folder.path().join("uri");
    let path = file.to_str().expect("path");
    let set_mode = |mode| {
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(mode)).expect("mode");
    };
    std::fs::write(&file, unreachable_uri().replace("//", "//ann:s3cret@")).expect("file");
    set_mode(0o644);
    let redis = Setup::default().setting("mongodb-uri-file", path).start();
    warns_of(&redis, "can read the password in mongodb-uri-file");
    let hidden = folder.path().join("hidden");
    let hidden = hidden.to_str().expect("path");
    std::fs::copy(path, hidden).expect("copy");
    std::fs::set_permissions(hidden, std::fs::Permissions::from_mode(0o640)).expect("mode");
    redis.cmd(&["CONFIG", "SET", "writebehind.mongodb-uri-file", hidden]);
    assert!(!redis.status().text("warning").contains("password"));
    // Without a password there is no warning.
    std::fs::write(&file, unreachable_uri()).expect("file");
    set_mode(0o644);
    redis.cmd(&["CONFIG", "SET", "writebehind.mongodb-uri-file", path]);
    assert!(!redis.status().text("warning").contains("password"));
}

#[test]
fn a_prefix_forges_no_line_of_the_log_and_speaks_to_no_terminal() {
    let world = World::new();
    let prefix = "x\u{1b}[31m\nforged\u{202e}:";
    let namespace = world.database.namespace("numbers");
    world.redis.cmd(&["WB.REGISTER", prefix, &namespace, "SCHEMA", "year", "INT64"]);
    world.redis.cmd(&["HSET", &format!("{prefix}1"), "year", "soon"]);
    assert_eq!(world.redis.flush().failed, 1);
    wait_until("it is logged", SOON, || world.redis.log().contains("dead letters now"));
    let shown = "'x\\x1b[31m\\nforged\\xe2\\x80\\xae:'";
    let texts = [world.redis.status().text("warning"), world.redis.log()];
    for text in texts.iter().chain([&world.redis.error(&["WB.STATUS", &prefix[1..]])]) {
        assert!(text.contains(&shown[2..]), "{text}");
        assert!(!text.contains(['\u{1b}', '\u{202e}']) && !text.contains("\nforged"), "{text}");
    }
}
