//! What MongoDB uses for the writes between two moments.

use std::collections::BTreeMap;
use std::time::Duration;

use mongodb::bson::{Bson, Document, doc};

use crate::cpu;
use testkit::mongod::Mongod;

/// The counters of a mongod at one moment.
pub struct Meter<'l> {
    mongod: &'l Mongod,
    counters: Counters,
    /// CPU time of each thread of a connection, read last.
    threads: BTreeMap<u32, Duration>,
}

/// Used since then.
pub struct Used {
    /// CPU time of the connections' threads. The threads of checkpoints and evictions, whose time
    /// depends on when they run, are left out.
    pub cpu: Duration,
    /// Bytes of the entries in the oplog, without those of idle servers.
    pub oplog_bytes: f64,
    /// Bytes written to the journal, which is compressed.
    pub journal_bytes: f64,
    /// Committed transactions.
    pub transactions: f64,
}

struct Counters {
    /// The time of the last entry in the oplog.
    optime: Bson,
    journal_bytes: f64,
    transactions: f64,
}

impl<'l> Meter<'l> {
    pub fn start(mongod: &'l Mongod) -> Self {
        let counters = Counters::of(mongod);
        let threads = connections(mongod);
        Meter { mongod, counters, threads }
    }

    /// `None` if a connection was closed meanwhile: the time of its thread is lost.
    pub fn stop(self) -> Option<Used> {
        let (now, before) = (connections(self.mongod), self.threads);
        let counters = Counters::of(self.mongod);
        if before.keys().any(|thread| !now.contains_key(thread)) {
            return None;
        }
        let total = |threads: &BTreeMap<u32, Duration>| threads.values().sum::<Duration>();
        Some(Used {
            cpu: total(&now).saturating_sub(total(&before)),
            oplog_bytes: oplog_bytes(self.mongod, self.counters.optime, counters.optime),
            journal_bytes: counters.journal_bytes - self.counters.journal_bytes,
            transactions: counters.transactions - self.counters.transactions,
        })
    }
}

impl Counters {
    fn of(mongod: &Mongod) -> Self {
        let hello = mongod.admin(doc! { "hello": 1 });
        let optime = at(&hello, &["lastWrite", "opTime", "ts"]).clone();
        let status = mongod.admin(doc! { "serverStatus": 1 });
        Counters {
            optime,
            journal_bytes: number(at(&status, &["wiredTiger", "log", "log bytes written"])),
            transactions: number(at(&status, &["transactions", "totalCommitted"])),
        }
    }
}

/// mongod names the thread of each connection `conn` and a number.
fn connections(mongod: &Mongod) -> BTreeMap<u32, Duration> {
    cpu::of_each_thread(mongod.pid(), |name| name.starts_with("conn"))
}

fn oplog_bytes(mongod: &Mongod, after: Bson, until: Bson) -> f64 {
    let reply = mongod.named_database("local").run(doc! {
        "aggregate": "oplog.rs",
        "pipeline": [
            // Every 10 s an idle server writes an entry `n`.
            { "$match": { "ts": { "$gt": after, "$lte": until }, "op": { "$ne": "n" } } },
            { "$group": { "_id": null, "bytes": { "$sum": { "$bsonSize": "$$ROOT" } } } },
        ],
        "cursor": {},
    });
    let groups = reply.get_document("cursor").and_then(|cursor| cursor.get_array("firstBatch"));
    match groups.expect("a cursor").first() {
        Some(Bson::Document(group)) => number(at(group, &["bytes"])),
        _ => 0.0,
    }
}

fn at<'l>(document: &'l Document, path: &[&str]) -> &'l Bson {
    let (name, rest) = path.split_first().expect("a name");
    let value = document.get(name).unwrap_or_else(|| panic!("no {name} in {document}"));
    match rest {
        [] => value,
        _ => at(value.as_document().expect("a document"), rest),
    }
}

fn number(value: &Bson) -> f64 {
    match value {
        Bson::Int32(number) => f64::from(*number),
        Bson::Int64(number) => *number as f64,
        Bson::Double(number) => *number,
        other => panic!("{other} is no number"),
    }
}
