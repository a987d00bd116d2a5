//! One document in a hundred is refused: all others arrive, and not later than without.

use std::time::Duration;

use testkit::faults::poison::Pairs;

#[test]
fn one_percent_of_poison_delays_nobody() {
    let pairs = Pairs::play(3, Duration::from_secs(2), 1);
    println!("{pairs}");
    for run in pairs.plain.iter().chain(&pairs.poisoned) {
        assert_eq!(run.arrived, run.good, "{run:?}");
        assert_eq!(run.dead_letters, run.poison as i64, "{run:?}");
    }
    assert!(pairs.poisoned.iter().all(|run| run.poison > 20));
    assert!(pairs.ratio() <= 1.1, "{pairs}");
}
