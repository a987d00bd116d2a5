//! MODE THROUGH: how the rate grows with the number of clients, what a held write costs the server thread, and how long
//! its client waits, compared with clients that write to MongoDB themselves.

mod beside;
mod clients;
mod driver;

use std::time::Duration;

use tokio::runtime::{Builder, Runtime};

use crate::null_mongod::NullMongod;
use crate::report::{Goal, Report};
use crate::sample::{median, paired};
use crate::{cpu, servers};
use clients::{Setter, Writes};
use testkit::mongod::Mongod;
use testkit::redis_server::Redis;

/// How many clients write, and the least rate of so many, as a multiple of that of one client.
const RATES: [(u64, Goal); 4] = [
    (1, Goal::None),
    (10, Goal::None),
    (CLIENTS, Goal::AtLeast(15.0)),
    (MOST_CLIENTS, Goal::AtLeast(25.0)),
];
const CLIENTS: u64 = 50;
const MOST_CLIENTS: u64 = 200;
/// The most CPU time of the server thread for a held write, beside that for a SET of another key, microseconds.
const HELD_US: f64 = 2.5;
/// The time of a command of a MongoDB that is far away.
const FAR: Duration = Duration::from_millis(2);

/// The prefix of keys whose clients wait, that of keys that are written behind them at once, and one without a
/// registration.
const THROUGH: &str = "through:";
const BEHIND: &str = "behind:";
const PLAIN: &str = "plain:";
const DATABASE: &str = "bench";
const COLLECTION: &str = "through";

pub fn run(report: &mut Report) {
    let mongod = servers::mongod();
    let far = NullMongod::far_away(FAR);
    let instant = NullMongod::start(Duration::ZERO);
    let real = Stage::new(&mongod.uri());
    let slow = Stage::new(&far.uri());
    rates(report, "MongoDB", &real);
    rates(report, "a store of 2 ms", &slow);
    let goal = Goal::AtMost(HELD_US);
    cost(report, "a store that answers at once", &Stage::new(&instant.uri()), goal);
    cost(report, "MongoDB", &real, Goal::None);
    driver::run(report, &mongod, &real);
    beside::run(report, "MongoDB", &real);
    beside::run(report, "a store of 2 ms", &slow);
    real.assert_written(&mongod);
}

fn clients_of(count: u64) -> String {
    if count == 1 { "1 client".to_owned() } else { format!("{count} clients") }
}

/// For how long clients write at a time.
fn time(report: &Report) -> Duration {
    Duration::from_millis(report.scaled(1000, 300))
}

/// A server, and the thread of its clients.
struct Stage {
    redis: Redis,
    runtime: Runtime,
}

impl Stage {
    fn new(uri: &str) -> Self {
        let redis = servers::ours(uri);
        let namespace = format!("{DATABASE}.{COLLECTION}");
        redis.cmd(&["WB.REGISTER", THROUGH, &namespace, "MODE", "THROUGH"]);
        redis.cmd(&["WB.REGISTER", BEHIND, &format!("{DATABASE}.behind"), "INTERVAL", "0"]);
        while redis.status().text("link") != "up" {
            std::thread::sleep(Duration::from_millis(5));
        }
        let runtime = Builder::new_current_thread().enable_all().build().expect("runtime");
        Stage { redis, runtime }
    }

    fn clients(&self, prefix: &str, count: u64) -> Vec<Setter> {
        Setter::connect(&self.runtime, self.redis.port(), prefix, count)
    }

    /// Lets the clients write. Those of keys with MODE THROUGH must all have waited.
    fn run(&self, clients: &mut Vec<Setter>, time: Duration) -> Writes {
        let before = self.held();
        let writes = clients::run(&self.runtime, clients, time);
        let held = if clients[0].has_prefix(THROUGH) { writes.count } else { 0 };
        assert_eq!(self.held() - before, held as i64, "{}", self.redis.log());
        writes
    }

    /// The number of commands whose clients waited for MongoDB.
    fn held(&self) -> i64 {
        let status = self.redis.status_of(THROUGH);
        for name in ["through_refused_total", "through_timeouts_total", "through_unheld_total"] {
            assert_eq!(status.int(name), 0, "{name}");
        }
        status.int("through_writes_total")
    }

