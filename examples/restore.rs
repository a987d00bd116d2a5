//! `make fuzz ONLY=restore`: RESTORE of damaged values of the module's own type on a real server.
//!
//!     cargo run --release --example restore -- [--minutes N] [--seed S] [--server PATH]
//!
//! Each payload has a valid checksum, so that the server passes it to the module. Exits non-zero if
//! the server ends, accepts such a value, or leaks memory.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use testkit::fuzz::restore;

struct Options {
    time: Duration,
    seed: u64,
    server: Option<PathBuf>,
}

fn main() -> ExitCode {
    let options = match options(std::env::args().skip(1)) {
        Ok(options) => options,
        Err(error) => {
            eprintln!("restore: {error}");
            return ExitCode::from(2);
        }
    };
    let restored = restore::run(options.time, options.seed, options.server.as_deref());
    println!("{restored}");
    ExitCode::SUCCESS
}

fn options(mut words: impl Iterator<Item = String>) -> Result<Options, String> {
    let mut options = Options { time: Duration::from_secs(60), seed: 1, server: None };
    while let Some(word) = words.next() {
        let value = words.next().ok_or_else(|| format!("{word} takes a value"))?;
        let number = || -> Result<f64, String> {
            value.parse().map_err(|_| format!("{word} takes a number, not {value}"))
        };
        match word.as_str() {
            "--minutes" => options.time = Duration::from_secs_f64(number()? * 60.0),
            "--seed" => options.seed = number()? as u64,
            "--server" => options.server = Some(value.into()),
            _ => return Err(format!("no option {word}")),
        }
    }
    Ok(options)
}
