//! A short run of `make crash`: one round of every scenario.

use testkit::crash::round;
use testkit::crash::scenario::ALL;
use testkit::crash::stage::Mongods;

#[test]
fn no_acknowledged_write_is_lost_in_any_crash_scenario() {
    let mut mongods = Mongods::default();
    let verdicts: Vec<_> = (1..)
        .zip(&ALL)
        .map(|(seed, scenario)| round::play(scenario, seed, None, &mut mongods))
        .collect();
    let failed: Vec<String> =
        verdicts.iter().filter(|verdict| !verdict.is_good()).map(ToString::to_string).collect();
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}
