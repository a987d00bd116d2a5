//! Hundreds of broken connections leave nothing behind: no connection, no descriptor, no thread.

use testkit::faults::reconnects::Stage;
use testkit::mongod::Mongod;

#[test]
fn connections_descriptors_and_threads_stay_as_many_over_two_hundred_reconnects() {
    let mongod = Mongod::replica_set();
    let mut stage = Stage::new(&mongod);
    stage.reconnect(10);
    let before = stage.figures();
    stage.reconnect(200);
    let after = stage.figures();
    println!("before {before:?}, after {after:?}");
    // What is closing at the moment, and a reader of names or files that has not ended yet.
    let most = |count: u64| count + 3;
    assert!(after.connections <= most(before.connections), "{before:?} {after:?}");
    assert!(after.of_mongod <= before.of_mongod + 3, "{before:?} {after:?}");
    assert!(after.descriptors <= most(before.descriptors), "{before:?} {after:?}");
    assert!(after.threads <= most(before.threads), "{before:?} {after:?}");
    assert!(after.made >= before.made + 200, "{before:?} {after:?}");
    let comparison = stage.compare();
    assert!(comparison.is_equal(), "{comparison}");
}
