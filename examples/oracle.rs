//! `make oracle`: random write commands of every kind, and after some hundred of them a check that
//! MongoDB has the expected documents.
//!
//!     cargo run --release --example oracle -- [--seed S] [--commands N | --minutes M]
//!         [--server PATH] [--table FILE]
//!
//! The same seed sends the same commands, but the server may reply differently, for example to
//! SPOP. Exits non-zero at the first difference, which is reported with the last commands of its
//! key.
//!
//! `--table` writes docs/REDIS-COMMANDS.md instead: the events of each write command, and the writes
//! that follow. `--server` may then be given twice.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use testkit::mongod::Mongod;
use testkit::oracle::coverage;
use testkit::oracle::run::Run;
use testkit::oracle::table;

/// In a run of this many commands, each must succeed at least once.
const ALL_SUCCEED: u64 = 20_000;

struct Options {
    seed: u64,
    commands: u64,
    minutes: Option<u64>,
    servers: Vec<PathBuf>,
    table: Option<PathBuf>,
}

fn main() -> ExitCode {
    let options = match options(std::env::args().skip(1)) {
        Ok(options) => options,
        Err(error) => {
            eprintln!("oracle: {error}");
            return ExitCode::from(2);
        }
    };
    let result = run(&options);
    if let Err(error) = &result {
        println!("{error}");
    }
    if result.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn run(options: &Options) -> Result<(), String> {
    if let Some(path) = &options.table {
        return write_table(options, path);
    }
    let server = options.servers.first().map(PathBuf::as_path);
    let mut run = Run::new(Mongod::shared(), options.seed, server);
    let unknown = coverage::unknown(&mut run.sender.connection);
    if !unknown.is_empty() {
        return Err(format!("write commands without a template or a reason: {unknown:?}"));
    }
    println!("seed {}", options.seed);
    let start = Instant::now();
    let mut reported = start;
    let end = options.minutes.map(|minutes| start + Duration::from_secs(60 * minutes));
    let is_over = |commands: u64| match end {
        Some(end) => Instant::now() >= end,
        None => commands >= options.commands,
    };
    while !is_over(run.commands) {
        run.some(u64::MAX)?;
        if reported.elapsed() > Duration::from_secs(10) {
            reported = Instant::now();
            println!("{} commands, {} comparisons", run.commands, run.checks);
        }
    }
    let refused: u64 = run.counts.values().map(|count| count.refused).sum();
    println!(
        "{} commands of {} kinds, {refused} of them refused, {} comparisons, no difference, {:.0} s",
        run.commands,
        run.counts.len(),
        run.checks,
        start.elapsed().as_secs_f64()
    );
    let never = run.never_done();
    if !never.is_empty() && run.commands >= ALL_SUCCEED {
        return Err(format!("these commands never succeeded: {never:?}"));
    }
    Ok(())
}

fn write_table(options: &Options, path: &Path) -> Result<(), String> {
    let mut servers = Vec::new();
    for server in &options.servers {
        let mut run = Run::new(Mongod::shared(), options.seed, Some(server));
        let folder = server.parent().and_then(Path::file_name).unwrap_or_default();
        // `redis-8.2` becomes `Redis 8.2`.
        let mut name = folder.to_string_lossy().replace('-', " ");
        name[..1].make_ascii_uppercase();
        println!("{name}");
        servers.push((name, table::rows(&mut run)?));
    }
    std::fs::write(path, table::document(&servers)).map_err(|error| error.to_string())
}

fn options(mut words: impl Iterator<Item = String>) -> Result<Options, String> {
    let mut options =
        Options { seed: 1, commands: 20_000, minutes: None, servers: Vec::new(), table: None };
    while let Some(word) = words.next() {
        let value = words.next().ok_or_else(|| format!("{word} takes a value"))?;
        let number = || value.parse().map_err(|_| format!("{word} takes a number, not {value}"));
        match word.as_str() {
            "--seed" => options.seed = number()?,
            "--commands" => options.commands = number()?,
            "--minutes" => options.minutes = Some(number()?),
            "--server" => options.servers.push(PathBuf::from(value)),
            "--table" => options.table = Some(PathBuf::from(value)),
            _ => return Err(format!("no option {word}")),
        }
    }
    Ok(options)
}
