//! A MongoDB far away: round trips of 400 ms.

use std::time::Duration;

use crate::mongodb::network::nothing_is_lost_or_held_up;
use testkit::faults::network::Stage;
use testkit::mongod::Mongod;
use testkit::network::proxy::Fault;

#[test]
fn two_hundred_milliseconds_each_way_are_no_fault() {
    let mongod = Mongod::replica_set();
    let stage = Stage::new(&mongod);
    let delay = Fault::Delay(Duration::from_millis(200));
    let survived = stage.survive(delay, Duration::from_secs(4), |stage| {
        let status = stage.redis.status();
        assert_eq!(status.text("link"), "up", "{}", status.text("link_error"));
        // Two lanes and one round trip of 400 ms: nothing waits for long.
        assert!(status.int("oldest_dirty_ms") < 3_000, "{}", status.int("oldest_dirty_ms"));
    });
    nothing_is_lost_or_held_up(&survived, Duration::from_secs(2));
}
