//! `make cached`: clients of a bounded cache with READTHROUGH, whose every reply must be that of a server that loses
//! nothing, while keys are evicted, expire and are flushed, and clients are killed, unblocked and disconnected.
//!
//!     cargo run --release --example cached -- [--clients N] [--seconds N] [--seed S] [--server PATH]
//!
//! Exits non-zero if a reply, a key or a document is wrong.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use testkit::cached::{Plan, play};

fn main() -> ExitCode {
    let (plan, server) = match options(std::env::args().skip(1)) {
        Ok(options) => options,
        Err(error) => {
            eprintln!("cached: {error}");
            return ExitCode::from(2);
        }
    };
    println!("{plan:?}");
    let outcome = play(plan, server.as_deref());
    println!("{}", outcome.summary);
    for fault in &outcome.faults {
        println!("{fault}");
    }
    println!("{} faults", outcome.faults.len());
    if outcome.faults.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn options(mut words: impl Iterator<Item = String>) -> Result<(Plan, Option<PathBuf>), String> {
    let mut plan = Plan { clients: 24, time: Duration::from_secs(60), seed: 1 };
    let mut server = None;
    while let Some(word) = words.next() {
        let value = words.next().ok_or_else(|| format!("{word} takes a value"))?;
        let number = || value.parse().map_err(|_| format!("{word} takes a number, not {value}"));
        match word.as_str() {
            "--clients" => plan.clients = number()?,
            "--seconds" => plan.time = Duration::from_secs(number()?),
            "--seed" => plan.seed = number()?,
            "--server" => server = Some(PathBuf::from(value)),
            _ => return Err(format!("no option {word}")),
        }
    }
    Ok((plan, server))
}
