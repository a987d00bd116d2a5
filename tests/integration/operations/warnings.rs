//! What an operator should know of the set-up is told in the log and in WB.STATUS.

use std::os::unix::fs::PermissionsExt;

use testkit::mongod::nowhere;
use testkit::redis_server::{Redis, Setup};

/// A word that stands both in the log and in WB.STATUS.
#[track_caller]
fn warns_of(redis: &Redis, word: &str) {
    assert!(redis.log().contains(word), "{}", redis.log());
    let status = format!("{:?}", redis.cmd(&["WB.STATUS"]));
    assert!(status.contains(word), "{status}");
}

#[test]
fn a_server_that_keeps_nothing_on_disk_is_warned_of() {
    warns_of(&Redis::start(&nowhere()), "appendonly no");
}

#[test]
fn an_aof_without_the_rdb_preamble_is_warned_of() {
    let setup = Setup::new(&nowhere()).durable().config("aof-use-rdb-preamble no");
    warns_of(&setup.start(), "aof-use-rdb-preamble");
}

#[test]
fn a_durable_server_is_not_warned_of() {
    let redis = Setup::new(&nowhere()).durable().start();
    let status = format!("{:?}", redis.cmd(&["WB.STATUS"]));
    assert!(!status.contains("preamble") && !status.contains("appendonly"), "{status}");
    assert!(!redis.log().contains("a crash forgets"), "{}", redis.log());
}

#[test]
fn a_prefix_with_a_star_is_warned_of() {
    let redis = Redis::start(&nowhere());
    redis.cmd(&["WB.REGISTER", "movie:", "db.movies"]);
    assert!(!redis.status().text("warning").contains("wildcard"));
    redis.cmd(&["WB.REGISTER", "movie:*", "db.stars"]);
    warns_of(&redis, "prefix 'movie:*' of database 0 has a * that is no wildcard");
    redis.cmd(&["WB.UNREGISTER", "movie:*"]);
    assert!(!redis.status().text("warning").contains("wildcard"));
}

#[test]
fn cluster_mode_is_warned_of() {
    warns_of(&Setup::new(&nowhere()).config("cluster-enabled yes").start(), "cluster mode");
    assert!(!Redis::start(&nowhere()).log().contains("cluster mode"));
}

#[test]
fn pauses_that_do_not_fit_are_warned_of_at_load() {
    let setup = Setup::new(&nowhere()).setting("retry-backoff-min-ms", "20000");
    let log = setup.start().log();
    assert!(log.contains("retry-backoff-min-ms, 20000, is above"), "{log}");
}

#[test]
fn a_password_file_that_everybody_can_read_is_warned_of() {
    let folder = tempfile::tempdir().expect("folder");
    let file = folder.path().join("uri");
    let path = file.to_str().expect("path");
    let set_mode = |mode| {
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(mode)).expect("mode");
    };
    std::fs::write(&file, nowhere().replace("//", "//ann:s3cret@")).expect("file");
    set_mode(0o644);
    let redis = Setup::default().setting("mongodb-uri-file", path).start();
    warns_of(&redis, "can read the password in mongodb-uri-file");
    let hidden = folder.path().join("hidden");
    let hidden = hidden.to_str().expect("path");
    std::fs::copy(path, hidden).expect("copy");
    std::fs::set_permissions(hidden, std::fs::Permissions::from_mode(0o640)).expect("mode");
    redis.cmd(&["CONFIG", "SET", "writebehind.mongodb-uri-file", hidden]);
    assert!(!redis.status().text("warning").contains("password"));
    // Without a password there is nothing to hide.
    std::fs::write(&file, nowhere()).expect("file");
    set_mode(0o644);
    redis.cmd(&["CONFIG", "SET", "writebehind.mongodb-uri-file", path]);
    assert!(!redis.status().text("warning").contains("password"));
}
