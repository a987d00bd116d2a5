//! A short run of `make oracle`.

use testkit::fixture::World;
use testkit::mongod::Mongod;
use testkit::oracle::coverage;
use testkit::oracle::run::Run;
use testkit::seed;

/// Commands of each of the two runs.
const COMMANDS: u64 = 1_500;

#[track_caller]
fn no_difference(seed: u64) {
    let mut run = Run::new(Mongod::shared(), seed, None);
    while run.commands < COMMANDS {
        if let Err(difference) = run.some(COMMANDS - run.commands) {
            panic!("{difference}");
        }
    }
}

#[test]
fn random_commands_leave_no_difference() {
    no_difference(1);
}

#[test]
fn random_commands_of_a_new_seed_leave_no_difference() {
    println!("WB_SEED={}", seed());
    no_difference(seed());
}

#[test]
fn every_write_command_has_a_template_or_a_reason_for_having_none() {
    let unknown = coverage::unknown(&mut World::json().redis.connection());
    assert!(unknown.is_empty(), "add a template or a reason: {unknown:?}");
}
