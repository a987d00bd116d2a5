//! What was given up is written once more on a standalone server, when nothing of it can be on its way
//! any longer: `write-timeout-ms` and two seconds after it was given up. What the test holds back must
//! arrive before.

use testkit::faults::ghosts::Stage;
use testkit::mongod::Mongod;

#[test]
fn what_a_batch_that_was_given_up_overwrites_on_a_standalone_is_written_once_more() {
    let mongod = Mongod::standalone();
    let mut stage = Stage::new(&mongod);
    let (frozen, late) = (stage.frozen(), stage.late());
    println!("standalone, frozen: {frozen}\nstandalone, late: {late}");
    assert_eq!((frozen.at_end, late.at_end), (0, 0));
}
