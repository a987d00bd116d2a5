//! Which process is killed, and when.

use std::time::Duration;

use super::stage::{Mongods, Stage};
use crate::wait::{SOON, became, wait_until};

/// Microseconds that saving one key takes, so that the kill falls into the save.
const SAVE_DELAY_US: &str = "300";
/// The same for loading a key or a command.
const LOAD_DELAY_US: &str = "100";

/// A kind of failure.
#[derive(Clone, Copy)]
pub struct Scenario {
    pub name: &'static str,
    pub play: fn(&mut Stage, &mut Mongods),
    /// True if it kills or suspends MongoDB, and so needs a private one.
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
        stage.run_for(20, 500);
        stage.kill();
        stage.restart();
    }
    maybe_write(stage);
}

/// `kill -9` of mongod while writes continue.
fn mongod_kill(stage: &mut Stage, mongods: &mut Mongods) {
    stage.write();
    stage.run_for(50, 400);
    mongods.victim().kill();
    stage.run_for(0, 200);
    mongods.victim().restart();
}

/// MongoDB is suspended: batches time out and are executed later. Every other time Redis is killed
/// meanwhile.
fn mongod_stop(stage: &mut Stage, mongods: &mut Mongods) {
    stage.write();
    stage.run_for(50, 300);
    mongods.victim().freeze();
    stage.run_for(0, 400);
    if stage.rng.bool() {
        stage.kill();
        stage.restart();
        stage.write();
        stage.run_for(0, 300);
    }
    mongods.victim().thaw();
    stage.run_for(0, 200);
}

/// `kill -9` of both, one shortly after the other.
fn both(stage: &mut Stage, mongods: &mut Mongods) {
    stage.write();
    stage.run_for(50, 400);
    if stage.rng.bool() {
        mongods.victim().kill();
        stage.run_for(0, 100);
        stage.kill();
    } else {
        stage.kill();
        mongods.victim().kill();
    }
    stage.restart();
    maybe_write(stage);
    mongods.victim().restart();
}

/// `kill -9` during BGSAVE or shortly after it.
fn bgsave(stage: &mut Stage, _: &mut Mongods) {
    stage.redis.cmd(&["CONFIG", "SET", "rdb-key-save-delay", SAVE_DELAY_US]);
    stage.write();
    stage.run_for(50, 400);
    stage.redis.cmd(&["BGSAVE"]);
    stage.run_for(0, 250);
    stage.kill();
    stage.restart();
    maybe_write(stage);
}

/// `kill -9` during BGREWRITEAOF or shortly after it. Every other time MongoDB is suspended and no
/// client writes, so that the keys that were dirty before must be dirty after the restart.
fn rewrite(stage: &mut Stage, mongods: &mut Mongods) {
    stage.redis.cmd(&["CONFIG", "SET", "rdb-key-save-delay", SAVE_DELAY_US]);
    stage.write();
    stage.run_for(50, 300);
    let frozen = stage.rng.bool();
    if frozen {
        mongods.victim().freeze();
        stage.run_for(0, 50);
        stage.stop_writing();
    }
    stage.redis.cmd(&["BGREWRITEAOF"]);
    stage.run_for(0, 400);
    stage.kill();
    stage.restart();
    maybe_write(stage);
    if frozen {
        mongods.victim().thaw();
    }
}

/// `kill -9` while the AOF is loaded, twice.
fn loading(stage: &mut Stage, _: &mut Mongods) {
    stage.write();
    stage.run_for(50, 300);
    if stage.rng.bool() {
        stage.redis.cmd(&["BGREWRITEAOF"]);
        stage.run_for(0, 200);
    }
    stage.kill();
    for _ in 0..2 {
        stage.redis.begin_restart(&["--key-load-delay", LOAD_DELAY_US]);
        wait_until("it listens", SOON, || stage.redis.try_connect("").is_ok());
        stage.run_for(0, 150);
        stage.redis.kill();
    }
    stage.restart();
    maybe_write(stage);
}

/// A replica takes over from a master that was killed.
fn failover(stage: &mut Stage, _: &mut Mongods) {
    stage.add_replica();
    stage.write();
    stage.run_for(50, 400);
    stage.kill();
    let replica = stage.replica.as_ref().expect("a replica");
    // By then it has processed everything that the master sent.
    wait_until("the replica's link is down", SOON, || !replica.is_linked());
    stage.promote();
    maybe_write(stage);
}

/// `kill -9` when MongoDB has acknowledged writes and the module has not yet marked the keys clean:
/// while CLIENT PAUSE is active, keys are read and written, but acknowledgements are deferred.
fn after_ack(stage: &mut Stage, _: &mut Mongods) {
    stage.redis.cmd(&["CONFIG", "SET", "writebehind.flush-interval-ms", "100"]);
    stage.write();
    stage.run_for(50, 300);
    // The writers block until the server is killed.
    stage.redis.cmd(&["CLIENT", "PAUSE", "60000", "WRITE"]);
    became(Duration::from_millis(500), || {
        stage.redis.status().int("dirty_keys") == stage.redis.status().int("in_flight_keys")
    });
    stage.run_for(0, 100);
    stage.kill();
    stage.restart();
    maybe_write(stage);
}

/// Every other time, writes continue after the restart.
fn maybe_write(stage: &mut Stage) {
    if stage.rng.bool() {
        stage.write();
        stage.run_for(10, 150);
    }
}
