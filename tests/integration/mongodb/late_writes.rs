//! Batches that were given up on do not overwrite what came later: a short run of `make outage`.

use testkit::faults::ghosts::{Stage, Stale};
use testkit::mongod::Mongod;

const NONE: Stale = Stale { after_flush: 0, after_ghosts: 0, at_end: 0 };

#[test]
fn a_batch_that_a_frozen_replica_set_finds_when_it_wakes_overwrites_nothing_newer() {
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
