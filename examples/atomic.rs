//! `make atomic`: transfers between accounts under all faults, and snapshots of MongoDB that must not
//! show one half done.
//!
//!     cargo run --release --example atomic -- [--snapshots N] [--seed S] [--only one|three|all]
//!         [--names N] [--writers N] [--pollers N] [--fault-every N] [--atomic OPTION]
//!         [--server PATH]
//!
//! A round has about 1,000 snapshots and its own servers, in turns one mongod and three. Round i
//! has the seed S + i: to repeat a failed round, use its seed, its `--only` and `--snapshots 1000`.
//! `--atomic NONE` shows what is seen without the feature. Exits non-zero if a sum is wrong, or Redis
//! and MongoDB differ at the end of a round; the folder of Redis of a failed round is kept.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use testkit::transfers::account::Names;
use testkit::transfers::fault::Fault;
use testkit::transfers::round::{self, Plan};
use testkit::transfers::stage::{Servers, Stage};

/// Snapshots of a round.
const ROUND: u64 = 1_000;

type Start = (&'static str, fn() -> Servers);

const SERVERS: [Start; 2] = [("one", Servers::one), ("three", Servers::three)];

struct Options {
    snapshots: u64,
    seed: u64,
    servers: Vec<Start>,
    names: usize,
    writers: usize,
    pollers: usize,
    fault_every: u64,
    atomic: String,
    server: Option<PathBuf>,
}

fn main() -> ExitCode {
    let options = match options(std::env::args().skip(1)) {
        Ok(options) => options,
        Err(error) => {
            eprintln!("atomic: {error}");
            return ExitCode::from(2);
        }
    };
    let start = Instant::now();
    let (mut seen, mut wrong, mut states, mut transfers) = (0, 0, 0, 0);
    let (mut faults, mut failed) = (0, 0);
    for round in 0.. {
        let left = options.snapshots.saturating_sub(seen);
        if left == 0 {
            break;
        }
        let (name, servers) = options.servers[round % options.servers.len()];
        let seed = options.seed + round as u64;
        // Before the round: a panic ends the run.
        println!("{:>4} {name}, seed {seed}", round + 1);
        let verdict = play(&options, servers(), seed, left.min(ROUND));
        println!("     {verdict}");
        seen += verdict.polled.snapshots;
        wrong += verdict.polled.wrong;
        states += verdict.polled.states;
        transfers += verdict.transfers;
        faults += verdict.faults.len();
        failed += u64::from(!verdict.is_good());
    }
    println!(
        "{wrong} of {seen} snapshots wrong, {states} states, {transfers} transfers, {faults} faults, \
         {failed} rounds failed, {:.0} s",
        start.elapsed().as_secs_f64()
    );
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn play(options: &Options, servers: Servers, seed: u64, snapshots: u64) -> round::Verdict {
    let faults = Fault::of(&servers);
    let names = Names { of_each: options.names };
    let mut stage = Stage::new(servers, names, &options.atomic, seed, options.server.as_deref());
    let Options { fault_every, writers, pollers, .. } = *options;
    let plan = Plan { snapshots, fault_every, faults, writers, pollers, seed };
    let verdict = round::play(&mut stage, plan);
    if !verdict.is_good() {
        println!("     kept: {}", stage.redis.keep().display());
    }
    verdict
}

fn options(mut words: impl Iterator<Item = String>) -> Result<Options, String> {
    let mut options = Options {
        snapshots: 10_000,
        seed: 1,
        servers: SERVERS.to_vec(),
        names: 40,
        writers: 3,
        pollers: 2,
        fault_every: 20,
        atomic: String::new(),
        server: None,
    };
    while let Some(word) = words.next() {
        let value = words.next().ok_or_else(|| format!("{word} takes a value"))?;
        let number = || value.parse::<u32>().map_err(|_| format!("{word} takes a number"));
        match word.as_str() {
            "--snapshots" => options.snapshots = number()?.into(),
            "--seed" => options.seed = number()?.into(),
            "--names" => options.names = number()? as usize,
            "--writers" => options.writers = number()? as usize,
            "--pollers" => options.pollers = number()? as usize,
            "--fault-every" => options.fault_every = number()?.into(),
            "--atomic" => options.atomic = format!("ATOMIC {value}"),
            "--server" => options.server = Some(PathBuf::from(value)),
            "--only" if value == "all" => {}
            "--only" => options.servers.retain(|(name, _)| *name == value),
            _ => return Err(format!("no option {word}")),
        }
    }
    if options.servers.is_empty() {
        return Err("--only takes one, three or all".to_owned());
    }
    if options.names < 4 {
        return Err("--names takes 4 or more".to_owned());
    }
    Ok(options)
}
