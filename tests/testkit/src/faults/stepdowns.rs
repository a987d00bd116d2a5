//! A primary that steps down repeatedly, under load.

use std::fmt;
use std::time::{Duration, Instant};

use super::Comparison;
use super::load::{GENTLE, Load};
use super::watch::{Watch, Watched};
use crate::mongod::replica_set::ReplicaSet;
use crate::redis_server::Setup;

/// The time between two step-downs.
const EVERY: Duration = Duration::from_secs(3);

/// The result of a round.
#[derive(Debug)]
pub struct Verdict {
    pub step_downs: u64,
    pub writes: u64,
    pub watched: Watched,
    pub comparison: Comparison,
    pub retries: i64,
    pub dead_letters: i64,
    pub slowest: Duration,
}

/// Steps the primary down every three seconds for `time`.
pub fn play(set: &ReplicaSet, time: Duration) -> Verdict {
    let database = set.named_database("stepdowns");
    database.drop();
    let redis = Setup::new(&set.uri()).setting("retry-backoff-max-ms", "200").start();
    redis.cmd(&["WB.REGISTER", "k:", &database.namespace("keys"), "INTERVAL", "0"]);
    let load = Load::start(&redis, "k:", GENTLE);
    let watch = Watch::start(database.collection("keys"));
    let start = Instant::now();
    let mut step_downs = 0;
    while start.elapsed() < time {
        let next = Instant::now() + EVERY;
        step_downs += u64::from(set.step_down());
        std::thread::sleep(next.saturating_duration_since(Instant::now()));
    }
    let slowest = Duration::from_micros(load.latencies().max());
    let writes = load.stop();
    let comparison = Comparison::after_flush(&redis, "k:", &database.collection("keys"));
    let watched = watch.stop();
    let status = redis.status();
    let (retries, dead_letters) = (status.int("retries_total"), status.int("dead_letters"));
    Verdict { step_downs, writes, watched, comparison, retries, dead_letters, slowest }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} step-downs, {} writes, {} batches retried, {}, {} counters decreased in {} polls, \
             slowest write {:.1} ms",
            self.step_downs,
            self.writes,
            self.retries,
            self.comparison,
            self.watched.falls.len(),
            self.watched.polls,
            self.slowest.as_secs_f64() * 1e3
        )
    }
}
