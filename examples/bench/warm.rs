//! WB.LOAD and WB.VERIFY: documents and keys a second, the longest slice, and the latency of clients meanwhile.

use std::time::{Duration, Instant};

use mongodb::bson::{Document, doc};

use crate::documents;
use crate::latency::CLIENTS;
use crate::report::{Goal, Report};
use crate::sample::{median, paired};
use crate::{load, servers};
use testkit::mongod::{Mongod, TestDatabase};
use testkit::redis_server::Redis;

/// The default of `read-slice-us`.
const SLICE_US: f64 = 500.0;
/// Documents a second.
const RATE: f64 = 150_000.0;
/// Keys a second.
const VERIFY_RATE: f64 = 100_000.0;

pub fn run(report: &mut Report) {
    let mongod = servers::mongod();
    let count = report.scaled(400_000, 40_000);
    // 300 bytes each.
    let text = "x".repeat(253);
    let strings = move |number: u64| doc! { "_id": format!("{number:012}"), "value": &text };
    let hashes = |number: u64| {
        let mut document = doc! { "_id": format!("{number:012}") };
        for (name, value) in documents::fields(number, 0) {
            document.insert(name, value);
        }
        document.insert("about", "y".repeat(80));
        document
    };
    let (redis, _database) = rate(report, &mongod, ("strings", "TYPE STRING"), count, strings);
    verify(report, &redis, "strings", count);
    drop(redis);
    let (redis, database) = rate(report, &mongod, ("hashes", "TYPE HASH"), count, hashes);
    verify(report, &redis, "hashes", count);
    beside(report, &redis, "loading", &["WB.LOAD", "user:", "REPLACE"]);
    beside(report, &redis, "verifying", &["WB.VERIFY", "user:"]);
    slices(report, &mongod, &database.namespace("users"));
    drop((redis, database));
}

/// The longest slice while MongoDB is frozen, so that the server thread has a processor: the pages that were
/// read before are stored.
fn slices(report: &mut Report, mongod: &Mongod, namespace: &str) {
    let rounds = report.scaled(15, 5);
    let mut longest = Vec::new();
    for _ in 0..rounds {
        let redis = servers::ours(&mongod.uri());
        redis.cmd(&["WB.REGISTER", "user:", namespace, "TYPE", "HASH"]);
        redis.flush();
        // Nothing is stored while the server runs a script.
        let mut other = redis.connect();
        let busy = std::thread::spawn(move || {
            let text = "local t = redis.call('TIME') local e = t[1] * 1000000 + t[2] + 300000 \
                        repeat t = redis.call('TIME') until t[1] * 1000000 + t[2] >= e";
            redis::cmd("EVAL").arg(text).arg(0).query::<()>(&mut other).expect("reply");
        });
        redis.cmd(&["WB.LOAD", "user:"]);
        std::thread::sleep(Duration::from_millis(150));
        mongod.freeze();
        busy.join().expect("script");
        // A client that asks how far it is would make the slices shorter.
        std::thread::sleep(Duration::from_millis(200));
        longest.push(redis.status().int("slice_max_us") as f64);
        mongod.thaw();
    }
    let (ours, worst) = (median(&longest), longest.iter().copied().fold(0.0, f64::max));
    let note = format!("read-slice-us is 500; median of {rounds} servers, the worst {worst:.0}");
    let ratio = ours / SLICE_US;
    report.value("longest slice", ours, SLICE_US, "µs", ratio, Goal::AtMost(2.0), note);
}

/// Loads so many documents into an empty server.
fn rate(
    report: &mut Report,
    mongod: &Mongod,
    (name, options): (&str, &str),
    count: u64,
    document: impl Fn(u64) -> Document,
) -> (Redis, TestDatabase) {
    let database = mongod.database();
    let redis = servers::ours(&mongod.uri());
    let words = ["WB.REGISTER", "user:", &database.namespace("users")];
    redis.cmd(&[&words[..], &options.split(' ').collect::<Vec<_>>()].concat());
    let collection = database.collection("users");
    for first in (0..count).step_by(20_000) {
        collection.insert_many((first..count.min(first + 20_000)).map(&document));
    }
    let rounds = report.scaled(5, 3);
    let mut rates = Vec::new();
    for _ in 0..rounds {
        redis.cmd(&["FLUSHALL"]);
        let start = Instant::now();
        redis.cmd(&["WB.LOAD", "user:"]);
        while redis.status_of("user:").int("load_pending") == 1 {
            std::thread::sleep(Duration::from_millis(2));
        }
        let loaded = redis.status_of("user:").int("load_loaded");
        assert_eq!(
            loaded,
            i64::try_from(count).expect("a count"),
            "{:?}",
            redis.status_of("user:")
        );
        rates.push(count as f64 / start.elapsed().as_secs_f64());
        report.progress(&format!("{name}: {:.0} documents/s", rates[rates.len() - 1]));
    }
    let ours = median(&rates);
    let note = format!("{count} documents, median of {rounds}");
    let what = format!("load of {name} of 300 bytes");
    report.value(&what, ours, RATE, "documents/s", ours / RATE, Goal::AtLeast(1.0), note);
    (redis, database)
}

/// Compares so many keys with their documents.
fn verify(report: &mut Report, redis: &Redis, name: &str, count: u64) {
    let rounds = report.scaled(5, 3);
    let mut rates = Vec::new();
    for _ in 0..rounds {
        let start = Instant::now();
        redis.cmd(&["WB.VERIFY", "user:"]);
        while redis.status_of("user:").int("verify_pending") == 1 {
            std::thread::sleep(Duration::from_millis(2));
        }
        let status = redis.status_of("user:");
        let found =
            ["checked", "missing", "different"].map(|of| status.int(&format!("verify_{of}")));
        assert_eq!(found, [i64::try_from(count).expect("a count"), 0, 0], "{status:?}");
        rates.push(count as f64 / start.elapsed().as_secs_f64());
        report.progress(&format!("{name}: {:.0} keys/s", rates[rates.len() - 1]));
    }
    let ours = median(&rates);
    let note = format!("{count} keys, median of {rounds}");
    let what = format!("verification of {name} of 300 bytes");
    report.value(&what, ours, VERIFY_RATE, "keys/s", ours / VERIFY_RATE, Goal::AtLeast(1.0), note);
}

/// The latency of clients while a command works in the background again and again.
fn beside(report: &mut Report, redis: &Redis, what: &str, words: &[&str]) {
    let requests = report.scaled(30_000, 10_000);
    let command = ["GET", "key:__rand_int__"];
    let clients = || load::benchmark(redis, requests, CLIENTS, &command).p99_ms;
    let (mut idle, mut busy) = (Vec::new(), Vec::new());
    for _ in 0..report.scaled(8, 3) {
        idle.push(clients());
        redis.cmd(words);
        busy.push(clients());
        let status = redis.status_of("user:");
        let is_pending = status.int("load_pending") + status.int("verify_pending") == 1;
        report.progress(&format!("{what} {}", if is_pending { "ran beside" } else { "had ended" }));
        redis.cmd(&["WB.CANCEL", "user:"]);
    }
    let (ours, plain) = (median(&busy), median(&idle));
    let ratio = paired(&busy, &idle);
    let note = "medians".to_owned();
    report.value(
        &format!("p99 of GET while {what}"),
        ours,
        plain,
        "ms",
        ratio,
        Goal::AtMost(2.0),
        note,
    );
}
