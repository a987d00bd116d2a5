//! The network between Redis and MongoDB delays, breaks, drops or refuses connections: no client is
//! delayed, and everything is written afterwards.

use std::time::Duration;

use testkit::faults::network::{Stage, Survived};
use testkit::mongod::Mongod;
use testkit::network::proxy::Fault;

/// A write that takes longer was delayed by the module: pauses of a busy machine are shorter, and a
/// write that waited for MongoDB would take at least two seconds.
const MAX_LATENCY: Duration = Duration::from_secs(1);
/// The limit of the 90th percentile; writes that waited for a delayed reply would exceed it.
const MAX_P90: Duration = Duration::from_millis(100);

#[track_caller]
pub fn nothing_is_lost_or_delayed(survived: &Survived, recovery: Duration) {
    println!("{survived}");
    assert!(survived.comparison.is_equal(), "{survived}");
    assert_eq!(survived.dead_letters, 0);
    assert!(survived.slowest < MAX_LATENCY, "{survived}");
    assert!(survived.usual < MAX_P90, "{survived}: {:?}", survived.usual);
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
fn truncated_replies_lose_nothing() {
    let mongod = Mongod::pooled();
    let stage = Stage::new(&mongod);
    // In the header of a reply, in the handshake, in a later reply.
    for bytes in [10, 200, 700, 1500, 4000] {
        stage.proxy.set(Fault::CutReply(bytes));
        std::thread::sleep(Duration::from_millis(400));
    }
    let survived = stage.survive(Fault::CutReply(2_500), Duration::from_millis(400), |_| {});
    nothing_is_lost_or_delayed(&survived, Duration::from_secs(5));
}

#[test]
fn a_black_hole_of_eight_seconds_loses_nothing_and_the_link_recovers_soon() {
    let mongod = Mongod::pooled();
    let stage = Stage::new(&mongod);
    let survived = stage.survive(Fault::BlackHole, Duration::from_secs(8), is_down);
    // A connection attempt during the fault fails after two seconds; the backoff follows.
    nothing_is_lost_or_delayed(&survived, Duration::from_secs(6));
}

#[test]
fn bytes_that_the_network_delivers_late_change_nothing() {
    let mongod = Mongod::pooled();
    let stage = Stage::new(&mongod);
    let survived = stage.survive(Fault::Hold, Duration::from_secs(5), is_down);
    nothing_is_lost_or_delayed(&survived, Duration::from_secs(6));
}

#[test]
fn refused_connections_lose_nothing() {
    let mongod = Mongod::pooled();
    let stage = Stage::new(&mongod);
    // The driver's server selection times out after three seconds.
    let survived = stage.survive(Fault::Refuse, Duration::from_secs(5), |stage| {
        is_down(stage);
        let error = stage.redis.status().text("link_error");
        assert!(error.contains("refused"), "{error}");
    });
    nothing_is_lost_or_delayed(&survived, Duration::from_secs(3));
}
