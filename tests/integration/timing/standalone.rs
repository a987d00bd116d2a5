//! On a standalone server, a batch that timed out is written once more when the first attempt can
//! no longer be in flight: `write-timeout-ms` and two seconds after its timeout. The test delivers
//! the late write before that.

use testkit::faults::late_writes::Stage;
use testkit::mongod::Mongod;

#[test]
fn documents_that_a_late_write_overwrites_on_a_standalone_are_written_once_more() {
    let mongod = Mongod::standalone();
    let mut stage = Stage::new(&mongod);
    let (frozen, late) = (stage.frozen(), stage.late());
    println!("standalone, frozen: {frozen}\nstandalone, late: {late}");
    assert_eq!((frozen.at_end, late.at_end), (0, 0));
}
