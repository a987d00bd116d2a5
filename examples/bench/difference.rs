//! What it costs MongoDB to update documents of which a part changes: by the module, by a bare loop
//! of replacements, and by one of `$set` that names the changed fields.

mod documents;
mod figures;
mod loops;
mod meter;

use std::time::{Duration, Instant};

use mongodb::bson::doc;

use crate::plot;
use crate::report::Report;
use crate::servers;
use documents::{Changed, Form, PREFIX, SIZES, Size, State};
use figures::{AllRuns, Case, Writer, against_replacements};
use loops::Loops;
use meter::{Meter, Used};
use testkit::mongod::Mongod;
use testkit::redis_server::Redis;

const INDEXES: [usize; 2] = [0, 5];

pub fn run(report: &mut Report) {
    let mongod = servers::mongod();
    // Otherwise old versions of all documents are kept for five minutes, and a measurement depends
    // on those before it.
    mongod.admin(doc! { "setParameter": 1, "minSnapshotHistoryWindowInSeconds": 0 });
    let mut loops = Loops::new(&mongod.uri());
    let mut groups = Vec::new();
    for size in SIZES {
        for indexes in INDEXES {
            let mut stage = Stage::new(report, &mongod, &mut loops, size, indexes);
            for changed in Changed::EACH {
                let runs = stage.measure(report, changed);
                Case { size, changed, indexes }.report(report, &runs);
                if changed == Changed::Fields(1) && indexes == 0 {
                    groups.push((size.name.to_owned(), against_replacements(&runs)));
                }
            }
            mongod.named_database("bench").drop();
        }
    }
    let title = "CPU time of mongod's connections, one field changed, against replacements";
    let kinds = ["module", "replacements", "$set"];
    plot::bars(&report.file("difference.svg"), title, "×", &kinds, &groups);
}

/// Documents of one size, in Redis and in MongoDB.
struct Stage<'l> {
    mongod: &'l Mongod,
    loops: &'l mut Loops,
    redis: Redis,
    size: Size,
    documents: u64,
    turn: u64,
}

/// The collection that the module writes, and that of the loops. Redis returns the fields of a large
/// hash in an order of its own: a loop's document would differ from the module's in all fields.
const OURS: &str = "by_module";
const LOOPS: &str = "by_loops";

impl<'l> Stage<'l> {
    fn new(
        report: &Report,
        mongod: &'l Mongod,
        loops: &'l mut Loops,
        size: Size,
        indexes: usize,
    ) -> Self {
        let documents = report.scaled(size.documents, 4 * size.batch);
        let database = mongod.named_database("bench");
        for name in [OURS, LOOPS] {
            database.run(doc! { "create": name });
            if indexes > 0 {
                database.run(doc! { "createIndexes": name, "indexes": size.indexes(indexes) });
            }
            loops.create(name, size.first(), documents);
        }
        let redis = servers::ours(&mongod.uri());
        servers::set(&redis, "batch-max-keys", &size.batch.to_string());
        servers::set(&redis, "batch-max-bytes", &(64 << 20).to_string());
        // A value that is not read within a slice is written by itself, without a transaction.
        servers::set(&redis, "read-slice-us", "100000");
        let namespace = format!("bench.{OURS}");
        redis.cmd(&["WB.REGISTER", PREFIX, &namespace, "WRITE", "REPLACE"]);
        size.first().to_redis(&redis, documents);
        // The fields get Redis's order, and the module learns that the documents exist: from now on
        // its batches are transactions.
        redis.flush();
        Stage { mongod, loops, redis, size, documents, turn: 0 }
    }

    /// The runs of each writer, in rounds of rotating order.
    fn measure(&mut self, report: &Report, changed: Changed) -> AllRuns {
        let rounds = report.scaled(5, 3) as usize;
        let mut runs = AllRuns::default();
        // The first round prepares caches and connections, and is not counted.
        for round in 0..=rounds {
            for step in 0..Writer::EACH.len() {
                let writer = Writer::EACH[(round + step) % Writer::EACH.len()];
                let (used, took) = self.turn(report, changed, writer);
                if round > 0 {
                    runs[writer as usize].add(used, took, self.documents);
                }
            }
        }
        runs
    }

    /// Lets one writer change all documents once.
    fn turn(&mut self, report: &Report, changed: Changed, writer: Writer) -> (Used, Duration) {
        for _ in 0..5 {
            self.turn += 1;
            let state = State { size: self.size, changed, turn: self.turn };
            let (meter, took) = match writer {
                Writer::Module => self.drain(state),
                Writer::Replacements => self.run_loop(state, Form::Replacement),
                Writer::Sets => self.run_loop(state, Form::Set),
            };
            match meter.stop() {
                Some(used) => return (used, took),
                None => report.progress("a connection was closed; once more"),
            }
        }
        panic!("connections are closed all the time: {}", self.redis.log());
    }

    fn run_loop(&mut self, state: State, form: Form) -> (Meter<'l>, Duration) {
        let start = || Meter::start(self.mongod);
        self.loops.run(LOOPS, state, self.documents, form, start)
    }

    fn drain(&self, state: State) -> (Meter<'l>, Duration) {
        state.to_redis(&self.redis, self.documents);
        assert_eq!(self.redis.status().int("dirty_keys"), self.documents as i64);
        let meter = Meter::start(self.mongod);
        let since = Instant::now();
        let flushed = self.redis.flush();
        let took = since.elapsed();
        assert_eq!((flushed.failed, flushed.pending), (0, 0), "{}", self.redis.log());
        (meter, took)
    }
}
