//! Servers that are killed, stepped down and replaced between checks.

use std::collections::HashMap;
use std::io::Write;
use std::sync::atomic::Ordering;
use std::time::Duration;

use fastrand::Rng;
use mongodb::bson::{Bson, Document};

use super::model::State;
use super::writer::{Shared, Writer};
use super::{Outcome, Plan, with_program};
use crate::mongod::replica_set::ReplicaSet;
use crate::mongod::{Mongod, TestDatabase};
use crate::redis_server::{Redis, Setup};
use crate::wait::{SOON, became, wait_until};

const DATABASE: &str = "acknowledged";
const PREFIXES: [(&str, &str); 2] = [("s:", "STRING"), ("h:", "HASH")];

/// Faults that are listed.
const LISTED: usize = 20;

/// Redis without anything on disk.
struct Stage {
    setup: Setup,
    /// Holds the registrations.
    folder: tempfile::TempDir,
}

impl Stage {
    fn new(plan: &Plan, uri: &str) -> Self {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("registrations");
        let mut file = std::fs::File::create(&path).expect("file");
        for (prefix, kind) in PREFIXES {
            let line = format!("WB.REGISTER {prefix} {DATABASE}.{kind} TYPE {kind} MODE THROUGH");
            writeln!(file, "{line}").expect("line");
        }
        let setup = Setup::new(uri)
            .setting("registrations-file", path.to_str().expect("path"))
            .setting("retry-backoff-max-ms", "200")
            .config("appendonly no")
            .config("save \"\"");
        Stage { setup: with_program(setup, plan.server.as_deref()), folder }
    }

    fn start(&self) -> Redis {
        debug_assert!(self.folder.path().exists());
        self.setup.start()
    }
}

/// The states of all keys, as a majority of MongoDB's servers has them.
fn states(database: &TestDatabase) -> HashMap<String, State> {
    let number = |document: &Document, field: &str| match document.get(field) {
        Some(Bson::String(text)) => text.parse().ok(),
        _ => None,
    };
    let mut states = HashMap::new();
    for ((prefix, kind), field) in PREFIXES.iter().zip(["value", "n"]) {
        let mut documents = None;
        wait_until("MongoDB answers", 6 * SOON, || {
            documents = database.collection(kind).majority_committed().ok();
            documents.is_some()
        });
        for document in documents.unwrap_or_default() {
            let id = document.get_str("_id").expect("_id");
            states.insert(format!("{prefix}{id}"), number(&document, field));
        }
    }
    states
}

fn check(writers: &[Writer], database: &TestDatabase) -> Vec<String> {
    let states = states(database);
    let state = |key: &str| states.get(key).copied().flatten();
    writers.iter().flat_map(|writer| writer.check(state)).collect()
}

/// Runs `disturb` in rounds beside all writers, and checks after each; `after` ends a round. Writers connect again if
/// they `return`.
fn rounds(
    plan: &Plan,
    database: &TestDatabase,
    (port, returns): (u16, bool),
    mut disturb: impl FnMut(&mut Rng, &Shared),
    mut after: impl FnMut() -> Vec<String>,
) -> Outcome {
    let shared = Shared::default();
    shared.port.store(port, Ordering::Relaxed);
    let mut rng = Rng::with_seed(plan.seed);
    let mut writers: Vec<Writer> =
        (0..plan.clients).map(|number| Writer::new(number, plan.seed)).collect();
    let mut faults = Vec::new();
    for round in 0..plan.rounds {
        shared.stop.store(false, Ordering::Relaxed);
        std::thread::scope(|scope| {
            for writer in &mut writers {
                let shared = &shared;
                scope.spawn(move || writer.run(shared, returns));
            }
            disturb(&mut rng, &shared);
            shared.stop.store(true, Ordering::Relaxed);
        });
        let found = check(&writers, database).into_iter().chain(after());
        faults.extend(found.map(|fault| format!("round {round}: {fault}")));
        if faults.len() > LISTED {
            break;
        }
    }
    faults.extend(writers.iter().flat_map(|writer| writer.faults.clone()));
    faults.truncate(LISTED);
    let count = |of: &std::sync::atomic::AtomicU64| of.load(Ordering::Relaxed);
    let (acknowledged, unanswered) = (count(&shared.acknowledged), count(&shared.unanswered));
    let summary = format!(
        "{} rounds, {} clients, {acknowledged} writes answered with OK, {unanswered} with an error or not at all",
        plan.rounds, plan.clients
    );
    Outcome { summary, acknowledged, unanswered, faults }
}

fn rest(rng: &mut Rng, ms: std::ops::Range<u64>) {
    std::thread::sleep(Duration::from_millis(rng.u64(ms)));
}

