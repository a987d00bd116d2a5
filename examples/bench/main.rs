//! `make bench`: the costs and the rates of the module with real servers, as ratios to the same
//! work without the module, measured at the same time.
//!
//!     cargo run --release --example bench -- [--only SECTION,...] [--scale FACTOR]
//!
//! - `cost`: capturing, on the server thread
//! - `groups`: finding out which keys one MULTI changed, on the server thread
//! - `read`: reading and acknowledging, on the server thread
//! - `drain`: the rate of writes to MongoDB, compared with a bare loop of upserts (`bare`)
//! - `coalesce`: many changes of few keys
//! - `lag`: from the reply until the write is visible in MongoDB
//! - `latency`: of clients while the module drains
//! - `remote`: the same with MongoDB on another machine, which `null_mongod` simulates
//! - `memory`: of dirty keys, and the cost of an event with many of them
//! - `start`: loading an RDB and an AOF
//! - `fence`: numbered commands and transactions, compared with plain commands
//! - `difference`: updates that change a part of a document, compared with bare loops
//! - `warm`: loading documents from MongoDB
//! - `through`: keys that are loaded when clients read them
//! - `write-through`: clients that wait until MongoDB has what they wrote
//! - `report`, `plot`, `sample`: evaluation of the measurements
//! - `servers`, `load`, `cpu`, `documents`: servers, load and measurement

mod bare;
mod coalesce;
mod cost;
mod cpu;
mod difference;
mod documents;
mod drain;
mod fence;
mod groups;
mod lag;
mod latency;
mod load;
mod memory;
mod null_mongod;
mod plot;
mod read;
mod remote;
mod report;
mod sample;
mod servers;
mod start;
mod through;
mod warm;
mod write_through;

use std::process::ExitCode;

use report::Report;

type Section = (&'static str, fn(&mut Report));

const SECTIONS: [Section; 15] = [
    ("cost", cost::run),
    ("groups", groups::run),
    ("read", read::run),
    ("drain", drain::run),
    ("coalesce", coalesce::run),
    ("lag", lag::run),
    ("latency", latency::run),
    ("remote", remote::run),
    ("memory", memory::run),
    ("start", start::run),
    ("fence", fence::run),
    ("difference", difference::run),
    ("warm", warm::run),
    ("through", through::run),
    ("write-through", write_through::run),
];

fn main() -> ExitCode {
    let (only, scale) = match options(std::env::args().skip(1)) {
        Ok(options) => options,
        Err(error) => {
            eprintln!("bench: {error}");
            return ExitCode::from(2);
        }
    };
    let mut report = Report::new(&servers::folder(), scale);
    for (name, run) in SECTIONS {
        if only.is_empty() || only.iter().any(|other| other == name) {
            report.begin(name);
            run(&mut report);
        }
    }
    report.finish();
    ExitCode::SUCCESS
}

fn options(mut words: impl Iterator<Item = String>) -> Result<(Vec<String>, f64), String> {
    let (mut only, mut scale) = (Vec::new(), 1.0);
    while let Some(word) = words.next() {
        let value = words.next().ok_or_else(|| format!("{word} takes a value"))?;
        match word.as_str() {
            "--only" => only = value.split(',').map(str::to_owned).collect(),
            "--scale" => {
                scale = value.parse().map_err(|_| format!("{word} takes a number, not {value}"))?;
            }
            _ => return Err(format!("no option {word}")),
        }
    }
    match only.iter().find(|name| SECTIONS.iter().all(|(other, _)| other != name)) {
        Some(name) => {
            let names: Vec<&str> = SECTIONS.iter().map(|(name, _)| *name).collect();
            Err(format!("no section {name} among {}", names.join(" ")))
        }
        None => Ok((only, scale)),
    }
}
