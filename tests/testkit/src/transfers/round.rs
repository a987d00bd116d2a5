//! One round from start to result.

use std::collections::BTreeMap;
use std::fmt;
use std::time::{Duration, Instant};

use super::fault::Fault;
use super::pollers::{Polled, Pollers};
use super::stage::Stage;
use super::writers::Writers;
use crate::wait::wait_until;

/// The time within which MongoDB must be written again after a fault.
const RECOVERED_WITHIN: Duration = Duration::from_secs(30);
/// The states that must be seen after a fault before the next one.
const STATES_BETWEEN: usize = 3;

/// What a round does.
#[derive(Clone, Copy, Debug)]
pub struct Plan<'a> {
    /// The least number of snapshots to check.
    pub snapshots: u64,
    /// A fault follows after this many snapshots.
    pub fault_every: u64,
    /// Each of these faults is played once, in this order, and then random ones.
    pub faults: &'a [Fault],
    pub writers: usize,
    pub pollers: usize,
    pub seed: u64,
}

/// The result of a round.
#[derive(Debug)]
pub struct Verdict {
    pub seed: u64,
    pub polled: Polled,
    /// Transfers to which Redis replied.
    pub transfers: u64,
    /// The faults, each with the number of snapshots before it.
    pub faults: Vec<(Fault, u64)>,
    /// Accounts that differ between Redis and MongoDB at the end.
    pub differences: Vec<String>,
    pub dead_letters: i64,
    pub took: Duration,
}

/// Transfers and polls, with faults, until there are enough snapshots and every fault was played.
pub fn play(stage: &mut Stage, plan: Plan) -> Verdict {
    let start = Instant::now();
    let Plan { snapshots, seed, .. } = plan;
    let writers = Writers::start(plan.writers, stage.redis.port(), stage.names, seed);
    let pollers = Pollers::start(plan.pollers, stage.database(), stage.names.total());
    let gap = if plan.faults.is_empty() { snapshots } else { plan.fault_every };
    let mut faults: Vec<(Fault, u64)> = Vec::new();
    loop {
        let (seen, states) = (pollers.snapshots(), pollers.states());
        wait_until("MongoDB is written and read", RECOVERED_WITHIN, || {
            writers.check();
            pollers.snapshots() >= seen + gap && pollers.states() >= states + STATES_BETWEEN
        });
        if pollers.snapshots() >= snapshots && faults.len() >= plan.faults.len() {
            break;
        }
        let random = || plan.faults[stage.rng.usize(..plan.faults.len())];
        let fault = plan.faults.get(faults.len()).copied().unwrap_or_else(random);
        faults.push((fault, pollers.snapshots()));
        fault.play(stage);
    }
    let polled = pollers.stop();
    let transfers = writers.stop();
    stage.check_sum();
    let differences = stage.differences();
    let dead_letters = stage.redis.status().int("dead_letters");
    let took = start.elapsed();
    Verdict { seed, polled, transfers, faults, differences, dead_letters, took }
}

impl Verdict {
    pub fn is_good(&self) -> bool {
        self.polled.wrong == 0 && self.differences.is_empty() && self.dead_letters == 0
    }

    /// How often each fault was played.
    fn summary(&self) -> String {
        let mut times = BTreeMap::<String, u64>::new();
        for (fault, _) in &self.faults {
            *times.entry(format!("{fault:?}")).or_default() += 1;
        }
        let times: Vec<String> = times.iter().map(|(name, n)| format!("{name} {n}")).collect();
        times.join(", ")
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Polled { snapshots, states, errors, wrong, first_wrong } = &self.polled;
        write!(
            f,
            "seed {}: {wrong} of {snapshots} snapshots wrong, {states} states, {errors} attempts \
             failed, {} transfers, {} accounts differ at the end, {} dead letters, {:.1} s; faults: \
             {}",
            self.seed,
            self.transfers,
            self.differences.len(),
            self.dead_letters,
            self.took.as_secs_f64(),
            self.summary()
        )?;
        if let Some(wrong) = first_wrong {
            let before = self.faults.iter().rev().find(|(_, seen)| *seen <= wrong.after);
            let before = before.map_or("none".to_owned(), |(fault, _)| format!("{fault:?}"));
            write!(f, "\n    the last fault before the first wrong one: {before}\n    {wrong}")?;
        }
        for difference in self.differences.iter().take(5) {
            write!(f, "\n    differs: {difference}")?;
        }
        Ok(())
    }
}
