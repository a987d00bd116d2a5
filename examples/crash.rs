//! `make crash`: rounds of kill -9 and restart, with a check that no acknowledged write is lost.
//!
//!     cargo run --release --example crash -- [--rounds N] [--seed S] [--scenario NAME|all]
//!         [--server PATH]
//!
//! Round i has the seed S + i: to repeat a failed round, use `--rounds 1`, its seed and its
//! scenario. Exits non-zero if writes are lost or documents differ; the folders of a failed round
//! are kept.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use testkit::crash::round;
use testkit::crash::scenario::{ALL, Scenario};
use testkit::crash::stage::Mongods;

struct Options {
    rounds: u64,
    seed: u64,
    scenarios: Vec<Scenario>,
    server: Option<PathBuf>,
}

fn main() -> ExitCode {
    let options = match options(std::env::args().skip(1)) {
        Ok(options) => options,
        Err(error) => {
            eprintln!("crash: {error}");
            return ExitCode::from(2);
        }
    };
    let start = Instant::now();
    let mut mongods = Mongods::default();
    let (mut lost, mut different) = (0, 0);
    for round in 0..options.rounds {
        let scenario = &options.scenarios[(round % options.scenarios.len() as u64) as usize];
        let seed = options.seed + round;
        let verdict = round::play(scenario, seed, options.server.as_deref(), &mut mongods);
        println!("{:>4} {verdict}", round + 1);
        lost += verdict.lost.len();
        different += verdict.different.len();
    }
    let took = start.elapsed().as_secs_f64();
    println!("{} rounds, {lost} lost, {different} different, {took:.0} s", options.rounds);
    if lost + different == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn options(mut words: impl Iterator<Item = String>) -> Result<Options, String> {
    let mut options = Options { rounds: 20, seed: 1, scenarios: ALL.to_vec(), server: None };
    while let Some(word) = words.next() {
        let value = words.next().ok_or_else(|| format!("{word} takes a value"))?;
        let number = || value.parse().map_err(|_| format!("{word} takes a number, not {value}"));
        match word.as_str() {
            "--rounds" => options.rounds = number()?,
            "--seed" => options.seed = number()?,
            "--server" => options.server = Some(PathBuf::from(value)),
            "--scenario" if value == "all" => options.scenarios = ALL.to_vec(),
            "--scenario" => options.scenarios = vec![scenario(&value)?],
            _ => return Err(format!("no option {word}")),
        }
    }
    Ok(options)
}

fn scenario(name: &str) -> Result<Scenario, String> {
    let names: Vec<&str> = ALL.iter().map(|scenario| scenario.name).collect();
    let found = ALL.into_iter().find(|scenario| scenario.name == name);
    found.ok_or_else(|| format!("no scenario {name} among {}", names.join(" ")))
}
