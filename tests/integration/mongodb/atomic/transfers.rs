//! Transfers between accounts: in every snapshot of MongoDB the sum is right. Short runs of
//! `make atomic`.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use mongodb::Client;
use mongodb::bson::{Document, doc};

use testkit::mongod::{Mongod, block_on};
use testkit::transfers::account::Names;
use testkit::transfers::fault::Fault;
use testkit::transfers::round::{self, Plan, Verdict};
use testkit::transfers::stage::{Servers, Stage};
use testkit::wait::{SOON, became};

use super::groups;

/// 60 accounts at the start.
const NAMES: Names = Names { of_each: 40 };

fn play(
    servers: Servers,
    atomic: &str,
    snapshots: u64,
    fault_every: u64,
    faults: &[Fault],
) -> (Stage, Verdict) {
    let seed = testkit::seed();
    let mut stage = Stage::new(servers, NAMES, atomic, seed, None);
    let plan = Plan { snapshots, fault_every, faults, writers: 2, pollers: 1, seed };
    let verdict = round::play(&mut stage, plan);
    println!("{verdict}");
    (stage, verdict)
}

/// Every sum was right, the snapshots saw that many different states, and since its last start the
/// module split no group.
#[track_caller]
fn are_whole((stage, verdict): (Stage, Verdict), states: usize) {
    assert!(verdict.is_good(), "{verdict}");
    assert!(verdict.polled.states >= states, "too few states: {verdict}");
    let [whole, split] = groups(&stage.redis);
    assert!(whole > 0 && split == 0, "{whole} whole, {split} split");
}

#[test]
fn transfers_stay_whole() {
    are_whole(play(Servers::one(), "", 300, 0, &[]), 50);
}

#[test]
fn transfers_stay_whole_through_crashes_and_outages() {
    are_whole(play(Servers::one(), "", 400, 20, &Fault::OF_ONE), 50);
}

#[test]
fn transfers_stay_whole_through_crashes_and_step_downs() {
    are_whole(play(Servers::three(), "", 300, 20, &Fault::OF_THREE), 30);
}

/// The snapshots themselves: transactions of the driver, which are whole, are whole in each of them.
#[test]
fn a_snapshot_shows_no_half_of_a_transaction() {
    let mongod = Mongod::pooled();
    let database = mongod.database();
    let [first, second] = ["first", "second"];
    database.collection(first).insert(doc! { "_id": "1", "balance": 0_i64 });
    database.collection(second).insert(doc! { "_id": "1", "balance": 0_i64 });
    let stop = AtomicBool::new(false);
    let mut states = HashSet::new();
    thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                transfer(&mongod, database.name(), [first, second]);
            }
        });
        let balances = || {
            let found = database.snapshot(&[first, second]).expect("a snapshot");
            [0, 1].map(|at: usize| found[at][0].get_i64("balance").expect("a balance"))
        };
        let enough = became(SOON, || {
            states.insert(balances());
            states.len() >= 50
        });
        stop.store(true, Ordering::Relaxed);
        assert!(enough, "only {} states", states.len());
    });
    assert!(states.iter().all(|[first, second]| first + second == 0), "{states:?}");
}

/// Moves 1 from the document of one collection to that of the other.
fn transfer(mongod: &Mongod, database: &str, collections: [&str; 2]) {
    block_on(async {
        let client = Client::with_uri_str(mongod.uri()).await.expect("client");
        let mut session = client.start_session().await.expect("session");
        for _ in 0..20 {
            session.start_transaction().await.expect("transaction");
            for (name, amount) in collections.into_iter().zip([-1_i64, 1]) {
                let documents = client.database(database).collection::<Document>(name);
                let change = doc! { "$inc": { "balance": amount } };
                let update = documents.update_one(doc! { "_id": "1" }, change);
                update.session(&mut session).await.expect("update");
            }
            session.commit_transaction().await.expect("commit");
        }
    });
}

/// The control: this is what the tests above see without the feature.
#[test]
fn without_atomic_a_snapshot_sees_half_a_transfer() {
    let (_, verdict) = play(Servers::one(), "ATOMIC NONE", 300, 0, &[]);
    let wrong = verdict.polled.first_wrong.as_ref();
    assert!(wrong.is_some_and(|wrong| wrong.what.starts_with("the sum is")), "{verdict}");
    // Only meanwhile: in the end all is written.
    assert_eq!(verdict.differences, Vec::<String>::new());
}
