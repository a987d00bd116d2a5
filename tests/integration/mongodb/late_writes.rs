//! Batches that timed out and are executed late overwrite nothing newer: a short run of `make
//! outage`.

use testkit::faults::late_writes::{Stage, Stale};
use testkit::mongod::Mongod;

const NONE: Stale = Stale { after_flush: 0, after_late_writes: 0, at_end: 0 };

#[test]
fn a_batch_that_a_replica_set_executes_after_a_freeze_overwrites_nothing_newer() {
    let mongod = Mongod::replica_set();
    let mut stage = Stage::new(&mongod);
    for round in 1..=2 {
        assert_eq!(stage.frozen(), NONE, "round {round}");
    }
}

#[test]
fn a_batch_that_the_network_delivers_late_overwrites_nothing_newer_on_a_replica_set() {
    let mongod = Mongod::replica_set();
    let mut stage = Stage::new(&mongod);
    assert_eq!(stage.late(), NONE);
}
