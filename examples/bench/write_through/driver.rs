//! Clients of MODE THROUGH beside clients that update the document with the driver, and beside some that send SET and
//! then do that.

use mongodb::Collection;
use mongodb::bson::Document;
use mongodb::options::{CollectionOptions, WriteConcern};

use super::clients::{self, Both, Updater, Writes};
use super::{CLIENTS, DATABASE, PLAIN, Stage, THROUGH, clients_of, time};
use crate::bare::Bare;
use crate::report::{Goal, Report};
use crate::sample::{median, paired};
use testkit::mongod::Mongod;

/// The longest median and 99th percentile of a held write, beside an update by the driver.
const P50: f64 = 1.3;
const P99: f64 = 1.5;
/// The least rate, beside clients that write twice.
const RATE: f64 = 2.0;

pub fn run(report: &mut Report, mongod: &Mongod, stage: &Stage) {
    // A connection for each client.
    let bare = Bare::new(&format!("{}&maxPoolSize={CLIENTS}", mongod.uri()));
    let options = CollectionOptions::builder().write_concern(WriteConcern::majority()).build();
    let database = bare.client.database(DATABASE);
    let collections =
        ["driver", "both"].map(|name| database.collection_with_options(name, options.clone()));
    for (count, [p50, p99], rate) in [
        (1, [Goal::AtMost(P50), Goal::AtMost(P99)], Goal::None),
        (CLIENTS, [Goal::None; 2], Goal::AtLeast(RATE)),
    ] {
        let [held, updates, both] = measure(report, stage, &bare, &collections, count);
        let clients = clients_of(count);
        for (name, share, goal) in [("p50", 0.5, p50), ("p99", 0.99, p99)] {
            let [ours, plain] = [&held, &updates]
                .map(|runs| runs.iter().map(|run| run.quantile(share)).collect::<Vec<_>>());
            let what = format!("{name} of a held write, {clients}");
            let note = "beside updateOne by the driver".to_owned();
            let ratio = paired(&ours, &plain);
            report.value(&what, median(&ours), median(&plain), "ms", ratio, goal, note);
        }
        let [ours, alone, plain] = [&held, &updates, &both]
            .map(|runs| runs.iter().map(|run| run.rate).collect::<Vec<_>>());
        let what = format!("held writes of {clients}");
        let note = format!("beside SET and then updateOne; updateOne alone: {:.0}", median(&alone));
        let ratio = paired(&ours, &plain);
        report.value(&what, median(&ours), median(&plain), "/s", ratio, rate, note);
    }
}

/// The runs of held writes, of updates by the driver, and of SETs with such an update.
fn measure(
    report: &Report,
    stage: &Stage,
    bare: &Bare,
    [alone, second]: &[Collection<Document>; 2],
    count: u64,
) -> [Vec<Writes>; 3] {
    let time = time(report);
    let mut held = stage.clients(THROUGH, count);
    let mut updaters = Updater::all(alone, count);
    let setters = clients::Setter::connect(&bare.runtime, stage.redis.port(), PLAIN, count);
    let pairs = setters.into_iter().zip(Updater::all(second, count));
    let mut both: Vec<Both> = pairs.map(|(setter, updater)| Both(setter, updater)).collect();
    let mut runs: [Vec<Writes>; 3] = Default::default();
    for round in 0..=report.scaled(20, 5) as usize {
        for step in 0..runs.len() {
            let at = (round + step) % runs.len();
            let writes = match at {
                0 => stage.run(&mut held, time),
                1 => clients::run(&bare.runtime, &mut updaters, time),
                _ => clients::run(&bare.runtime, &mut both, time),
            };
            if round > 0 {
                runs[at].push(writes);
            }
        }
    }
    runs
}
