//! The network between Redis and MongoDB is slow, cuts, swallows or refuses: no write of a client
//! waits, and everything arrives when it is over.

use std::time::Duration;

use testkit::faults::network::{Stage, Survived};
use testkit::mongod::Mongod;
use testkit::network::proxy::Fault;

/// A write that takes longer was held up: a busy machine's pauses are shorter, and what waits for
/// MongoDB waits for two seconds at the least.
const HELD_UP: Duration = Duration::from_secs(1);
/// Nine writes in ten are faster, or they wait for an answer that is delayed.
const USUAL: Duration = Duration::from_millis(100);

#[track_caller]
pub fn nothing_is_lost_or_held_up(survived: &Survived, recovery: Duration) {
    println!("{survived}");
    assert!(survived.comparison.is_equal(), "{survived}");
    assert_eq!(survived.dead_letters, 0);
    assert!(survived.slowest < HELD_UP, "{survived}");
    assert!(survived.usual < USUAL, "{survived}: {:?}", survived.usual);
    assert!(survived.recovery < recovery, "{survived}");
}

#[track_caller]
fn is_down(stage: &Stage<'_>) {
    let status = stage.redis.status();
    assert_eq!(status.text("link"), "down");
    assert_ne!(status.text("link_error"), "");
    assert!(status.int("dirty_keys") > 0);
}

#[test]
fn answers_that_are_cut_in_the_middle_lose_nothing() {
    let mongod = Mongod::lent();
    let stage = Stage::new(&mongod);
    // In the head of an answer, in the handshake, in a later answer.
    for bytes in [10, 200, 700, 1500, 4000] {
        stage.proxy.set(Fault::CutReply(bytes));
        std::thread::sleep(Duration::from_millis(400));
    }
    let survived = stage.survive(Fault::CutReply(2_500), Duration::from_millis(400), |_| {});
    nothing_is_lost_or_held_up(&survived, Duration::from_secs(5));
}

#[test]
fn a_black_hole_of_eight_seconds_loses_nothing_and_is_left_soon() {
    let mongod = Mongod::lent();
    let stage = Stage::new(&mongod);
    let survived = stage.survive(Fault::Swallow, Duration::from_secs(8), is_down);
    // A connection attempt that the hole has taken fails after two seconds; the pause follows.
    nothing_is_lost_or_held_up(&survived, Duration::from_secs(6));
}

#[test]
fn what_a_network_held_back_and_delivers_late_changes_nothing() {
    let mongod = Mongod::lent();
    let stage = Stage::new(&mongod);
    let survived = stage.survive(Fault::Hold, Duration::from_secs(5), is_down);
    nothing_is_lost_or_held_up(&survived, Duration::from_secs(6));
}

#[test]
fn refused_connections_lose_nothing() {
    let mongod = Mongod::lent();
    let stage = Stage::new(&mongod);
    // The driver looks three seconds for a server before it says that there is none.
    let survived = stage.survive(Fault::Refuse, Duration::from_secs(5), |stage| {
        is_down(stage);
        let error = stage.redis.status().text("link_error");
        assert!(error.contains("refused"), "{error}");
    });
    nothing_is_lost_or_held_up(&survived, Duration::from_secs(3));
}
