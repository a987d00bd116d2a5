//! Who is killed, and when.

use std::time::Duration;

use super::stage::{Mongods, Stage};
use crate::wait::{SOON, became, wait_until};

/// Microseconds that saving one key takes, so that there is time to kill in.
const SAVE_DELAY_US: &str = "300";
/// The same for loading one key or command.
const LOAD_DELAY_US: &str = "100";

/// A way in which a round goes wrong.
#[derive(Clone, Copy)]
pub struct Scenario {
    pub name: &'static str,
    pub play: fn(&mut Stage, &mut Mongods),
    /// Whether it kills or stops MongoDB, and so needs one of its own.
    pub on_victim: bool,
}

const fn steady(name: &'static str, play: fn(&mut Stage, &mut Mongods)) -> Scenario {
    Scenario { name, play, on_victim: false }
}

const fn victim(name: &'static str, play: fn(&mut Stage, &mut Mongods)) -> Scenario {
    Scenario { name, play, on_victim: true }
}

pub const ALL: [Scenario; 9] = [
    steady("redis-kill", redis_kill),
    victim("mongod-kill", mongod_kill),
    steady("after-ack", after_ack),
    victim("mongod-stop", mongod_stop),
    steady("bgsave", bgsave),
    victim("both", both),
    victim("rewrite", rewrite),
    steady("loading", loading),
    steady("failover", failover),
];

/// `kill -9` at a random moment, once or twice.
fn redis_kill(stage: &mut Stage, _: &mut Mongods) {
    for _ in 0..stage.rng.u32(1..3) {
        stage.write();
        stage.go_on(20, 500);
        stage.kill();
        stage.start_again();
    }
    write_a_little(stage);
}

/// `kill -9` of mongod while writes go on.
fn mongod_kill(stage: &mut Stage, mongods: &mut Mongods) {
    stage.write();
    stage.go_on(50, 400);
    mongods.victim().kill();
    stage.go_on(0, 200);
    mongods.victim().start_again();
}

/// MongoDB stands still: its batches are given up and run later. Every other time Redis is
/// killed meanwhile.
fn mongod_stop(stage: &mut Stage, mongods: &mut Mongods) {
    stage.write();
    stage.go_on(50, 300);
    mongods.victim().freeze();
    stage.go_on(0, 400);
    if stage.rng.bool() {
        stage.kill();
        stage.start_again();
        stage.write();
        stage.go_on(0, 300);
    }
    mongods.victim().thaw();
    stage.go_on(0, 200);
}

/// `kill -9` of both, one shortly after the other.
fn both(stage: &mut Stage, mongods: &mut Mongods) {
    stage.write();
    stage.go_on(50, 400);
    if stage.rng.bool() {
        mongods.victim().kill();
        stage.go_on(0, 100);
        stage.kill();
    } else {
        stage.kill();
        mongods.victim().kill();
    }
    stage.start_again();
    write_a_little(stage);
    mongods.victim().start_again();
}

/// `kill -9` during BGSAVE or shortly after it.
fn bgsave(stage: &mut Stage, _: &mut Mongods) {
    stage.redis.cmd(&["CONFIG", "SET", "rdb-key-save-delay", SAVE_DELAY_US]);
    stage.write();
    stage.go_on(50, 400);
    stage.redis.cmd(&["BGSAVE"]);
    stage.go_on(0, 250);
    stage.kill();
    stage.start_again();
    write_a_little(stage);
}

/// `kill -9` during BGREWRITEAOF or shortly after it. Every other time MongoDB stands still and
/// nobody writes, so that what was dirty before it must be dirty after the restart.
fn rewrite(stage: &mut Stage, mongods: &mut Mongods) {
    stage.redis.cmd(&["CONFIG", "SET", "rdb-key-save-delay", SAVE_DELAY_US]);
    stage.write();
    stage.go_on(50, 300);
    let frozen = stage.rng.bool();
    if frozen {
        mongods.victim().freeze();
        stage.go_on(0, 50);
        stage.stop_writing();
    }
    stage.redis.cmd(&["BGREWRITEAOF"]);
    stage.go_on(0, 400);
    stage.kill();
    stage.start_again();
    write_a_little(stage);
    if frozen {
        mongods.victim().thaw();
    }
}

/// `kill -9` while the AOF is loaded, and the same again after that.
fn loading(stage: &mut Stage, _: &mut Mongods) {
    stage.write();
    stage.go_on(50, 300);
    if stage.rng.bool() {
        stage.redis.cmd(&["BGREWRITEAOF"]);
        stage.go_on(0, 200);
    }
    stage.kill();
    for _ in 0..2 {
        stage.redis.begin_again(&["--key-load-delay", LOAD_DELAY_US]);
        wait_until("it listens", SOON, || stage.redis.try_connect("").is_ok());
        stage.go_on(0, 150);
        stage.redis.kill();
    }
    stage.start_again();
    write_a_little(stage);
}

/// A replica takes over from a master that was killed.
fn failover(stage: &mut Stage, _: &mut Mongods) {
    stage.add_replica();
    stage.write();
    stage.go_on(50, 400);
    stage.kill();
    let replica = stage.replica.as_ref().expect("a replica");
    // By then it has taken in everything that the master sent.
    wait_until("the replica misses its master", SOON, || !replica.is_linked());
    stage.promote();
    write_a_little(stage);
}

/// `kill -9` when MongoDB has acknowledged and we have not: while writes are paused, keys are
/// read and sent, and acknowledgements have to wait.
fn after_ack(stage: &mut Stage, _: &mut Mongods) {
    stage.redis.cmd(&["CONFIG", "SET", "writebehind.flush-interval-ms", "100"]);
    stage.write();
    stage.go_on(50, 300);
    // The writers wait for the end of the pause, which never comes.
    stage.redis.cmd(&["CLIENT", "PAUSE", "60000", "WRITE"]);
    became(Duration::from_millis(500), || {
        stage.redis.status().int("dirty_keys") == stage.redis.status().int("in_flight_keys")
    });
    stage.go_on(0, 100);
    stage.kill();
    stage.start_again();
    write_a_little(stage);
}

/// Every other time, writes go on after the restart.
fn write_a_little(stage: &mut Stage) {
    if stage.rng.bool() {
        stage.write();
        stage.go_on(10, 150);
    }
}
