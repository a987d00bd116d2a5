//! Late writes: batches that timed out at the client, and that MongoDB reads from its sockets
//! later, while newer batches are written.

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
/// In the late write, one key of this many is deleted.
const DELETED: u64 = 10;
/// Words of a value in the late write. Each is an entry of a text index, which makes the late write
/// slow enough for newer ones to overtake it.
const WORDS: u64 = 40;
/// The time in which the module must rewrite what a late write may have overwritten.
const REPAIRED_WITHIN: Duration = Duration::from_secs(15);

/// Documents of a round that are not the newest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stale {
    /// When WB.FLUSH has replied.
    pub after_flush: u64,
    /// When MongoDB has run all commands that it received.
    pub after_late_writes: u64,
    /// When the module has had time to repeat its indeterminate writes.
    pub at_end: u64,
}

/// Redis with a registration whose keys fill the batches that become late writes.
pub struct Stage<'a> {
    mongod: &'a Mongod,
    proxy: Proxy,
    redis: Redis,
    keys: Collection,
    rounds: u64,
}

impl<'a> Stage<'a> {
    pub fn new(mongod: &'a Mongod) -> Self {
        let database = mongod.named_database("late_writes");
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

    /// MongoDB freezes with batches in flight, newer values are written, and it continues.
    pub fn frozen(&mut self) -> Stale {
        self.prepare();
        self.mongod.freeze();
        self.write_late();
        let newest = self.write_newer();
        self.mongod.thaw();
        self.flush();
        self.stale(&newest, |stage| stage.wait_until_idle())
    }

    /// The network holds batches back, newer values go through new connections, then the old
    /// batches arrive.
    pub fn late(&mut self) -> Stale {
        self.prepare();
        self.proxy.set(Fault::HoldExisting);
        self.write_late();
        let newest = self.write_newer();
        self.flush();
        let before = self.mongod.writes();
        self.stale(&newest, |stage| {
            stage.proxy.set(Fault::None);
            // The fences may reject all of them.
            became(Duration::from_millis(500), || stage.mongod.writes() > before);
            stage.wait_until_idle();
        })
    }

    fn prepare(&mut self) {
        self.rounds += 1;
        self.write(&format!("old {}", self.rounds), 0);
        self.flush();
        self.wait_until_idle();
    }

    /// Writes the batches that will time out and be late.
    fn write_late(&self) {
        let words = (0..WORDS).map(|word| format!("w{}x{word}", self.rounds));
        let words: Vec<String> = words.collect();
        self.write(&words.join(" "), DELETED);
        wait_until("batches are in flight", SOON, || self.redis.status().int("in_flight_keys") > 0);
    }

    fn write_newer(&self) -> String {
        let retries = self.redis.status().int("retries_total");
        wait_until("they time out", SOON, || {
            let status = self.redis.status();
            status.text("link") == "down" || status.int("retries_total") > retries
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

    fn stale(&self, newest: &str, late_writes_end: impl FnOnce(&Self)) -> Stale {
        let stale = || KEYS - self.keys.count_of(doc! { "value": newest });
        let after_flush = stale();
        late_writes_end(self);
        let after_late_writes = stale();
        became(REPAIRED_WITHIN, || stale() == 0);
        Stale { after_flush, after_late_writes, at_end: stale() }
    }

    /// Sets every key, except that one in `deleted` is deleted; 0 deletes none.
    fn write(&self, value: &str, deleted: u64) {
        let script = "for i = 0, ARGV[1] - 1 do \
                      if ARGV[2] ~= '0' and i % ARGV[2] == 0 then redis.call('DEL', 'k:' .. i) \
                      else redis.call('SET', 'k:' .. i, ARGV[3]) end end";
        let (keys, deleted) = (KEYS.to_string(), deleted.to_string());
        self.redis.cmd(&["EVAL", script, "0", &keys, &deleted, value]);
    }

    /// Returns when MongoDB's operation counters no longer grow.
    fn wait_until_idle(&self) {
        let (mut writes, mut unchanged) = (-1, 0);
        wait_until("MongoDB is idle", SOON, || {
            std::thread::sleep(Duration::from_millis(20));
            let now = self.mongod.writes();
            unchanged = if now == writes { unchanged + 1 } else { 0 };
            writes = now;
            unchanged == 15
        });
    }
}

impl Stale {
    pub fn plus(self, other: Self) -> Self {
        Stale {
            after_flush: self.after_flush + other.after_flush,
            after_late_writes: self.after_late_writes + other.after_late_writes,
            at_end: self.at_end + other.at_end,
        }
    }
}

impl fmt::Display for Stale {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "stale of {KEYS} documents a round: {} after the flush, {} after the late writes, {} at the end",
            self.after_flush, self.after_late_writes, self.at_end
        )
    }
}
