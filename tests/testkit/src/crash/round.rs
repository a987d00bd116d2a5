//! One round from start to result.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::scenario::Scenario;
use super::stage::{Mongods, Stage};

/// The maximum number of lines printed for each kind of finding.
const SHOWN: usize = 5;

/// The result of a round.
pub struct Verdict {
    pub scenario: &'static str,
    pub seed: u64,
    pub keys: usize,
    pub acknowledged: u64,
    pub dirty: i64,
    pub lost: Vec<String>,
    pub different: Vec<String>,
    pub took: Duration,
    /// The servers' folders, kept for inspection after a failure.
    pub folders: Vec<PathBuf>,
}

/// Runs the scenario and the check. A panic counts as a difference.
pub fn play(
    scenario: &Scenario,
    seed: u64,
    server: Option<&Path>,
    mongods: &mut Mongods,
) -> Verdict {
    let start = Instant::now();
    let mongod = if scenario.on_victim { mongods.victim() } else { mongods.steady() };
    let mut stage = Stage::new(mongod, seed, server);
    let played = catch_unwind(AssertUnwindSafe(|| {
        (scenario.play)(&mut stage, mongods);
        stage.check();
    }));
    if let Err(panic) = played {
        stage.findings.different.push(format!("the round panicked: {}", message(&*panic)));
    }
    let findings = std::mem::take(&mut stage.findings);
    let mut verdict = Verdict {
        scenario: scenario.name,
        seed,
        keys: stage.keys(),
        acknowledged: stage.acknowledged,
        dirty: stage.dirty,
        lost: findings.lost,
        different: findings.different,
        took: start.elapsed(),
        folders: Vec::new(),
    };
    if verdict.is_good() {
        stage.database.drop();
    } else {
        verdict.folders = stage.keep();
    }
    verdict
}

impl Verdict {
    pub fn is_good(&self) -> bool {
        self.lost.is_empty() && self.different.is_empty()
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:<11} seed {}: {} writes acknowledged, {} keys, {} dirty at the restart, {} lost, \
             {} different, {:.1} s",
            self.scenario,
            self.seed,
            self.acknowledged,
            self.keys,
            self.dirty,
            self.lost.len(),
            self.different.len(),
            self.took.as_secs_f64()
        )?;
        for lost in self.lost.iter().take(SHOWN) {
            write!(f, "\n    lost: {lost}")?;
        }
        for different in self.different.iter().take(SHOWN) {
            write!(f, "\n    different: {different}")?;
        }
        for folder in &self.folders {
            write!(f, "\n    kept: {}", folder.display())?;
        }
        Ok(())
    }
}

fn message(panic: &(dyn std::any::Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("a panic")
}
