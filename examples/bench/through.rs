//! READTHROUGH: what the command filter costs other keys and keys that Redis has, what a missing key costs, and how many
//! are loaded a second.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::sync::Barrier;
use std::time::{Duration, Instant};

use mongodb::bson::doc;

use crate::load::{Run, benchmark};
use crate::report::{Goal, Report};
use crate::sample::{least, median, paired};
use crate::{cpu, load, servers};
use testkit::mongod::{Mongod, TestDatabase};
use testkit::redis_server::Redis;

const PIPELINED: &str = "-P 16 -c 50 -r 100000";
const SINGLE: &str = "-P 1 -c 50 -r 100000";
const KEYS: u64 = 100_000;
const CLIENTS: u64 = 50;
/// Longest CPU time of the server thread for a missing key, beside that for one that is there, microseconds.
const MISS_US: f64 = 5.0;
/// Cold keys a second.
const RATE: f64 = 15_000.0;

pub fn run(report: &mut Report) {
    let mongod = servers::mongod();
    let database = mongod.database();
    filter(report, &mongod, &database);
    misses(report, &mongod, &database);
}

/// Registers the prefix of the keys, or another one, with or without READTHROUGH.
fn register(redis: &Redis, prefix: &str, namespace: &str, reads: bool) {
    let words = ["WB.REGISTER", prefix, namespace, "TYPE", "STRING", "READTHROUGH"];
    redis.cmd(&words[..if reads { 6 } else { 5 }]);
}

/// The filter switched on and off in one process, a round each.
fn filter(report: &mut Report, mongod: &Mongod, database: &TestDatabase) {
    let requests = report.scaled(200_000, 50_000);
    let rounds = report.scaled(24, 6);
    let namespace = database.namespace("filter");
    for (what, prefix, command, goals) in [
        ("other keys, GET", "elsewhere:", "GET", [1.10, 1.015]),
        ("other keys, SET", "elsewhere:", "SET", [1.10, 1.015]),
        ("keys that are there, GET", "key:", "GET", [1.18, 1.05]),
    ] {
        let redis = servers::ours(&mongod.uri());
        load::fill_strings(&redis, "key", 0..KEYS);
        let words = ["key:__rand_int__", "xxx"];
        let line = [&[command], &words[..if command == "SET" { 2 } else { 1 }]].concat();
        for (options, goal) in [(PIPELINED, goals[0]), (SINGLE, goals[1])] {
            let requests = if options == SINGLE { requests / 3 } else { requests };
            let mut runs: [Vec<Run>; 2] = Default::default();
            for round in 0..=rounds {
                for reads in [round % 2 == 0, round % 2 == 1] {
                    register(&redis, prefix, &namespace, reads);
                    let run = benchmark(&redis, requests, options, &line);
                    if round > 0 {
                        runs[usize::from(reads)].push(run);
                    }
                }
            }
            let [plain, ours] = runs.each_ref().map(|runs| cpu_of(runs));
            let ratio = paired(&ours, &plain);
            let mode = options.split(" -c").next().unwrap_or_default();
            let of_least = least(&ours) / least(&plain);
            let rates =
                runs.each_ref().map(|runs| runs.iter().map(|run| run.rate).collect::<Vec<_>>());
            let rate = paired(&rates[1], &rates[0]);
            let note = format!(
                "CPU of the server thread, {mode}; by minimums {of_least:.3}, throughput {rate:.3}"
            );
            report.value(
                what,
                median(&ours),
                median(&plain),
                "µs",
                ratio,
                Goal::AtMost(goal),
                note,
            );
        }
    }
}

fn cpu_of(runs: &[Run]) -> Vec<f64> {
    runs.iter().map(|run| run.cpu_us).collect()
}

/// Different cold keys, by clients that wait for each reply.
fn misses(report: &mut Report, mongod: &Mongod, database: &TestDatabase) {
    let count = report.scaled(10_000, 5_000);
    let collection = database.collection("cold");
    let text = "x".repeat(100);
    collection
        .insert_many((0..count).map(|number| doc! { "_id": number.to_string(), "value": &text }));
    let redis = servers::ours(&mongod.uri());
    register(&redis, "cold:", &database.namespace("cold"), true);
    while redis.status().text("link") != "up" {
        std::thread::sleep(Duration::from_millis(5));
    }
    let (mut rates, mut cold, mut warm, mut absent) =
        (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for _ in 0..report.scaled(8, 3) {
        redis.cmd(&["FLUSHALL"]);
        let before = redis.status().int("read_loads_total");
        let (took, cpu_us) = get_each(&redis, "cold:", count);
        let loads = redis.status().int("read_loads_total") - before;
        assert_eq!(loads, i64::try_from(count).expect("a count"));
        rates.push(count as f64 / took.as_secs_f64());
        cold.push(cpu_us);
        warm.push(get_each(&redis, "cold:", count).1);
        absent.push(get_each(&redis, "cold:none", count).1);
    }
    let ours = median(&rates);
    let note = format!("{count} keys, {CLIENTS} clients, documents of 100 bytes");
    report.value("cold keys", ours, RATE, "/s", ours / RATE, Goal::AtLeast(1.0), note);
    for (what, runs) in [("a key that is loaded", &cold), ("a key without a document", &absent)] {
        let more: Vec<f64> = runs.iter().zip(&warm).map(|(miss, hit)| miss - hit).collect();
        let (ours, note) =
            (median(&more), "CPU of the server thread beside a hit, -P 1".to_owned());
        report.value(what, ours, MISS_US, "µs", ours / MISS_US, Goal::AtMost(1.0), note);
    }
}

/// GETs each key once. Returns the time, and the CPU time of the server thread for a command, microseconds.
fn get_each(redis: &Redis, prefix: &str, count: u64) -> (Duration, f64) {
    let barrier = Barrier::new(CLIENTS as usize + 1);
    std::thread::scope(|scope| {
        for client in 0..CLIENTS {
            let (barrier, port) = (&barrier, redis.port());
            scope.spawn(move || {
                let stream = TcpStream::connect(("127.0.0.1", port)).expect("connection");
                stream.set_nodelay(true).expect("option");
                let mut reader = BufReader::new(stream);
                let (mut buffer, mut line) = (Vec::new(), Vec::new());
                barrier.wait();
                for number in (client..count).step_by(CLIENTS as usize) {
                    buffer.clear();
                    load::push(&mut buffer, &["GET", &format!("{prefix}{number}")]);
                    reader.get_mut().write_all(&buffer).expect("command");
                    line.clear();
                    reader.read_until(b'\n', &mut line).expect("reply");
                    assert_eq!(line.first(), Some(&b'$'), "{}", String::from_utf8_lossy(&line));
                    if !line.starts_with(b"$-1") {
                        reader.read_until(b'\n', &mut line).expect("reply");
                    }
                }
                barrier.wait();
            });
        }
        barrier.wait();
        let (start, before) = (Instant::now(), cpu::of_main_thread(redis.pid()));
        barrier.wait();
        let (took, used) = (start.elapsed(), cpu::of_main_thread(redis.pid()) - before);
        (took, used.as_secs_f64() * 1e6 / count as f64)
    })
}
