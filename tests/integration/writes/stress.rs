//! Clients that count their replies, and writers whose servers are killed. `make through` does the same for longer.

use testkit::acknowledged::{Outcome, Plan, play};

fn plan() -> Plan {
    let (only, server) = (String::new(), None);
    Plan { only, rounds: 3, clients: 24, seconds: 6, seed: 7, server }
}

#[track_caller]
fn is_right(outcome: &Outcome) {
    assert!(outcome.faults.is_empty(), "{}: {:#?}", outcome.summary, outcome.faults);
    assert!(outcome.acknowledged > 100, "{}", outcome.summary);
}

#[test]
fn each_command_has_one_reply_whatever_happens_to_its_client() {
    let outcome = play("count", &plan());
    is_right(&outcome);
    assert!(outcome.unanswered > 0, "{}", outcome.summary);
}

#[test]
fn what_was_answered_is_in_mongodb_when_redis_is_killed_with_nothing_on_disk() {
    is_right(&play("redis", &plan()));
}

#[test]
fn what_was_answered_is_in_mongodb_when_mongodb_is_killed() {
    is_right(&play("mongod", &plan()));
}

#[test]
fn what_was_answered_is_in_mongodb_when_the_replica_takes_over() {
    is_right(&play("failover", &Plan { rounds: 2, ..plan() }));
}
