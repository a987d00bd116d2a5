//! Ghosts: batches that were given up on, and that MongoDB finds in its sockets later, beside the
//! newer ones.

use std::fmt;
use std::time::Duration;

use mongodb::bson::doc;

use crate::mongod::Mongod;
use crate::mongod::collection::Collection;
use crate::network::proxy::{Fault, Proxy};
use crate::redis_server::{Redis, Setup};
use crate::wait::{SOON, became, wait_until};

/// Keys of a round: two batches.
const KEYS: u64 = 2_000;
/// One of so many is deleted in the ghost.
const DELETED: u64 = 10;
/// Words of a value in the ghost. Each is an entry of an index, so that the ghost's writes are
/// slow, and the newer ones overtake it.
const WORDS: u64 = 40;
/// How long the module may take to write again what a ghost may have overwritten.
const REPAIRED_WITHIN: Duration = Duration::from_secs(15);

/// Documents of a round that are not the newest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stale {
    /// When WB.FLUSH had answered.
    pub after_flush: u64,
    /// When MongoDB had nothing more to do.
    pub after_ghosts: u64,
    /// When the module had had time to write again what it doubts.
    pub at_end: u64,
}

/// Redis with a registration whose keys fill the batches that become ghosts.
pub struct Stage<'a> {
    mongod: &'a Mongod,
    proxy: Proxy,
    redis: Redis,
    keys: Collection,
    rounds: u64,
}

impl<'a> Stage<'a> {
    pub fn new(mongod: &'a Mongod) -> Self {
        let database = mongod.named_database("ghosts");
        database.drop();
        let index =
            doc! { "key": { "value": "text" }, "name": "words", "default_language": "none" };
        database.run(doc! { "createIndexes": "keys", "indexes": [index] });
        let proxy = Proxy::to(mongod.port());
        let redis = Setup::new(&proxy.uri())
            .setting("retry-backoff-max-ms", "100")
            .setting("write-timeout-ms", "3000")
            .start();
        redis.cmd(&["WB.REGISTER", "k:", &database.namespace("keys"), "INTERVAL", "0"]);
        Self { mongod, proxy, redis, keys: database.collection("keys"), rounds: 0 }
    }

    /// MongoDB freezes with batches on their way, newer values come, and it wakes.
    pub fn frozen(&mut self) -> Stale {
        self.prepare();
        self.mongod.freeze();
        self.write_ghost();
        let newest = self.write_newer();
        self.mongod.thaw();
        self.flush();
        self.stale(&newest, |stage| stage.wait_for_rest())
    }

    /// The network holds batches back, newer values take another way, and then the batches come.
    pub fn late(&mut self) -> Stale {
        self.prepare();
        self.proxy.set(Fault::Strand);
        self.write_ghost();
        let newest = self.write_newer();
        self.flush();
        let before = self.mongod.writes();
        self.stale(&newest, |stage| {
            stage.proxy.set(Fault::None);
            // A fence may well keep all of it out.
            became(Duration::from_millis(500), || stage.mongod.writes() > before);
            stage.wait_for_rest();
        })
    }

    fn prepare(&mut self) {
        self.rounds += 1;
        self.write(&format!("old {}", self.rounds), 0);
        self.flush();
        self.wait_for_rest();
    }

    /// Leaves batches on their way that were given up on.
    fn write_ghost(&self) {
        let words = (0..WORDS).map(|word| format!("w{}x{word}", self.rounds));
        let words: Vec<String> = words.collect();
        self.write(&words.join(" "), DELETED);
        wait_until("batches are on their way", SOON, || {
            self.redis.status().int("in_flight_keys") > 0
        });
    }

    fn write_newer(&self) -> String {
        let returned = self.redis.status().int("retries_total");
        wait_until("they are given up", SOON, || {
            let status = self.redis.status();
            status.text("link") == "down" || status.int("retries_total") > returned
        });
        let newest = format!("new {}", self.rounds);
        self.write(&newest, 0);
        newest
    }

    #[track_caller]
    fn flush(&self) {
        let flushed = self.redis.flush_with(&["TIMEOUT", "30000"]);
        let why = self.redis.status().text("last_error");
        assert_eq!((flushed.failed, flushed.pending), (0, 0), "{flushed:?} {why}");
    }

    fn stale(&self, newest: &str, ghosts_are_gone: impl FnOnce(&Self)) -> Stale {
        let stale = || KEYS - self.keys.count_of(doc! { "value": newest });
        let after_flush = stale();
        ghosts_are_gone(self);
        let after_ghosts = stale();
        became(REPAIRED_WITHIN, || stale() == 0);
        Stale { after_flush, after_ghosts, at_end: stale() }
    }

    /// Sets every key, but deletes one of `deleted`.
    fn write(&self, value: &str, deleted: u64) {
        let script = "for i = 0, ARGV[1] - 1 do \
                      if ARGV[2] ~= '0' and i % ARGV[2] == 0 then redis.call('DEL', 'k:' .. i) \
                      else redis.call('SET', 'k:' .. i, ARGV[3]) end end";
        let (keys, deleted) = (KEYS.to_string(), deleted.to_string());
        self.redis.cmd(&["EVAL", script, "0", &keys, &deleted, value]);
    }

    /// Until MongoDB has nothing more to do that clients asked for.
    fn wait_for_rest(&self) {
        let (mut writes, mut quiet) = (-1, 0);
        wait_until("MongoDB rests", SOON, || {
            std::thread::sleep(Duration::from_millis(20));
            let now = self.mongod.writes();
            quiet = if now == writes { quiet + 1 } else { 0 };
            writes = now;
            quiet == 15
        });
    }
}

impl Stale {
    pub fn plus(self, other: Self) -> Self {
        Stale {
            after_flush: self.after_flush + other.after_flush,
            after_ghosts: self.after_ghosts + other.after_ghosts,
            at_end: self.at_end + other.at_end,
        }
    }
}

impl fmt::Display for Stale {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "of {KEYS} documents a round stale: {} after the flush, {} after the ghosts, {} at the end",
            self.after_flush, self.after_ghosts, self.at_end
        )
    }
}