/// Redis is killed.
pub fn kill_redis(plan: &Plan) -> Outcome {
    let mongod = Mongod::replica_set();
    let stage = Stage::new(plan, &mongod.uri());
    let redis = std::cell::RefCell::new(stage.start());
    let port = redis.borrow().port();
    let database = mongod.named_database(DATABASE);
    let disturb = |rng: &mut Rng, _: &Shared| {
        rest(rng, 100..700);
        redis.borrow_mut().kill();
    };
    rounds(plan, &database, (port, false), disturb, || {
        redis.borrow_mut().restart();
        Vec::new()
    })
}

/// MongoDB is killed and starts again.
pub fn kill_mongod(plan: &Plan) -> Outcome {
    let mongod = std::cell::RefCell::new(Mongod::replica_set());
    let stage = Stage::new(plan, &mongod.borrow().uri());
    let redis = stage.start();
    let database = mongod.borrow().named_database(DATABASE);
    let disturb = |rng: &mut Rng, shared: &Shared| {
        rest(rng, 100..500);
        mongod.borrow_mut().kill();
        rest(rng, 0..300);
        mongod.borrow_mut().restart();
        continue_writing(rng, shared);
    };
    rounds(plan, &database, (redis.port(), true), disturb, || all_equal(&redis, &database))
}

/// The primary of three members steps down.
pub fn step_down(plan: &Plan) -> Outcome {
    let set = ReplicaSet::of_three();
    let stage = Stage::new(plan, &set.uri());
    let redis = stage.start();
    let database = set.named_database(DATABASE);
    let disturb = |rng: &mut Rng, shared: &Shared| {
        rest(rng, 100..500);
        wait_until("the primary steps down", 6 * SOON, || set.step_down());
        continue_writing(rng, shared);
    };
    rounds(plan, &database, (redis.port(), true), disturb, || all_equal(&redis, &database))
}

/// Redis's master is killed, and its replica takes over.
pub fn fail_over(plan: &Plan) -> Outcome {
    let mongod = Mongod::replica_set();
    let stage = Stage::new(plan, &mongod.uri());
    let database = mongod.named_database(DATABASE);
    let pair = std::cell::RefCell::new((stage.start(), stage.start()));
    let follow = |pair: &(Redis, Redis)| {
        pair.1.follow(&pair.0);
        // A master sends nothing to a new replica until its first acknowledgement, up to a second later.
        let now = pair.0.run::<Vec<String>>(&["TIME"]).join(".");
        pair.0.cmd(&["SET", "probe", &now]);
        wait_until("the replica gets what is written", 6 * SOON, || {
            pair.1.run::<Option<String>>(&["GET", "probe"]).as_deref() == Some(&now)
        });
    };
    follow(&pair.borrow());
    let port = pair.borrow().0.port();
    let disturb = |rng: &mut Rng, shared: &Shared| {
        rest(rng, 100..700);
        let mut pair = pair.borrow_mut();
        let (master, replica) = &mut *pair;
        master.kill();
        // It reads what the master has sent before.
        wait_until("the link is down", SOON, || !replica.is_linked());
        replica.promote();
        shared.port.store(replica.port(), Ordering::Relaxed);
        continue_writing(rng, shared);
        std::mem::swap(master, replica);
    };
    rounds(plan, &database, (port, true), disturb, || {
        let mut pair = pair.borrow_mut();
        let faults = all_equal(&pair.0, &database);
        pair.1.restart();
        follow(&pair);
        faults
    })
}

/// Until clients have written once more.
fn continue_writing(rng: &mut Rng, shared: &Shared) {
    let before = shared.acknowledged.load(Ordering::Relaxed);
    wait_until("clients write again", 6 * SOON, || {
        shared.acknowledged.load(Ordering::Relaxed) > before + 100
    });
    rest(rng, 50..200);
}

/// Redis and MongoDB have the same once everything is written.
fn all_equal(redis: &Redis, database: &TestDatabase) -> Vec<String> {
    let mut faults = Vec::new();
    if !became(3 * SOON, || redis.status().int("writers_waiting") == 0) {
        faults.push(format!("clients are held: {:?}", redis.status()));
    }
    redis.flush();
    let states = states(database);
    for ((prefix, kind), field) in PREFIXES.iter().zip(["value", "n"]) {
        if redis.verify_faults(prefix, &["FULL"]).is_none() {
            continue;
        }
        let keys: Vec<String> = redis.run(&["KEYS", &format!("{prefix}*")]);
        let value = |key: &str| match *kind {
            "STRING" => redis.run::<Option<String>>(&["GET", key]),
            _ => redis.run::<Option<String>>(&["HGET", key, field]),
        };
        let different = keys.iter().filter_map(|key| {
            let (ours, theirs) = (value(key), states.get(key.as_str()));
            let is_same =
                ours.as_deref().and_then(|text| text.parse().ok()) == theirs.copied().flatten();
            (!is_same).then(|| format!("{key}: Redis has {ours:?}, MongoDB {theirs:?}"))
        });
        faults.push(format!("{prefix}: {:?}", different.collect::<Vec<_>>()));
    }
    faults
}
