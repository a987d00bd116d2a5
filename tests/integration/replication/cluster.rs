//! Slots of a cluster that move under load: each document equals its key. `make cluster` plays longer rounds.

use std::time::Duration;

use testkit::cluster::{Plan, Scenario, play};

fn plan() -> Plan {
    Plan { slots: 150, late: Duration::from_secs(2), ..Plan::of(testkit::seed(), false) }
}

#[test]
fn slots_move_away_and_back_under_load() {
    let verdict = play(Scenario::Reshard, plan(), None);
    assert!(verdict.is_good(), "{:?}: {verdict}", plan());
}

#[test]
fn an_old_batch_that_arrives_after_its_slot_has_moved_leaves_no_old_value() {
    let verdict = play(Scenario::Late, plan(), None);
    assert!(verdict.is_good(), "{:?}: {verdict}", plan());
}
