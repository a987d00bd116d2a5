//! A network that drops everything for a while, under load.

use std::fmt;
use std::time::{Duration, Instant};

use super::Comparison;
use super::load::{GENTLE, Load};
use crate::mongod::Mongod;
use crate::network::proxy::{Fault, Proxy};
use crate::redis_server::{Redis, Setup};
use crate::wait::{SOON, wait_until};

/// Redis under load, connected to MongoDB through a proxy.
pub struct Stage<'a> {
    pub mongod: &'a Mongod,
    pub proxy: Proxy,
    pub redis: Redis,
    load: Load,
}

/// The result of a fault.
#[derive(Debug)]
pub struct Survived {
    pub writes: u64,
    /// From the end of the fault to the first batch that MongoDB acknowledged.
    pub recovery: Duration,
    pub slowest: Duration,
    /// The 90th percentile of the latency.
    pub usual: Duration,
    pub comparison: Comparison,
    pub dead_letters: i64,
}

impl<'a> Stage<'a> {
    pub fn new(mongod: &'a Mongod) -> Self {
        let proxy = Proxy::to(mongod.port());
        let redis = Setup::new(&proxy.uri()).setting("retry-backoff-max-ms", "500").start();
        let namespace = mongod.named_database("network").namespace("keys");
        redis.cmd(&["WB.REGISTER", "k:", &namespace, "INTERVAL", "10"]);
        let load = Load::start(&redis, "k:", GENTLE);
        let stage = Self { mongod, proxy, redis, load };
        wait_until("documents are written", SOON, || {
            stage.redis.status().int("written_total") > 1000
        });
        stage
    }

    /// Sets the fault for `time`, then none; calls `meanwhile` just before its end.
    pub fn survive(self, fault: Fault, time: Duration, meanwhile: impl FnOnce(&Self)) -> Survived {
        self.proxy.set(fault);
        std::thread::sleep(time);
        meanwhile(&self);
        let before = self.redis.status().int("batches_total");
        self.proxy.set(Fault::None);
        let healed = Instant::now();
        wait_until("it recovers", Duration::from_secs(60), || {
            self.redis.status().int("batches_total") > before
        });
        let recovery = healed.elapsed();
        let latencies = self.load.latencies();
        let slowest = Duration::from_micros(latencies.max());
        let usual = Duration::from_micros(latencies.value_at_quantile(0.9));
        let writes = self.load.stop();
        let keys = self.mongod.named_database("network").collection("keys");
        let comparison = Comparison::after_flush(&self.redis, "k:", &keys);
        let dead_letters = self.redis.status().int("dead_letters");
        Survived { writes, recovery, slowest, usual, comparison, dead_letters }
    }
}

impl fmt::Display for Survived {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} writes, slowest {:.1} ms, recovered within {:.2} s, {}",
            self.writes,
            self.slowest.as_secs_f64() * 1e3,
            self.recovery.as_secs_f64(),
            self.comparison
        )
    }
}
