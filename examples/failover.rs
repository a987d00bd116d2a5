//! `make failover`: masters that are frozen, killed and replaced, and come back; no document may have an
//! older value than the last master's.
//!
//!     cargo run --release --example failover -- [--rounds N] [--seed S] [--only SCENARIO]
//!         [--unfenced] [--server PATH]
//!
//! Each scenario is played N times, eight rounds at a time. Round i has the seed S + i, from which its
//! parameters follow. `--unfenced` forbids the lease, to show what happens without. Exits non-zero if a
//! document is stale; with `--unfenced`, if none is.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use testkit::failover::{Plan, Scenario, play};

/// Rounds at a time: most of a round is a wait.
const AT_A_TIME: usize = 8;

struct Options {
    rounds: usize,
    seed: u64,
    scenarios: Vec<(&'static str, Scenario)>,
    fenced: bool,
    server: Option<PathBuf>,
}

fn main() -> ExitCode {
    let options = match options(std::env::args().skip(1)) {
        Ok(options) => options,
        Err(error) => {
            eprintln!("failover: {error}");
            return ExitCode::from(2);
        }
    };
    let began = Instant::now();
    let count = options.rounds * options.scenarios.len();
    let (next, results) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..AT_A_TIME {
            scope.spawn(|| {
                loop {
                    let round = next.fetch_add(1, Ordering::Relaxed);
                    if round >= count {
                        break;
                    }
                    let (name, scenario) = options.scenarios[round % options.scenarios.len()];
                    let seed = options.seed + round as u64;
                    let plan = plan(seed, options.fenced);
                    let verdict = play(scenario, plan, options.server.as_deref());
                    println!("{name}, seed {seed}, {plan:?}: {verdict}");
                    results.lock().expect("results").push((name, verdict));
                }
            });
        }
    });
    let results = results.into_inner().expect("results");
    for (name, _) in &options.scenarios {
        let of = || results.iter().filter(|(of, _)| of == name).map(|(_, verdict)| verdict);
        let (stale, keys) = (of().map(|v| v.stale).sum::<u64>(), of().map(|v| v.keys).sum::<u64>());
        println!("{name}: {} rounds, {stale} of {keys} documents stale or missing", of().count());
    }
    println!("{:.0} s", began.elapsed().as_secs_f64());
    let stale = results.iter().filter(|(_, verdict)| !verdict.is_good()).count();
    let is_good = results.len() == count && (stale == 0) == options.fenced;
    if is_good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn plan(seed: u64, fenced: bool) -> Plan {
    let mut rng = fastrand::Rng::with_seed(seed);
    let seconds = |seconds| Duration::from_secs(seconds);
    let away = [5, 15, 30].map(seconds)[rng.usize(..3)];
    let late = [2, 16].map(seconds)[rng.usize(..2)];
    Plan { keys: rng.usize(20..300), away, late, fenced }
}

fn options(mut words: impl Iterator<Item = String>) -> Result<Options, String> {
    let scenarios = Scenario::ALL.to_vec();
    let mut options = Options { rounds: 20, seed: 1, scenarios, fenced: true, server: None };
    while let Some(word) = words.next() {
        if word == "--unfenced" {
            options.fenced = false;
            continue;
        }
        let value = words.next().ok_or_else(|| format!("{word} takes a value"))?;
        let number = || value.parse().map_err(|_| format!("{word} takes a number"));
        match word.as_str() {
            "--rounds" => options.rounds = number()? as usize,
            "--seed" => options.seed = number()?,
            "--only" if value == "all" => {}
            "--only" => {
                options.scenarios.retain(|(name, _)| *name == value);
                if options.scenarios.is_empty() {
                    let names = Scenario::ALL.map(|(name, _)| name).join(", ");
                    return Err(format!("--only takes one of {names}"));
                }
            }
            "--server" => options.server = Some(PathBuf::from(&value)),
            _ => return Err(format!("unknown option {word}")),
        }
    }
    Ok(options)
}
