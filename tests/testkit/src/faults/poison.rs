//! The effect of rejected documents on all others: the lag with and without them.

use std::fmt;
use std::time::{Duration, Instant};

use mongodb::bson::doc;

use crate::mongod::Mongod;
use crate::redis_server::{Redis, Setup};

/// Hashes written per second.
const PER_SECOND: u32 = 2_000;
/// Hashes per pipeline.
const PIPELINE: u32 = 20;
/// One hash in this many is rejected.
const POISON_EVERY: u32 = 100;
/// A value that makes a hash too large for MongoDB.
const TOO_LARGE: usize = 17 << 20;

/// One run.
#[derive(Clone, Copy, Debug)]
pub struct Run {
    pub lag_p50_us: i64,
    pub good: u64,
    /// Good documents that MongoDB has.
    pub written: u64,
    pub poison: u64,
    pub dead_letters: i64,
}

/// Writes for `time` at a steady rate, with 1 % rejected documents or without.
fn run(mongod: &Mongod, time: Duration, poisoned: bool, large: u32) -> Run {
    let database = mongod.named_database("poison");
    database.drop();
    let rules = doc! { "year": { "$not": { "$type": "string" } } };
    database.run(doc! { "create": "hashes", "validator": { "banned": { "$exists": false } } });
    database.run(doc! { "create": "numbered", "validator": rules });
    let index = doc! {
        "key": { "email": 1 }, "name": "email", "unique": true,
        "partialFilterExpression": { "email": { "$exists": true } },
    };
    database.run(doc! { "createIndexes": "hashes", "indexes": [index] });
    let redis = Setup::new(&mongod.uri()).start();
    redis.cmd(&["WB.REGISTER", "h:", &database.namespace("hashes")]);
    redis.cmd(&["WB.REGISTER", "n:", &database.namespace("numbered"), "KEY", "n", "AS", "INT64"]);
    // The first document with this email is accepted.
    redis.cmd(&["HSET", "h:first", "email", "taken@example.test"]);
    redis.flush();
    let (good, poison) = write(&redis, time, poisoned, large);
    let flushed = redis.flush();
    assert_eq!(flushed.pending, 0, "{flushed:?}");
    let status = redis.status();
    Run {
        lag_p50_us: status.int("lag_p50_us"),
        good: good + 1,
        written: database.collection("hashes").count() + database.collection("numbered").count(),
        poison,
        dead_letters: status.int("dead_letters"),
    }
}

fn write(redis: &Redis, time: Duration, poisoned: bool, large: u32) -> (u64, u64) {
    let mut connection = redis.connect();
    let start = Instant::now();
    let (mut sent, mut poison) = (0_u32, 0_u32);
    let mut large_left = large;
    while start.elapsed() < time {
        let mut pipeline = redis::pipe();
        for _ in 0..PIPELINE {
            sent += 1;
            if poisoned && sent % POISON_EVERY == 0 {
                poison += 1;
                let (key, field, value) = match poison % 3 {
                    0 => (format!("h:{sent}"), "email", "taken@example.test"),
                    1 => (format!("h:{sent}"), "banned", "yes"),
                    _ => (format!("n:no number {sent}"), "name", "x"),
                };
                pipeline.cmd("HSET").arg(key).arg(field).arg(value).ignore();
            } else {
                let prefix = if sent % 4 == 0 { "n" } else { "h" };
                let key = format!("{prefix}:{sent}");
                pipeline.cmd("HSET").arg(key).arg("name").arg(sent).ignore();
            }
        }
        pipeline.query::<()>(&mut connection).expect("HSET");
        // In the middle of the run.
        if poisoned && large_left > 0 && start.elapsed() > time / 2 {
            large_left -= 1;
            poison += 1;
            let value = "x".repeat(TOO_LARGE);
            redis.cmd(&["HSET", &format!("h:large {large_left}"), "name", &value]);
        }
        let due = start + Duration::from_secs(1) * sent / PER_SECOND;
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
    }
    // The large values are not included in `sent`.
    let poison_sent = poison - (large - large_left) * u32::from(poisoned);
    (u64::from(sent - poison_sent), u64::from(poison))
}

/// Pairs of concurrent runs, so that other load on the machine affects both.
#[derive(Debug, Default)]
pub struct Pairs {
    pub plain: Vec<Run>,
    pub poisoned: Vec<Run>,
}

impl Pairs {
    /// Each run of a pair has its own MongoDB; the next pair swaps them.
    pub fn play(pairs: usize, time: Duration, large: u32) -> Self {
        let mongods = [Mongod::replica_set(), Mongod::replica_set()];
        let mut all = Self::default();
        for pair in 0..pairs {
            let (one, other) = (&mongods[pair % 2], &mongods[(pair + 1) % 2]);
            std::thread::scope(|scope| {
                let plain = scope.spawn(|| run(one, time, false, 0));
                all.poisoned.push(run(other, time, true, large));
                all.plain.push(plain.join().expect("the run without poison"));
            });
        }
        all
    }

    /// The median lag with rejected documents, divided by the median without.
    pub fn ratio(&self) -> f64 {
        median(&self.poisoned) as f64 / median(&self.plain) as f64
    }
}

fn median(runs: &[Run]) -> i64 {
    let mut lags: Vec<i64> = runs.iter().map(|run| run.lag_p50_us).collect();
    lags.sort_unstable();
    lags[lags.len() / 2]
}

impl fmt::Display for Pairs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (good, written) = self
            .poisoned
            .iter()
            .fold((0, 0), |(good, written), run| (good + run.good, written + run.written));
        write!(
            f,
            "median lag {:.1} ms without poison, {:.1} ms with it, ratio {:.3}; {written} of \
             {good} good documents were written, {} dead letters of {}",
            median(&self.plain) as f64 / 1e3,
            median(&self.poisoned) as f64 / 1e3,
            self.ratio(),
            self.poisoned.iter().map(|run| run.dead_letters).sum::<i64>(),
            self.poisoned.iter().map(|run| run.poison).sum::<u64>(),
        )
    }
}
