//! The servers of a round.

use std::path::PathBuf;

use mongodb::bson::doc;

use super::{Plan, Verdict};
use crate::mongod::TestDatabase;
use crate::redis_server::command;
use crate::redis_server::{Redis, Setup};
use crate::wait::{SOON, became, wait_until};

/// Keys are written by a flush only.
const NEVER: &str = "3600000";

/// The servers that have the same data, and their documents.
pub struct Servers {
    pub plan: Plan,
    pub database: TestDatabase,
    /// The server program, if it is not the default.
    pub program: Option<PathBuf>,
    /// Connection string of all but the first master.
    pub uri: String,
}

impl Servers {
    /// A server that keeps its data in an AOF, or in an RDB that is saved by hand.
    pub fn start(&self, uri: &str, has_aof: bool, change: impl FnOnce(Setup) -> Setup) -> Redis {
        let mut setup = Setup::new(uri).config("repl-diskless-sync-delay 0");
        if let Some(program) = &self.program {
            setup = setup.program(program);
        }
        if has_aof {
            setup = setup.durable();
        }
        if !self.plan.fenced {
            setup = setup.setting("lease-namespace", &self.database.namespace("view"));
        }
        change(setup).start()
    }

    /// A master with documents that have its first value.
    pub fn master(&self, redis: &Redis) {
        if !self.plan.fenced {
            // Takes no writes, so no lease.
            let view = doc! { "create": "view", "viewOn": "none", "pipeline": [] };
            self.database.run(view);
        }
        self.register(redis, NEVER);
        self.set(redis, "first");
        self.flush(redis);
    }

    /// Registers the keys, which wait for so many milliseconds.
    pub fn register(&self, redis: &Redis, interval_ms: &str) {
        let namespace = self.database.namespace("keys");
        redis.cmd(&["WB.REGISTER", "k:", &namespace, "INTERVAL", interval_ms]);
    }

    /// Gives all keys this value.
    pub fn set(&self, redis: &Redis, value: &str) {
        let mut pipe = redis::pipe();
        for key in 0..self.plan.keys {
            pipe.add_command(command(&["SET", &format!("k:{key}"), value])).ignore();
        }
        pipe.query::<()>(&mut redis.connection()).expect("replies");
    }

    /// All dirty keys must be written.
    #[track_caller]
    pub fn flush(&self, redis: &Redis) {
        let flushed = redis.flush_with(&["TIMEOUT", "30000"]);
        assert_eq!((flushed.failed, flushed.pending), (0, 0), "{}", redis.log());
    }

    /// A server that was replaced goes on: it is given the time and the occasion to write.
    pub fn comes_back(&self, redis: &Redis) {
        redis.flush_with(&["TIMEOUT", "2000"]);
        let waits = || redis.status().text("lease") == "waiting";
        let writes = || redis.status().int("dirty_keys") == 0;
        let ended = became(SOON, || waits() || writes());
        assert!(ended, "{}", redis.log());
    }

    /// The keys are sent and not answered.
    pub fn in_flight(&self, redis: &Redis) {
        redis.flush_with(&["TIMEOUT", "1"]);
        wait_until("a batch is in flight", SOON, || redis.status().int("in_flight_keys") > 0);
    }

    /// Number of documents with this value.
    pub fn with(&self, value: &str) -> u64 {
        self.database.collection("keys").count_of(doc! { "value": value })
    }

    pub fn verdict(&self, value: &str) -> Verdict {
        let keys = self.plan.keys as u64;
        Verdict { keys, stale: keys - self.with(value) }
    }
}
