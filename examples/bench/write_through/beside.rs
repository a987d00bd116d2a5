//! The latency of a client that reads other keys while clients write.

use std::time::{Duration, Instant};

use super::{CLIENTS, PLAIN, Stage, THROUGH, time};
use crate::report::{Goal, Report};
use crate::sample::{median, paired, quantile};
use testkit::redis_server::command;

/// While nothing writes, and while clients write plain keys or wait for MongoDB.
const WRITERS: [Option<&str>; 3] = [None, Some(PLAIN), Some(THROUGH)];

pub fn run(report: &mut Report, store: &str, stage: &Stage) {
    let time = time(report);
    let mut writers = WRITERS.map(|prefix| prefix.map(|prefix| stage.clients(prefix, CLIENTS)));
    let (mut p99_ms, mut rates): ([Vec<f64>; 3], [Vec<f64>; 3]) = Default::default();
    for round in 0..=report.scaled(10, 3) as usize {
        for step in 0..writers.len() {
            let at = (round + step) % writers.len();
            let mut connection = stage.redis.connect();
            let (times, rate) = std::thread::scope(|scope| {
                let reader = scope.spawn(move || gets(&mut connection, time));
                let writes = writers[at].as_mut().map(|writers| stage.run(writers, time));
                (reader.join().expect("reader"), writes.map_or(0.0, |writes| writes.rate))
            });
            if round > 0 {
                p99_ms[at].push(quantile(&times, 0.99));
                rates[at].push(rate);
            }
        }
    }
    let [idle, plain, held] = &p99_ms;
    let beside_plain = format!("those beside plain SETs, {:.0}/s", median(&rates[1]));
    for (against, other) in [("those without writers", idle), (&beside_plain, plain)] {
        let what = format!("p99 of GET beside {CLIENTS} writers, {store}");
        let note = format!("{:.0} held writes/s; against {against}", median(&rates[2]));
        let ratio = paired(held, other);
        report.value(&what, median(held), median(other), "ms", ratio, Goal::None, note);
    }
}

/// For how long a client waits for each GET, milliseconds.
fn gets(connection: &mut redis::Connection, time: Duration) -> Vec<f64> {
    let (start, mut times) = (Instant::now(), Vec::new());
    while start.elapsed() < time {
        let sent = Instant::now();
        command(&["GET", "elsewhere"]).query::<redis::Value>(connection).expect("reply");
        times.push(sent.elapsed().as_secs_f64() * 1e3);
    }
    times
}
