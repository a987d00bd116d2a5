//! `make through`: writers under MODE THROUGH while servers are killed, stepped down and replaced, and clients are killed,
//! unblocked and disconnected. MongoDB has each write that was answered with OK, and each command has one reply.
//!
//!     cargo run --release --example through -- [--only PART] [--rounds N] [--clients N] [--seconds N] [--seed S]
//!         [--server PATH]
//!
//! Exits non-zero if a write is missing or a reply is wrong.

use std::path::PathBuf;
use std::process::ExitCode;

use testkit::acknowledged::{PARTS, Plan, play};

fn main() -> ExitCode {
    let plan = match options(std::env::args().skip(1)) {
        Ok(plan) => plan,
        Err(error) => {
            eprintln!("through: {error}");
            return ExitCode::from(2);
        }
    };
    println!("{plan:?}");
    let mut faults = 0;
    for part in PARTS.iter().filter(|part| plan.only == "all" || plan.only == **part) {
        let outcome = play(part, &plan);
        println!("{part}: {}; {} faults", outcome.summary, outcome.faults.len());
        outcome.faults.iter().for_each(|fault| println!("  {fault}"));
        faults += outcome.faults.len();
    }
    if faults == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn options(mut words: impl Iterator<Item = String>) -> Result<Plan, String> {
    let only = "all".to_owned();
    let mut plan = Plan { only, rounds: 20, clients: 24, seconds: 60, seed: 1, server: None };
    while let Some(word) = words.next() {
        let value = words.next().ok_or_else(|| format!("{word} takes a value"))?;
        let number = || value.parse().map_err(|_| format!("{word} takes a number, not {value}"));
        match word.as_str() {
            "--only" if value == "all" || PARTS.contains(&value.as_str()) => plan.only = value,
            "--only" => return Err(format!("--only takes all, {}", PARTS.join(", "))),
            "--rounds" => plan.rounds = number()?,
            "--clients" => {
                plan.clients = usize::try_from(number()?).map_err(|error| error.to_string())?;
            }
            "--seconds" => plan.seconds = number()?,
            "--seed" => plan.seed = number()?,
            "--server" => plan.server = Some(PathBuf::from(value)),
            _ => return Err(format!("no option {word}")),
        }
    }
    Ok(plan)
}
