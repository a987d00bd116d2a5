//! The servers of one round.

use std::path::Path;
use std::time::Duration;

use fastrand::Rng;

use super::account::{self, Names};
use crate::mongod::replica_set::ReplicaSet;
use crate::mongod::{Mongod, TestDatabase};
use crate::network::proxy::Proxy;
use crate::redis_server::{Redis, Setup};
use crate::wait::{SOON, wait_until};

/// The module's time limit for a command. Some faults last longer, so that batches are given up.
pub const WRITE_TIMEOUT: Duration = Duration::from_millis(1_000);

/// MongoDB, private to the stage.
pub enum Servers {
    /// A replica set of one member, which the module reaches through a proxy.
    One { mongod: Box<Mongod>, proxy: Proxy },
    /// A replica set of three members.
    Three(ReplicaSet),
}

impl Servers {
    pub fn one() -> Self {
        let mongod = Box::new(Mongod::replica_set());
        let proxy = Proxy::to(mongod.port());
        Self::One { mongod, proxy }
    }

    pub fn three() -> Self {
        Self::Three(ReplicaSet::of_three())
    }

    fn uri(&self) -> String {
        match self {
            Self::One { proxy, .. } => proxy.uri(),
            Self::Three(set) => set.uri(),
        }
    }

    /// Through a client that no proxy disturbs.
    fn database(&self, name: &str) -> TestDatabase {
        match self {
            Self::One { mongod, .. } => mongod.named_database(name),
            Self::Three(set) => set.named_database(name),
        }
    }
}

/// Redis with both registrations and the accounts of the start, and MongoDB.
pub struct Stage {
    pub redis: Redis,
    pub servers: Servers,
    pub rng: Rng,
    pub names: Names,
    name: String,
}

impl Stage {
    /// `atomic` is nothing or an option of `WB.REGISTER`.
    pub fn new(
        servers: Servers,
        names: Names,
        atomic: &str,
        seed: u64,
        server: Option<&Path>,
    ) -> Self {
        let mut setup = Setup::new(&servers.uri())
            .json()
            .durable()
            .setting("retry-backoff-min-ms", "5")
            .setting("retry-backoff-max-ms", "100")
            .setting("write-timeout-ms", &WRITE_TIMEOUT.as_millis().to_string());
        if let Some(server) = server {
            setup = setup.program(server);
        }
        let redis = setup.start();
        let name = format!("transfers{seed}");
        let stage = Stage { redis, servers, rng: Rng::with_seed(seed), names, name };
        account::register(&stage.redis, &stage.database(), atomic);
        account::create(&stage.redis, names);
        stage
    }

    pub fn database(&self) -> TestDatabase {
        self.servers.database(&self.name)
    }

    /// Sleeps for a random time.
    pub fn run_for(&mut self, from_ms: u64, to_ms: u64) {
        // Not a wait for a condition: the random moment is the purpose of a round.
        std::thread::sleep(Duration::from_micros(self.rng.u64(from_ms * 1000..to_ms * 1000)));
    }

    /// `kill -9` of Redis. Panics if it had already ended.
    pub fn kill_redis(&mut self) {
        if let Some(status) = self.redis.ended() {
            panic!("redis-server ended by itself: {status}\n{}", self.redis.log());
        }
        self.redis.kill();
    }

    /// Starts Redis again. Panics if Redis has lost a part of a transfer.
    pub fn restart_redis(&mut self) {
        self.redis.restart();
        self.check_sum();
    }

    /// Panics if the sum in Redis is wrong, which is no fault of the module.
    pub fn check_sum(&self) {
        let balances = account::in_redis(&self.redis);
        assert_eq!(balances.values().sum::<i64>(), self.names.total(), "Redis has {balances:?}");
    }

    /// The accounts that differ between Redis and MongoDB, once WB.FLUSH has replied.
    pub fn differences(&self) -> Vec<String> {
        let flushed = self.redis.flush_with(&["TIMEOUT", "30000"]);
        if (flushed.failed, flushed.pending) != (0, 0) {
            return vec![format!("{flushed:?} {:?}", self.redis.status())];
        }
        let mut snapshot = Err("no snapshot".to_owned());
        wait_until("MongoDB can be read", SOON, || {
            let documents = self.database().snapshot(&account::collections());
            documents.map(|found| snapshot = account::in_snapshot(&found)).is_ok()
        });
        match snapshot {
            Ok(balances) => account::changes(&account::in_redis(&self.redis), &balances),
            Err(error) => vec![error],
        }
    }
}
