//! The servers of one round.

use std::path::{Path, PathBuf};
use std::time::Duration;

use fastrand::Rng;

use super::check::{self, Findings};
use super::model::{Key, PREFIXES};
use super::writer::{Writers, Written, new_keys};
use crate::mongod::{Mongod, TestDatabase};
use crate::redis_server::{Redis, Setup};

/// A MongoDB for rounds that do not kill it, and one for rounds that do.
#[derive(Default)]
pub struct Mongods {
    steady: Option<Mongod>,
    victim: Option<Mongod>,
}

impl Mongods {
    pub fn steady(&mut self) -> &mut Mongod {
        self.steady.get_or_insert_with(Mongod::replica_set)
    }

    pub fn victim(&mut self) -> &mut Mongod {
        self.victim.get_or_insert_with(Mongod::replica_set)
    }
}

/// Redis with the registered prefixes, a database, and the keys of the writers.
pub struct Stage {
    pub redis: Redis,
    pub replica: Option<Redis>,
    pub database: TestDatabase,
    pub rng: Rng,
    pub findings: Findings,
    pub acknowledged: u64,
    /// Dirty keys after the last restart.
    pub dirty: i64,
    setup: Setup,
    seed: u64,
    phase: usize,
    keys: Vec<Vec<Key>>,
    writers: Option<Writers>,
}

impl Stage {
    pub fn new(mongod: &Mongod, seed: u64, server: Option<&Path>) -> Self {
        let mut setup = Setup::new(&mongod.uri())
            .json()
            .durable()
            .setting("retry-backoff-max-ms", "200")
            .config("loading-process-events-interval-bytes 1024")
            .config("repl-diskless-sync-delay 0");
        if let Some(server) = server {
            setup = setup.program(server);
        }
        let redis = setup.start();
        let database = mongod.named_database(&format!("round{seed}"));
        // May exist from a round with the same seed.
        database.drop();
        for prefix in &PREFIXES {
            let namespace = database.namespace(prefix.collection);
            let options: Vec<&str> = prefix.options.split(' ').collect();
            redis.cmd(&[&["WB.REGISTER", prefix.prefix, &namespace], options.as_slice()].concat());
        }
        Stage {
            redis,
            replica: None,
            database,
            rng: Rng::with_seed(seed),
            findings: Findings::default(),
            acknowledged: 0,
            dirty: 0,
            setup,
            seed,
            phase: 0,
            keys: new_keys(),
            writers: None,
        }
    }

    /// Starts the writers.
    pub fn write(&mut self) {
        self.phase += 1;
        let keys = std::mem::take(&mut self.keys);
        let connect = || self.redis.connect();
        self.writers = Some(Writers::start(keys, connect, self.seed, self.phase));
    }

    /// Stops the writers, if any run.
    pub fn stop_writing(&mut self) {
        let Some(writers) = self.writers.take() else { return };
        for Written { keys, acknowledged } in writers.stop() {
            self.acknowledged += acknowledged;
            self.keys.push(keys);
        }
    }

    /// Sleeps for a random time.
    pub fn run_for(&mut self, from_ms: u64, to_ms: u64) {
        // Not a wait for a condition: the random moment is the purpose of a round.
        std::thread::sleep(Duration::from_micros(self.rng.u64(from_ms * 1000..to_ms * 1000)));
    }

    /// `kill -9` of Redis. Panics if it had already ended.
    pub fn kill(&mut self) {
        if let Some(status) = self.redis.ended() {
            panic!("redis-server ended by itself: {status}\n{}", self.redis.log());
        }
        self.redis.kill();
        self.stop_writing();
    }

    /// Starts Redis in the same folder and compares its keys with the acknowledged writes.
    pub fn restart(&mut self) {
        self.redis.restart();
        self.after_restart();
    }

    /// The comparison after a restart or a promotion.
    pub fn after_restart(&mut self) {
        self.dirty = self.redis.status().int("dirty_keys");
        check::settle(&self.redis, &mut self.keys, &mut self.findings);
    }

    /// Starts a replica that is in sync.
    pub fn add_replica(&mut self) {
        let replica = self.setup.start();
        replica.follow(&self.redis);
        // Until the replica's first REPLCONF ACK, up to a second later, it receives no stream. A
        // write of that time could be in MongoDB and not on the replica, which the check does not
        // allow.
        self.redis.cmd(&["SET", "other", "x"]);
        assert_eq!(
            self.redis.run::<i64>(&["WAIT", "1", "20000"]),
            1,
            "the replica does not acknowledge"
        );
        self.replica = Some(replica);
    }

    /// Promotes the replica in place of the killed master.
    pub fn promote(&mut self) {
        let replica = self.replica.take().expect("a replica");
        let killed = std::mem::replace(&mut self.redis, replica);
        self.replica = Some(killed);
        self.redis.promote();
        self.keys.iter_mut().flatten().for_each(Key::allow_any_state);
        self.after_restart();
    }

    /// True if MongoDB has the document of every key in Redis.
    pub fn is_written(&self) -> bool {
        check::is_written(&self.redis, &self.database, &self.keys)
    }

    /// The comparison at the end of the round.
    pub fn check(&mut self) {
        self.stop_writing();
        check::check(&self.redis, &self.database, &mut self.keys, &mut self.findings);
    }

    pub fn keys(&self) -> usize {
        self.keys.iter().flatten().count()
    }

    /// Kills the servers and keeps their folders.
    pub fn keep(mut self) -> Vec<PathBuf> {
        self.redis.kill();
        self.stop_writing();
        [Some(self.redis), self.replica].into_iter().flatten().map(Redis::keep).collect()
    }
}
