//! The servers of one round.

use std::path::{Path, PathBuf};
use std::time::Duration;

use fastrand::Rng;

use super::check::{self, Findings};
use super::model::{Key, PREFIXES};
use super::writer::{Writers, Written, new_keys};
use crate::mongod::{Mongod, TestDatabase};
use crate::redis_server::{Redis, Setup};

/// MongoDB for rounds that leave it alone, and one for rounds that kill it.
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

/// Redis with the prefixes registered, a database, and keys that writers write.
pub struct Stage {
    pub redis: Redis,
    pub replica: Option<Redis>,
    pub database: TestDatabase,
    pub rng: Rng,
    pub findings: Findings,
    pub acknowledged: u64,
    /// Dirty keys when the server was back.
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
        // Left by a round of the same seed.
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

    /// Writers begin, or begin again.
    pub fn write(&mut self) {
        self.phase += 1;
        let keys = std::mem::take(&mut self.keys);
        let connect = || self.redis.connect();
        self.writers = Some(Writers::start(keys, connect, self.seed, self.phase));
    }

    /// Writers end, if their server has not ended them.
    pub fn stop_writing(&mut self) {
        let Some(writers) = self.writers.take() else { return };
        for Written { keys, acknowledged } in writers.stop() {
            self.acknowledged += acknowledged;
            self.keys.push(keys);
        }
    }

    /// Lets things go on for a random time.
    pub fn go_on(&mut self, from_ms: u64, to_ms: u64) {
        // The random moment is what a round is about.
        std::thread::sleep(Duration::from_micros(self.rng.u64(from_ms * 1000..to_ms * 1000)));
    }

    /// `kill -9` of Redis. It must have been alive: an end of its own is a failure.
    pub fn kill(&mut self) {
        if let Some(status) = self.redis.ended() {
            panic!("redis-server ended by itself: {status}\n{}", self.redis.log());
        }
        self.redis.kill();
        self.stop_writing();
    }

    /// Redis is back on the same folder; what it holds is compared with what was acknowledged.
    pub fn start_again(&mut self) {
        self.redis.start_again();
        self.back();
    }

    /// After a start of another kind.
    pub fn back(&mut self) {
        self.dirty = self.redis.status().int("dirty_keys");
        check::settle(&self.redis, &mut self.keys, &mut self.findings);
    }

    /// A replica that has everything so far.
    pub fn add_replica(&mut self) {
        let replica = self.setup.start();
        replica.follow(&self.redis);
        // The stream begins with the replica's first acknowledgement, up to a second later; until
        // then MongoDB is ahead of it, and what it does not receive it cannot be asked for.
        self.redis.cmd(&["SET", "other", "x"]);
        assert_eq!(
            self.redis.run::<i64>(&["WAIT", "1", "20000"]),
            1,
            "the replica does not answer"
        );
        self.replica = Some(replica);
    }

    /// The replica takes the place of the dead master.
    pub fn promote(&mut self) {
        let replica = self.replica.take().expect("a replica");
        let dead = std::mem::replace(&mut self.redis, replica);
        self.replica = Some(dead);
        self.redis.promote();
        self.keys.iter_mut().flatten().for_each(Key::anything_goes);
        self.back();
    }

    /// Whether MongoDB holds the document of every key in Redis.
    pub fn has_arrived(&self) -> bool {
        check::has_arrived(&self.redis, &self.database, &self.keys)
    }

    /// The comparison at the end of the round.
    pub fn check(&mut self) {
        self.stop_writing();
        check::check(&self.redis, &self.database, &mut self.keys, &mut self.findings);
    }

    pub fn keys(&self) -> usize {
        self.keys.iter().flatten().count()
    }

    /// Ends the servers and leaves their folders.
    pub fn keep(mut self) -> Vec<PathBuf> {
        self.redis.kill();
        self.stop_writing();
        [Some(self.redis), self.replica].into_iter().flatten().map(Redis::keep).collect()
    }
}
