//! One document in a hundred is rejected: all others are written, and without more lag.

use std::time::Duration;

use testkit::faults::poison::Pairs;

#[test]
fn one_percent_of_rejected_documents_does_not_delay_others() {
    let pairs = Pairs::play(3, Duration::from_secs(2), 1);
    println!("{pairs}");
    for run in pairs.plain.iter().chain(&pairs.poisoned) {
        assert_eq!(run.written, run.good, "{run:?}");
        assert_eq!(run.dead_letters, run.poison as i64, "{run:?}");
    }
    assert!(pairs.poisoned.iter().all(|run| run.poison > 20));
    assert!(pairs.ratio() <= 1.1, "{pairs}");
}
