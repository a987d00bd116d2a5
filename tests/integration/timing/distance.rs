//! A distant MongoDB: round trips of 400 ms.

use std::time::Duration;

use crate::mongodb::network::nothing_is_lost_or_delayed;
use testkit::faults::network::Stage;
use testkit::mongod::Mongod;
use testkit::network::proxy::Fault;

#[test]
fn a_round_trip_of_400_ms_is_no_outage() {
    let mongod = Mongod::replica_set();
    let stage = Stage::new(&mongod);
    let delay = Fault::Delay(Duration::from_millis(200));
    let survived = stage.survive(delay, Duration::from_secs(4), |stage| {
        let status = stage.redis.status();
        assert_eq!(status.text("link"), "up", "{}", status.text("link_error"));
        // Two batches in flight and one round trip of 400 ms: no key stays dirty for long.
        assert!(status.int("oldest_dirty_ms") < 3_000, "{}", status.int("oldest_dirty_ms"));
    });
    nothing_is_lost_or_delayed(&survived, Duration::from_secs(2));
}