    /// The number of batches that were sent to MongoDB.
    fn batches(&self) -> i64 {
        self.redis.status_of(THROUGH).int("batches_total")
    }

    /// Every value that Redis has under MODE THROUGH is in MongoDB.
    fn assert_written(&self, mongod: &Mongod) {
        let collection = mongod.named_database(DATABASE).collection(COLLECTION);
        for number in 0..MOST_CLIENTS {
            let value: String = self.redis.run(&["GET", &format!("{THROUGH}{number}")]);
            assert_eq!(collection.text(number.to_string(), "value"), value, "key {number}");
        }
    }
}

/// Writes a second of so many clients.
fn rates(report: &mut Report, store: &str, stage: &Stage) {
    let time = time(report);
    let mut all = RATES.map(|(count, _)| stage.clients(THROUGH, count));
    // The clients themselves must be able to do more.
    let mut plain = stage.clients(PLAIN, MOST_CLIENTS);
    let mut runs: [Vec<Writes>; 4] = Default::default();
    let (mut batches, mut limit) = ([0; 4], Vec::new());
    for round in 0..=report.scaled(10, 3) {
        for (at, clients) in all.iter_mut().enumerate() {
            let before = stage.batches();
            let writes = stage.run(clients, time);
            if round > 0 {
                batches[at] += stage.batches() - before;
                runs[at].push(writes);
            }
        }
        limit.push(stage.run(&mut plain, time / 3).rate);
    }
    let of = runs.each_ref().map(|runs| runs.iter().map(|run| run.rate).collect::<Vec<_>>());
    for (at, (count, goal)) in RATES.into_iter().enumerate() {
        let keys: usize = runs[at].iter().map(|run| run.count).sum();
        let wait = |share: f64| {
            let each: Vec<f64> = runs[at].iter().map(|run| run.quantile(share)).collect();
            median(&each)
        };
        let mut note = format!(
            "p50 {:.2} ms, p99 {:.2} ms, {:.1} keys in a batch",
            wait(0.5),
            wait(0.99),
            keys as f64 / batches[at] as f64,
        );
        if count == MOST_CLIENTS {
            note += &format!("; plain SETs by as many: {:.0}/s", median(&limit));
        }
        let what = format!("held writes of {}, {store}", clients_of(count));
        let (ours, one) = (median(&of[at]), median(&of[0]));
        report.value(&what, ours, one, "/s", paired(&of[at], &of[0]), goal, note);
    }
}

/// CPU time of the server thread for a write. A SET costs more where the server handles few clients at a time, so that of
/// one client is measured, too.
fn cost(report: &mut Report, store: &str, stage: &Stage, goal: Goal) {
    let time = time(report);
    let mut all = [(PLAIN, CLIENTS), (PLAIN, 1), (BEHIND, CLIENTS), (THROUGH, CLIENTS)]
        .map(|(prefix, count)| stage.clients(prefix, count));
    let (mut us, mut rates): ([Vec<f64>; 4], [Vec<f64>; 4]) = Default::default();
    for round in 0..=report.scaled(12, 4) as usize {
        for step in 0..all.len() {
            let at = (round + step) % all.len();
            let before = cpu::of_main_thread(stage.redis.pid());
            let writes = stage.run(&mut all[at], time);
            let used = cpu::of_main_thread(stage.redis.pid()) - before;
            if round > 0 {
                us[at].push(used.as_secs_f64() * 1e6 / writes.count as f64);
                rates[at].push(writes.rate);
            }
        }
    }
    let [plain, single, behind, held] = &us;
    let more = |of: &[f64]| {
        let each: Vec<f64> = of.iter().zip(plain).map(|(of, plain)| of - plain).collect();
        median(&each)
    };
    let note = format!(
        "µs more, {CLIENTS} clients, -P 1, {:.0} beside {:.0} SET/s; MODE BEHIND {:+.1}; SET of 1 client {:+.1}",
        median(&rates[3]),
        median(&rates[0]),
        more(behind),
        more(single)
    );
    let what = format!("CPU of the server thread, {store}");
    report.value(&what, median(held), median(plain), "µs", more(held), goal, note);
}
