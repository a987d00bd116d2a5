//! Clients of a bounded cache get what a server gives that loses nothing; `make cached` is the longer form.

use std::time::Duration;

use testkit::cached::{Plan, play};

#[test]
fn every_reply_of_a_bounded_cache_is_that_of_a_server_that_loses_nothing() {
    let plan = Plan { clients: 12, time: Duration::from_secs(8), seed: testkit::seed() };
    let outcome = play(plan, None);
    assert!(outcome.faults.is_empty(), "{}\n{}", outcome.summary, outcome.faults.join("\n"));
    assert!(outcome.equal > 2_000, "{}", outcome.summary);
    assert!(outcome.evicted > 100, "{}", outcome.summary);
}
