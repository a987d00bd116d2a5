//! Hundreds of broken connections leak no connection, no file descriptor and no thread.

use testkit::faults::reconnects::Stage;
use testkit::mongod::Mongod;

#[test]
fn two_hundred_reconnects_leak_no_connections_descriptors_or_threads() {
    let mongod = Mongod::replica_set();
    let mut stage = Stage::new(&mongod);
    stage.reconnect(10);
    let before = stage.figures();
    stage.reconnect(200);
    let after = stage.figures();
    println!("before {before:?}, after {after:?}");
    // Connections that are closing, and a blocking thread of the runtime that has not ended yet.
    let most = |count: u64| count + 3;
    assert!(after.connections <= most(before.connections), "{before:?} {after:?}");
    assert!(after.of_mongod <= before.of_mongod + 3, "{before:?} {after:?}");
    assert!(after.descriptors <= most(before.descriptors), "{before:?} {after:?}");
    assert!(after.threads <= most(before.threads), "{before:?} {after:?}");
    assert!(after.made >= before.made + 200, "{before:?} {after:?}");
    let comparison = stage.compare();
    assert!(comparison.is_equal(), "{comparison}");
}
