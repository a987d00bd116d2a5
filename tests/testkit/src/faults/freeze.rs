//! A frozen MongoDB while Redis takes many writes: the latency of clients, and memory.

use std::fmt;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

use super::Comparison;
use super::load::{Load, Rate};
use crate::mongod::Mongod;
use crate::redis_server::{Redis, Setup};

/// One phase of a round.
#[derive(Debug)]
pub struct Phase {
    pub per_second: f64,
    pub latencies: Histogram<u64>,
}

/// The result of a round.
#[derive(Debug)]
pub struct Verdict {
    pub before: Phase,
    pub during: Phase,
    pub after: Phase,
    /// Keys that became dirty while MongoDB was frozen.
    pub dirty: i64,
    /// Growth in bytes, of `memory_bytes`, of the process, and of `used_memory`.
    pub memory: i64,
    pub resident: i64,
    pub used: i64,
    /// From SIGCONT to the comparison.
    pub recovery: Duration,
    pub comparison: Comparison,
}

/// Keys written before the freeze: few, so that no backlog builds up and memory stays small.
const KEYS_BEFORE: u64 = 2_000;

/// Writes at `rate` before, during and after a freeze.
pub fn play(mongod: &Mongod, rate: Rate, frozen: Duration) -> Verdict {
    let redis = Setup::new(&mongod.uri()).setting("retry-backoff-max-ms", "1000").start();
    let database = mongod.named_database("freeze");
    database.drop();
    redis.cmd(&["WB.REGISTER", "k:", &database.namespace("keys")]);
    let load = Load::start(&redis, "k:before ", Rate { keys: KEYS_BEFORE, ..rate });
    phase(&load, frozen / 4);
    let before = phase(&load, frozen / 2);
    load.stop();
    redis.flush();
    let figures = Figures::of(&redis);
    mongod.freeze();
    let load = Load::start(&redis, "k:", rate);
    let during = phase(&load, frozen);
    let frozen_figures = Figures::of(&redis);
    mongod.thaw();
    let thawed = Instant::now();
    let after = phase(&load, frozen / 2);
    load.stop();
    let comparison = Comparison::after_flush(&redis, "k:", &database.collection("keys"));
    let recovery = thawed.elapsed();
    Verdict {
        before,
        during,
        after,
        dirty: frozen_figures.dirty - figures.dirty,
        memory: frozen_figures.memory - figures.memory,
        resident: frozen_figures.resident - figures.resident,
        used: frozen_figures.used - figures.used,
        recovery,
        comparison,
    }
}

impl Verdict {
    /// The p99 latency while MongoDB is frozen, divided by the p99 before.
    pub fn ratio(&self) -> f64 {
        p99(&self.during) as f64 / p99(&self.before) as f64
    }
}

fn phase(load: &Load, time: Duration) -> Phase {
    load.latencies();
    let (start, writes) = (Instant::now(), load.writes());
    std::thread::sleep(time);
    let per_second = (load.writes() - writes) as f64 / start.elapsed().as_secs_f64();
    Phase { per_second, latencies: load.latencies() }
}

fn p99(phase: &Phase) -> u64 {
    phase.latencies.value_at_quantile(0.99)
}

/// Dirty keys, and bytes of memory.
struct Figures {
    dirty: i64,
    memory: i64,
    resident: i64,
    used: i64,
}

impl Figures {
    fn of(redis: &Redis) -> Self {
        let status = redis.status();
        let used = redis.info("memory", "used_memory").expect("used_memory");
        let used = used.parse().expect("a number");
        Self {
            dirty: status.int("dirty_keys"),
            memory: status.int("memory_bytes"),
            resident: resident(redis),
            used,
        }
    }
}

/// Resident memory of the process, in bytes.
fn resident(redis: &Redis) -> i64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", redis.pid())).expect("status");
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("VmRSS");
    line.split_whitespace().nth(1).expect("kB").parse::<i64>().expect("kB") * 1024
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, phase) in
            [("before", &self.before), ("during", &self.during), ("after", &self.after)]
        {
            let us = |quantile| phase.latencies.value_at_quantile(quantile);
            writeln!(
                f,
                "{name:<7} {:>7.0} writes/s, p50 {} us, p99 {} us, p99.9 {} us, slowest {} us",
                phase.per_second,
                us(0.5),
                us(0.99),
                us(0.999),
                phase.latencies.max()
            )?;
        }
        let each = |bytes: i64| bytes as f64 / self.dirty.max(1) as f64;
        writeln!(
            f,
            "p99 during / before: {:.2}; {} more dirty keys: {:.0} bytes each by WB.STATUS, {:.0} \
             of the process, {:.0} of those for the keys themselves",
            self.ratio(),
            self.dirty,
            each(self.memory),
            each(self.resident),
            each(self.used)
        )?;
        write!(
            f,
            "compared {:.1} s after SIGCONT: {}",
            self.recovery.as_secs_f64(),
            self.comparison
        )
    }
}
