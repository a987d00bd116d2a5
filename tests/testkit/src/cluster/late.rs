//! The round whose old batch arrives after the newest values.

use std::path::Path;
use std::thread::sleep;
use std::time::Duration;

use super::check;
use super::commands::PREFIX;
use super::nodes::id;
use super::plan::{Plan, Traffic, Verdict};
use super::slots::{Member, slot};
use super::stage::Stage;
use crate::mongod::Mongod;
use crate::network::proxy::{Fault, Proxy};
use crate::redis_server::{Redis, command};
use crate::wait::{SOON, became, wait_until};

/// Keys are written by a flush only, milliseconds.
const NEVER: u64 = 3_600_000;

/// The keys of a round, all in one slot of the source.
struct Keys {
    slot: usize,
    names: Vec<String>,
}

impl Keys {
    /// So few that they are one command: a transaction would not be committed without its node.
    fn of(source: &Redis, seed: u64) -> Self {
        let own = Member::own(source);
        let mut rng = fastrand::Rng::with_seed(seed);
        let mut tags = std::iter::repeat_with(|| format!("{PREFIX}{{{}}}", rng.u32(..)));
        let tag = tags.find(|tag| own.has(slot(tag.as_bytes()))).expect("a tag");
        let count = 5 + seed % 20;
        let names = (0..count).map(|number| format!("{tag}:{number}")).collect();
        Self { slot: slot(tag.as_bytes()), names }
    }

    fn set(&self, node: &Redis, value: &str) {
        let mut pipe = redis::pipe();
        self.names.iter().for_each(|name| {
            pipe.add_command(command(&["SET", name, value])).ignore();
        });
        pipe.query::<()>(&mut node.connection()).expect("replies");
    }

    /// Moves the slot as `redis-cli --cluster reshard` does.
    fn migrate(&self, stage: &Stage) {
        let (source, target) = (stage.cluster.source(), stage.cluster.target());
        let (from, to, slot) = (id(source), id(target), self.slot.to_string());
        target.cmd(&["CLUSTER", "SETSLOT", &slot, "IMPORTING", &from]);
        source.cmd(&["CLUSTER", "SETSLOT", &slot, "MIGRATING", &to]);
        let port = target.port().to_string();
        let mut words = vec!["MIGRATE", "127.0.0.1", &port, "", "0", "5000", "KEYS"];
        words.extend(self.names.iter().map(String::as_str));
        source.cmd(&words);
        for node in [target, source] {
            node.cmd(&["CLUSTER", "SETSLOT", &slot, "NODE", &to]);
        }
        stage.cluster.wait_until_agreed();
    }
}

/// Plays the round. Documents that are still wrong a while after the old batch count.
pub fn play(plan: Plan, node_timeout_ms: u64, program: Option<&Path>) -> Verdict {
    let plan = Plan { interval_ms: NEVER, ..plan };
    let mongod = Mongod::pooled();
    let proxy = Proxy::to(mongod.port());
    let stage = Stage::new(plan, mongod, &proxy.uri(), node_timeout_ms, program);
    let (source, target) = (stage.cluster.source(), stage.cluster.target());
    let keys = Keys::of(source, plan.seed);
    keys.set(source, "first");
    check::flush_one(source);
    proxy.set(Fault::HoldExisting);
    keys.set(source, "old");
    source.flush_with(&["TIMEOUT", "1"]);
    wait_until("a batch is in flight", SOON, || source.status().int("in_flight_keys") > 0);
    keys.migrate(&stage);
    keys.set(target, "new");
    for name in keys.names.iter().step_by(4) {
        target.cmd(&["DEL", name]);
    }
    let unwritten = check::flush_one(target);
    // Not a wait for a condition: the batch is as late as planned.
    sleep(plan.late);
    let before = stage.mongod.writes();
    proxy.set(Fault::None);
    // MongoDB may refuse all of it.
    let arrives = || stage.mongod.writes() >= before + keys.names.len() as i64;
    became(Duration::from_secs(1), arrives);
    let compare = |prints| check::compare(&stage.cluster, &stage.collection(), prints);
    became(SOON, || compare(false).is_good());
    let unwritten = unwritten + check::flush(&stage.cluster);
    let traffic = Traffic { writes: 2 * keys.names.len() as u64, ..Traffic::default() };
    Verdict { unwritten, traffic, ..compare(true) }
}
