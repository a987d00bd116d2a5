//! What it costs the server thread to find out which keys changed together: dirty keys with groups
//! against those under `ATOMIC NONE`, which are in none.

use std::ops::Range;

use crate::cpu;
use crate::load::{pipeline_of, push};
use crate::report::{Goal, Report};
use crate::sample::{least, median};
use crate::servers;
use testkit::mongod::unreachable_uri;
use testkit::redis_server::Redis;

/// Commands of a transaction.
const LENGTH: u64 = 5;
const KEYS: u64 = 50_000;

type Send = fn(&Redis, Range<u64>);

pub fn run(report: &mut Report) {
    // The addresses in a process change its cost, so several servers of each kind are measured.
    let sets = report.scaled(6, 2);
    let rounds = report.scaled(10, 5);
    for (what, send) in [("SET", single as Send), ("SET of a MULTI of 5", transactions)] {
        let [mut grouped, mut apart] = [Vec::new(), Vec::new()];
        for _ in 0..sets {
            let servers = [server("SPLIT"), server("NONE")];
            for round in 0..=rounds {
                for step in 0..2 {
                    let at = (round + step) as usize % 2;
                    let nanos = nanos_a_key(&servers[at], send);
                    // The first round makes all keys dirty.
                    if round > 0 {
                        [&mut grouped, &mut apart][at].push(nanos);
                    }
                }
            }
        }
        let differences: Vec<f64> = grouped.iter().zip(&apart).map(|(a, b)| a - b).collect();
        let note = format!(
            "nanoseconds a key more, median of pairs; of minimums {:.0}",
            least(&grouped) - least(&apart)
        );
        let more = median(&differences);
        let (ours, plain) = (median(&grouped), median(&apart));
        report.value(what, ours, plain, "ns", more, Goal::AtMost(12.0), note);
    }
}

fn server(atomic: &str) -> Redis {
    let redis = servers::ours(&unreachable_uri());
    redis.cmd(&["WB.REGISTER", "key:", "bench.grouped", "ATOMIC", atomic]);
    redis
}

/// CPU time of the server thread for a changed key.
fn nanos_a_key(redis: &Redis, send: Send) -> f64 {
    let before = cpu::of_main_thread(redis.pid());
    send(redis, 0..KEYS);
    let used = cpu::of_main_thread(redis.pid()) - before;
    used.as_nanos() as f64 / KEYS as f64
}

fn single(redis: &Redis, numbers: Range<u64>) {
    pipeline_of(redis, numbers, 1, set);
}

fn transactions(redis: &Redis, numbers: Range<u64>) {
    let count = (numbers.end - numbers.start) / LENGTH;
    // A line for MULTI, EXEC's array, and two for each command: QUEUED, and its reply.
    pipeline_of(redis, 0..count, 2 + 2 * LENGTH as usize, |number, buffer| {
        push(buffer, &["MULTI"]);
        (0..LENGTH).for_each(|at| set(number * LENGTH + at, buffer));
        push(buffer, &["EXEC"]);
    });
}

fn set(number: u64, buffer: &mut Vec<u8>) {
    // Not in the order in which they became dirty.
    push(buffer, &["SET", &format!("key:{:08}", number * 7919 % KEYS), "v"]);
}
