//! Three members whose primary steps down every three seconds, under load: a short run of
//! `make outage`.

use std::time::Duration;

use testkit::faults::stepdowns;
use testkit::mongod::replica_set::ReplicaSet;

#[test]
fn repeated_step_downs_lose_nothing_and_no_document_gets_an_older_value() {
    let set = ReplicaSet::of_three();
    let verdict = stepdowns::play(&set, Duration::from_secs(9));
    println!("{verdict}");
    assert!(verdict.step_downs >= 2 && verdict.watched.polls >= 10, "{verdict}");
    assert!(verdict.comparison.is_equal(), "{verdict}");
    let falls = &verdict.watched.falls;
    assert!(
        falls.is_empty(),
        "{} counters decreased: {:?}",
        falls.len(),
        &falls[..falls.len().min(3)]
    );
    assert_eq!(verdict.dead_letters, 0);
    assert!(verdict.slowest < Duration::from_secs(1), "{verdict}");
}
