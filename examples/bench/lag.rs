//! The time from Redis's reply until a write is visible in MongoDB: one client writes at a steady
//! rate, and another waits for one of these writes at a time by polling its document.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use mongodb::bson::{Document, doc};

use crate::bare::{Bare, users};
use crate::documents;
use crate::plot;
use crate::report::{Goal, Report};
use crate::sample::quantile;
use crate::{load, servers};
use testkit::mongod::Mongod;
use testkit::redis_server::command;

/// Writes per second.
const RATE: u64 = 1_000;
const KEYS: u64 = 10_000;
const NAMESPACE: &str = "bench.lag";

/// The key number and value of a write, and the time of its reply.
type Write = (u64, u64, Instant);

pub fn run(report: &mut Report) {
    let mongod = servers::mongod();
    let writes = report.scaled(20_000, 5_000);
    let redis = servers::ours(&mongod.uri());
    redis.cmd(&["WB.REGISTER", "user:", NAMESPACE]);
    load::fill_users(&redis, 0..KEYS, 0);
    redis.flush();
    let bare = Bare::new(&mongod.uri());
    // A client that writes to MongoDB itself, from its call until the write is visible.
    let direct = measure(&mongod, (1, writes / 10, RATE / 10), |number, turn| {
        let start = Instant::now();
        let bytes = users(NAMESPACE, number..number + 1, turn).bytes;
        bare.runtime.block_on(bare.send(NAMESPACE, bytes, 1));
        start
    });
    let through = |phase, interval_ms: &str| {
        servers::set(&redis, "flush-interval-ms", interval_ms);
        let mut connection = redis.connect();
        measure(&mongod, (phase, writes, RATE), |number, turn| {
            write(&mut connection, number, turn);
            Instant::now()
        })
    };
    let at_once = through(2, "0");
    let default = through(3, "100");
    let p = |lags: &[f64], share: f64| quantile(lags, share);
    let note = format!("ms from the reply; a direct upsert {:.2}", p(&direct, 0.5));
    let (p50, p99) = (p(&at_once, 0.5), p(&at_once, 0.99));
    report.value("interval 0, p50", p50, 1.0, "ms", p50, Goal::AtMost(1.0), note);
    let note = format!("a direct upsert {:.2}", p(&direct, 0.99));
    report.value("interval 0, p99", p99, 3.0, "ms", p99, Goal::AtMost(3.0), note);
    let p99 = p(&default, 0.99);
    let note = format!("p50 {:.1}", p(&default, 0.5));
    report.value("interval 100 ms, p99", p99, 120.0, "ms", p99, Goal::AtMost(120.0), note);
    let line = |name: &str, lags: &[f64]| {
        let points = (1..1000).map(|part| {
            let share = f64::from(part) / 1000.0;
            (1.0 / (1.0 - share), p(lags, share))
        });
        (name.to_owned(), points.collect())
    };
    let lines = [line("module, interval 0", &at_once), line("direct upsert", &direct)];
    let title = "Lag at 1,000 writes per second";
    let axes = ("one write in this many is slower (100: p99)", "ms");
    plot::lines(&report.file("lag.svg"), title, axes, &lines);
}

fn write(connection: &mut redis::Connection, number: u64, turn: u64) {
    let (key, turn) = (documents::key(number), turn.to_string());
    let words = ["HSET", &key, "visits", &turn];
    command(&words).query::<redis::Value>(connection).expect("reply");
}

/// Milliseconds from a write until it is visible, for the watched writes.
fn measure(
    mongod: &Mongod,
    (phase, writes, rate): (u64, u64, u64),
    mut write: impl FnMut(u64, u64) -> Instant,
) -> Vec<f64> {
    let (to_watcher, from_writer): (Sender<Write>, Receiver<Write>) = channel();
    let uri = mongod.uri();
    let watcher = std::thread::spawn(move || watch(&uri, &from_writer));
    let start = Instant::now();
    for at in 0..writes {
        let due = start + Duration::from_secs_f64(at as f64 / rate as f64);
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        // Higher than all earlier values.
        let turn = phase * 1_000_000 + at;
        let written = write(at % KEYS, turn);
        to_watcher.send((at % KEYS, turn, written)).expect("watcher");
    }
    drop(to_watcher);
    watcher.join().expect("watcher")
}

fn watch(uri: &str, writes: &Receiver<Write>) -> Vec<f64> {
    let bare = Bare::new(uri);
    let (database, collection) = NAMESPACE.split_once('.').expect("a namespace");
    let collection = bare.client.database(database).collection::<Document>(collection);
    let mut lags = Vec::new();
    bare.runtime.block_on(async {
        collection.find_one(doc! {}).await.expect("connection");
        while let Ok(mut write) = writes.recv() {
            // The newest write: skip those that were made while the last one was watched.
            while let Ok(newer) = writes.try_recv() {
                write = newer;
            }
            let (number, turn, written) = write;
            let id = format!("{number:012}");
            loop {
                let found = collection.find_one(doc! { "_id": &id }).await.expect("find");
                let visits = found.as_ref().and_then(|found| found.get_str("visits").ok());
                if visits.and_then(|visits| visits.parse().ok()) >= Some(turn) {
                    break;
                }
                assert!(
                    written.elapsed() < Duration::from_secs(30),
                    "a write does not become visible"
                );
            }
            lags.push(written.elapsed().as_secs_f64() * 1e3);
        }
    });
    lags
}
