//! Settings of the server under which a crash forgets what is dirty are told at load and in
//! WB.STATUS.

use crate::support::mongod::nowhere;
use crate::support::redis_server::{Redis, Setup};

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
