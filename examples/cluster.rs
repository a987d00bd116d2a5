//! `make cluster`: a Redis Cluster whose slots move under load, and whose nodes are added, removed and
//! killed; at the end each document must equal its key.
//!
//!     cargo run --release --example cluster -- [--rounds N] [--seed S] [--only SCENARIO]
//!         [--register-each] [--server PATH]
//!
//! Each scenario is played N times, two rounds at a time. Round i has the seed S + i, from which its
//! parameters follow. WB.REGISTER runs on one node, and the cluster shares it; with `--register-each` it
//! runs on each master, also on one that is added. Exits non-zero if a document is missing, extra or
//! stale, or if a WB.FLUSH does not write all keys.
//!
//! The servers sync `nodes.conf` for each slot that moves: `TMPDIR=/dev/shm` saves most of the time.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use testkit::cluster::{Plan, Scenario, Verdict, play};

/// Rounds at a time: each has up to five servers and a MongoDB.
const AT_A_TIME: usize = 2;

struct Options {
    rounds: usize,
    seed: u64,
    scenarios: Vec<(&'static str, Scenario)>,
    register_each: bool,
    server: Option<PathBuf>,
}

fn main() -> ExitCode {
    let options = match options(std::env::args().skip(1)) {
        Ok(options) => options,
        Err(error) => {
            eprintln!("cluster: {error}");
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
                    let plan = Plan::of(options.seed + round as u64, options.register_each);
                    let verdict = play(scenario, plan, options.server.as_deref());
                    println!("{name}, {plan:?}: {verdict}");
                    results.lock().expect("results").push((name, verdict));
                }
            });
        }
    });
    let results = results.into_inner().expect("results");
    for (name, _) in &options.scenarios {
        let mut sum = Verdict::default();
        let of = || results.iter().filter(|(of, _)| of == name).map(|(_, verdict)| verdict);
        of().for_each(|verdict| sum += *verdict);
        println!("{name}: {} rounds, {sum}", of().count());
    }
    println!("{:.0} s", began.elapsed().as_secs_f64());
    let is_good = results.len() == count && results.iter().all(|(_, verdict)| verdict.is_good());
    if is_good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn options(mut words: impl Iterator<Item = String>) -> Result<Options, String> {
    let scenarios = Scenario::ALL.to_vec();
    let mut options =
        Options { rounds: 20, seed: 1, scenarios, register_each: false, server: None };
    while let Some(word) = words.next() {
        if word == "--register-each" {
            options.register_each = true;
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
