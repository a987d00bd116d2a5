//! Memory of dirty keys, and the cost of an event by the number of dirty keys.

use crate::plot;
use crate::report::{Goal, Report};
use crate::sample::least;
use crate::{load, servers};

/// Length of redis-benchmark's keys: `key:` and 12 digits.
const KEY_BYTES: u64 = 16;
/// From this many keys on, the memory of the empty table does not matter.
const MANY: u64 = 100_000;

pub fn run(report: &mut Report) {
    let ours = servers::without_mongodb("");
    let plain = servers::plain();
    let mut sizes = vec![1_000, 10_000, 100_000, 1_000_000, 10_000_000];
    sizes.retain(|size| *size <= report.scaled(10_000_000, 100_000));
    let rounds = report.scaled(8, 3);
    let requests = report.scaled(60_000, 30_000);
    let (mut extra, mut from) = (Vec::new(), 0);
    for size in sizes {
        for redis in [&ours, &plain] {
            load::fill_strings(redis, "key", from..size);
        }
        from = size;
        let status = ours.status();
        assert_eq!(status.int("dirty_keys"), size as i64);
        let each = status.int("memory_bytes") as f64 / size as f64;
        let limit = (KEY_BYTES + 64) as f64;
        let what = format!("bytes per dirty key, {size} keys");
        let goal = if size >= MANY { Goal::AtMost(1.0) } else { Goal::None };
        report.ratio(&what, each, limit, "B", goal);

        let options = format!("-P 16 -c 50 -r {size}");
        let command = ["SET", "key:__rand_int__", "xxx"];
        let (mut with, mut without) = (Vec::new(), Vec::new());
        for _ in 0..rounds {
            with.push(load::benchmark(&ours, requests, &options, &command).cpu_us);
            without.push(load::benchmark(&plain, requests, &options, &command).cpu_us);
        }
        let (with, without) = (least(&with), least(&without));
        let what = format!("SET, {size} dirty keys");
        report.ratio(&what, with, without, "µs", Goal::None);
        extra.push((size as f64, (with - without).max(0.0)));
    }
    let title =
        "CPU time of the server thread per event, in addition to a server without the module";
    let lines = [("SET of a random dirty key".to_owned(), extra)];
    plot::lines(&report.file("memory.svg"), title, ("dirty keys", "µs"), &lines);
}
