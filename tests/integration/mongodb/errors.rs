//! Each kind of error reply of MongoDB, produced by the fail point `failCommand`.

use mongodb::bson::{Document, doc};

use testkit::comparison::Mapping;
use testkit::mongod::{Mongod, MongodSetup};
use testkit::redis_server::{Redis, Setup};
use testkit::wait::{SOON, wait_until};

/// All commands that the module writes with.
const WRITES: [&str; 4] = ["update", "delete", "insert", "commitTransaction"];

/// Codes of transient errors: no primary, shutdown, network, write conflict, time limit, cache.
const TRANSIENT: [i32; 18] = [
    6, 7, 24, 50, 89, 91, 112, 133, 189, 262, 365, 388, 9001, 10_107, 11_600, 11_602, 13_435,
    13_436,
];

/// Redis, and a MongoDB with fail points.
struct Stage {
    mongod: Mongod,
    redis: Redis,
    round: i64,
}

impl Stage {
    fn new() -> Self {
        let mongod = MongodSetup::replica_set().failpoints().start();
        let redis = Setup::new(&mongod.uri())
            .setting("retry-backoff-min-ms", "5")
            .setting("retry-backoff-max-ms", "50")
            .start();
        let namespace = mongod.named_database("errors").namespace("keys");
        redis.cmd(&["WB.REGISTER", "k:", &namespace, "INTERVAL", "0"]);
        let mut stage = Self { mongod, redis, round: 0 };
        stage.write();
        stage.all_written("none");
        stage
    }

    /// Creates, changes and deletes keys.
    fn write(&mut self) {
        self.round += 1;
        let round = self.round.to_string();
        for i in 0..10 {
            self.redis.cmd(&["SET", &format!("k:{i}"), &round]);
        }
        self.redis.cmd(&["SET", &format!("k:new {round}"), &round]);
        self.redis.cmd(&["DEL", &format!("k:new {}", self.round - 1)]);
    }

    #[track_caller]
    fn all_written(&self, case: &str) {
        let flushed = self.redis.flush_with(&["TIMEOUT", "20000"]);
        let status = self.redis.status();
        assert_eq!(
            (flushed.pending, flushed.failed, status.int("dead_letters")),
            (0, 0, 0),
            "{case}: {}",
            status.text("last_error")
        );
        let keys = self.mongod.named_database("errors").collection("keys");
        let differences = Mapping::by_id("k:").differences(&mut self.redis.connection(), &keys);
        assert!(differences.is_empty(), "{case}: {differences:?}");
        assert_eq!(status.text("link"), "up", "{case}: {}", status.text("link_error"));
    }

    /// Each of the commands fails twice that way and all keys are written; returns whether any
    /// failed.
    #[track_caller]
    fn recovers(&mut self, commands: &[&str], how: &Document) -> bool {
        let case = format!("{commands:?} {how}");
        let before = self.mongod.stop_failing();
        self.mongod.fail_next(2, commands, how.clone());
        self.write();
        self.all_written(&case);
        self.mongod.stop_failing() > before
    }
}

/// The case for every command alone and for all together. At least one must have failed.
#[track_caller]
fn recovers_on_each_command(stage: &mut Stage, how: &Document) {
    for command in WRITES {
        stage.recovers(&[command], how);
    }
    assert!(stage.recovers(&WRITES, how), "no command failed with {how}");
}

#[test]
fn transient_errors_make_no_dead_letter() {
    let mut stage = Stage::new();
    for code in TRANSIENT {
        recovers_on_each_command(&mut stage, &doc! { "errorCode": code });
    }
}

#[test]
fn broken_connections_make_no_dead_letter() {
    let mut stage = Stage::new();
    recovers_on_each_command(&mut stage, &doc! { "closeConnection": true });
}

#[test]
fn writes_with_a_write_concern_error_are_retried() {
    let mut stage = Stage::new();
    for code in [64, 91, 100, 11_602] {
        let error = doc! { "code": code, "errmsg": "injected" };
        recovers_on_each_command(&mut stage, &doc! { "writeConcernError": error });
    }
    assert!(stage.redis.status().int("retries_total") > 0);
}

#[test]
fn unknown_errors_of_a_whole_command_make_no_dead_letter() {
    let mut stage = Stage::new();
    for code in [9_999_999, 8, 121, 11_000, 225, 251, 263] {
        recovers_on_each_command(&mut stage, &doc! { "errorCode": code });
    }
}

#[test]
fn errors_that_need_the_operator_are_reported_and_make_no_dead_letter() {
    let mut stage = Stage::new();
    for (code, word) in [(18, "authentication"), (13, "may not write")] {
        stage.mongod.fail_always(&WRITES, doc! { "errorCode": code });
        stage.write();
        wait_until("the error is reported", SOON, || {
            stage.redis.status().text("last_error").contains(word)
        });
        let status = stage.redis.status();
        assert_eq!(status.int("dead_letters"), 0, "{code}");
        assert!(status.int("dirty_keys") > 0, "{code}");
        stage.mongod.stop_failing();
        stage.all_written(&format!("code {code}"));
    }
}
