//! The cost of capturing changes for the server thread: every key is registered, nothing is
//! written.

use crate::load::{Run, benchmark};
use crate::plot;
use crate::report::{Goal, Report};
use crate::sample::{least, median, paired};
use crate::servers;

const COMMANDS: [(&str, &[&str]); 3] = [
    ("SET", &["SET", "key:__rand_int__", "xxx"]),
    ("INCR", &["INCR", "counter:__rand_int__"]),
    (
        "HSET of 8 fields",
        &[
            "HSET",
            "user:__rand_int__",
            "name",
            "user 000000001",
            "email",
            "u1@example.org",
            "age",
            "33",
            "city",
            "Bern",
            "visits",
            "17",
            "score",
            "17.5",
            "plan",
            "free",
            "seen",
            "1700000001",
        ],
    ),
];
const KINDS: [&str; 4] = ["no module", "empty subscriber", "no key matches", "every key matches"];
const PIPELINED: &str = "-P 16 -c 50 -r 100000";
const SINGLE: &str = "-P 1 -c 50 -r 100000";

pub fn run(report: &mut Report) {
    let requests = report.scaled(60_000, 30_000);
    // The memory layout of a server process changes its cost by several points, so measure several
    // servers of each kind.
    let sets = report.scaled(6, 2);
    let rounds = report.scaled(36, 6) / sets;
    let mut groups = Vec::new();
    for (name, command) in COMMANDS {
        let mut pipelined: Runs = Default::default();
        let mut single: Runs = Default::default();
        for _ in 0..sets {
            // New servers, so that only the keys of this command are dirty.
            let servers = [
                servers::plain(),
                servers::empty(),
                servers::without_mongodb("elsewhere:"),
                servers::without_mongodb(""),
            ];
            let run = |server: usize, requests, options| {
                benchmark(&servers[server], requests, options, command)
            };
            for server in 0..4 {
                run(server, 3 * 100_000, PIPELINED);
            }
            measure(&mut pipelined, rounds, 4, |server| run(server, requests, PIPELINED));
            if name == "SET" {
                let pair = [0, 3];
                measure(&mut single, rounds, 2, |at| run(pair[at], requests / 3, SINGLE));
            }
        }
        report_cpu(report, name, &pipelined);
        groups.push((name.to_owned(), pipelined.iter().map(|runs| median(&cpu(runs))).collect()));
        if name == "SET" {
            let rates = single.map(|runs| runs.iter().map(|run| run.rate).collect::<Vec<_>>());
            let ratio = paired(&rates[1], &rates[0]);
            let (ours, plain) = (median(&rates[1]), median(&rates[0]));
            let note = "medians; -P 1".to_owned();
            let goal = Goal::AtLeast(0.98);
            report.value("throughput without pipelining", ours, plain, "/s", ratio, goal, note);
        }
    }
    let title = "CPU time of the server thread per command, -P 16, medians";
    plot::bars(&report.file("cost.svg"), title, "µs", &KINDS, &groups);
}

/// The measurements of each kind of server.
type Runs = [Vec<Run>; 4];

/// Runs each server once a round, in rotating order, so that other load on the machine affects all.
fn measure(runs: &mut Runs, rounds: u64, servers: usize, run: impl Fn(usize) -> Run) {
    for round in 0..rounds as usize {
        for step in 0..servers {
            let server = (round + step) % servers;
            runs[server].push(run(server));
        }
    }
}

fn cpu(runs: &[Run]) -> Vec<f64> {
    runs.iter().map(|run| run.cpu_us).collect()
}

fn report_cpu(report: &mut Report, name: &str, runs: &Runs) {
    let [plain, empty, unmatched, ours] = runs.each_ref().map(|runs| cpu(runs));
    // Percentage points above the cost of an empty subscriber, by medians and by minimums.
    let points = |of: &[f64]| {
        let of_medians = paired(of, &plain) - paired(&empty, &plain);
        let of_minimum = (least(of) - least(&empty)) / least(&plain);
        (100.0 * of_medians, 100.0 * of_minimum)
    };
    let floor = 100.0 * (paired(&empty, &plain) - 1.0);
    let (ours_us, plain_us) = (median(&ours), median(&plain));
    let what = format!("{name}, every key matches");
    if name.starts_with("HSET") {
        let note = format!(
            "medians; floor +{floor:.0} %; by minimums {:.2}",
            least(&ours) / least(&plain)
        );
        let (ratio, goal) = (paired(&ours, &plain), Goal::AtMost(1.10));
        report.value(&what, ours_us, plain_us, "µs", ratio, goal, note);
    } else {
        let (above, of_minimum) = points(&ours);
        let note =
            format!("points above the floor of +{floor:.0} %, medians; minimum {of_minimum:.0}");
        report.value(&what, ours_us, plain_us, "µs", above, Goal::AtMost(8.0), note);
    }
    let (above, of_minimum) = points(&unmatched);
    let what = format!("{name}, no key matches");
    let note = format!("points above the floor of +{floor:.0} %, medians; minimum {of_minimum:.0}");
    report.value(&what, median(&unmatched), plain_us, "µs", above, Goal::AtMost(3.0), note);
}
