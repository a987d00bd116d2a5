//! `make outage`: faults of MongoDB for longer than in the tests, and their effects on Redis.
//!
//!     cargo run --release --example outage -- [--only PART] [--seconds N] [--rounds N]
//!         [--per-second N] [--keys N]
//!
//! | part | fault | `--seconds`, `--rounds` |
//! | --- | --- | --- |
//! | `freeze` | MongoDB is suspended under `--per-second` writes of `--keys` keys | 20 s |
//! | `stepdowns` | the primary of three members steps down every three seconds | 60 s |
//! | `late-writes` | batches that timed out are executed late, on a replica set and a standalone | 20 rounds |
//! | `black-hole` | the network drops everything | 30 s |
//! | `poison` | one document in a hundred is rejected | 10 pairs of runs |
//! | `reconnects` | all connections break | 200 times |
//!
//! Exits non-zero if documents are lost, different, or stale on a replica set, or if a counter
//! decreases.

use std::process::ExitCode;
use std::time::Duration;

use testkit::faults::freeze;
use testkit::faults::late_writes::{self, Stale};
use testkit::faults::load::Rate;
use testkit::faults::network;
use testkit::faults::poison::Pairs;
use testkit::faults::reconnects;
use testkit::faults::stepdowns;
use testkit::mongod::Mongod;
use testkit::mongod::replica_set::ReplicaSet;
use testkit::network::proxy::Fault;

/// The command-line options.
#[derive(Clone, Copy)]
struct Options {
    seconds: Option<u64>,
    rounds: Option<u32>,
    per_second: u64,
    keys: u64,
}

impl Options {
    fn time(self, default: u64) -> Duration {
        Duration::from_secs(self.seconds.unwrap_or(default))
    }

    fn rounds(self, default: u32) -> u32 {
        self.rounds.unwrap_or(default)
    }
}

/// The name of a part, and its function, which prints the results and returns true if there is no
/// error.
type Part = (&'static str, fn(Options) -> bool);

const PARTS: [Part; 6] = [
    ("freeze", play_freeze),
    ("stepdowns", play_stepdowns),
    ("late-writes", play_late_writes),
    ("black-hole", play_black_hole),
    ("poison", play_poison),
    ("reconnects", play_reconnects),
];

fn main() -> ExitCode {
    let (options, parts) = match options(std::env::args().skip(1)) {
        Ok(options) => options,
        Err(error) => {
            eprintln!("outage: {error}");
            return ExitCode::from(2);
        }
    };
    let mut failed = Vec::new();
    for (name, play) in parts {
        println!("== {name}");
        if !play(options) {
            failed.push(name);
        }
    }
    if failed.is_empty() {
        println!("no errors");
        return ExitCode::SUCCESS;
    }
    println!("failed: {}", failed.join(" "));
    ExitCode::FAILURE
}

fn options(mut words: impl Iterator<Item = String>) -> Result<(Options, Vec<Part>), String> {
    let mut options = Options { seconds: None, rounds: None, per_second: 50_000, keys: 200_000 };
    let mut parts = PARTS.to_vec();
    while let Some(word) = words.next() {
        let value = words.next().ok_or_else(|| format!("{word} takes a value"))?;
        let number = || value.parse::<u32>().map_err(|_| format!("{word} takes a number"));
        match word.as_str() {
            "--seconds" => options.seconds = Some(number()?.into()),
            "--rounds" => options.rounds = Some(number()?),
            "--per-second" => options.per_second = number()?.into(),
            "--keys" => options.keys = number()?.into(),
            "--only" if value == "all" => {}
            "--only" => parts.retain(|(name, _)| *name == value),
            _ => return Err(format!("no option {word}")),
        }
    }
    if parts.is_empty() {
        let names = PARTS.map(|(name, _)| name).join(" ");
        return Err(format!("--only takes one of all {names}"));
    }
    Ok((options, parts))
}

fn play_freeze(options: Options) -> bool {
    let Options { per_second, keys, .. } = options;
    let rate = Rate { writers: 4, keys, per_second, pipeline: 50 };
    let verdict = freeze::play(&Mongod::replica_set(), rate, options.time(20));
    println!("{verdict}");
    verdict.comparison.is_equal()
}

fn play_stepdowns(options: Options) -> bool {
    let verdict = stepdowns::play(&ReplicaSet::of_three(), options.time(60));
    println!("{verdict}");
    verdict.comparison.is_equal()
        && verdict.watched.falls.is_empty()
        && verdict.dead_letters == 0
        && verdict.step_downs > 0
}

fn play_late_writes(options: Options) -> bool {
    let mut is_good = true;
    for (name, mongod) in
        [("replica set", Mongod::replica_set()), ("standalone", Mongod::standalone())]
    {
        let mut stage = late_writes::Stage::new(&mongod);
        for (kind, play) in [
            ("frozen", late_writes::Stage::frozen as fn(&mut _) -> Stale),
            ("late", late_writes::Stage::late),
        ] {
            let rounds: Vec<Stale> = (0..options.rounds(20)).map(|_| play(&mut stage)).collect();
            let all = rounds.iter().copied().fold(Stale::default(), Stale::plus);
            let stale = rounds.iter().filter(|round| **round != Stale::default()).count();
            println!("{name}, {kind}: {stale} of {} rounds; {all}", rounds.len());
            // A standalone has no sessions: indeterminate writes are repeated once, which does not
            // help against late writes that the network delivers after that.
            is_good &= match (name, kind) {
                ("standalone", "late") => true,
                ("standalone", _) => all.at_end == 0,
                _ => stale == 0,
            };
        }
    }
    is_good
}

fn play_black_hole(options: Options) -> bool {
    let mongod = Mongod::replica_set();
    let stage = network::Stage::new(&mongod);
    let survived = stage.survive(Fault::BlackHole, options.time(30), |stage| {
        println!("link: {}", stage.redis.status().text("link_error"));
    });
    println!("{survived}");
    survived.comparison.is_equal() && survived.dead_letters == 0
}

fn play_poison(options: Options) -> bool {
    let pairs = options.rounds(10) as usize;
    let pairs = Pairs::play(pairs, options.time(3), 2);
    println!("{pairs}");
    pairs.poisoned.iter().all(|run| run.written == run.good)
}

fn play_reconnects(options: Options) -> bool {
    let mongod = Mongod::replica_set();
    let mut stage = reconnects::Stage::new(&mongod);
    stage.reconnect(10);
    println!("before: {:?}", stage.figures());
    stage.reconnect(options.rounds(200));
    println!("after:  {:?}", stage.figures());
    stage.compare().is_equal()
}
