//! The cluster and the MongoDB of a round.

use std::path::Path;
use std::thread::sleep;

use super::check;
use super::commands::PREFIX;
use super::load::Load;
use super::nodes::{Cluster, setup};
use super::plan::{Plan, Verdict};
use crate::mongod::collection::Collection;
use crate::mongod::{Mongod, PooledMongod, TestDatabase};
use crate::redis_server::{Redis, Setup};
use crate::wait::{SOON, became};

/// Writes before the cluster changes, and after.
const SOME: u64 = 3_000;

/// The servers of a round.
pub struct Stage {
    // Declared before MongoDB: its servers end first.
    pub cluster: Cluster,
    database: TestDatabase,
    pub mongod: PooledMongod,
    pub plan: Plan,
    /// The options of a node.
    setup: Setup,
}

impl Stage {
    /// Three masters, of which the first reaches MongoDB at `source_uri`, a replica of it if planned, and
    /// the registration of their keys.
    pub fn new(
        plan: Plan,
        mongod: PooledMongod,
        source_uri: &str,
        node_timeout_ms: u64,
        program: Option<&Path>,
    ) -> Self {
        let database = mongod.database();
        let setup_at = |uri: &str| setup(uri, node_timeout_ms, program);
        let setup = setup_at(&mongod.uri());
        let cluster = Cluster::of([setup_at(source_uri), setup.clone(), setup.clone()]);
        let mut stage = Self { cluster, database, mongod, plan, setup };
        if plan.has_replica {
            stage.cluster.add_replica(stage.setup.start());
        }
        let masters = stage.cluster.masters();
        let by_hand = if plan.register_each { masters.len() } else { 1 };
        masters.iter().take(by_hand).for_each(|(master, _)| stage.register(master));
        masters.iter().for_each(|(master, _)| wait_for_registration(master));
        stage
    }

    /// WB.REGISTER on this node.
    fn register(&self, node: &Redis) {
        let namespace = self.database.namespace("keys");
        let interval = self.plan.interval_ms.to_string();
        let options = ["ONEXPIRE", "DELETE", "INTERVAL", &interval];
        node.cmd(&[&["WB.REGISTER", PREFIX, &namespace], options.as_slice()].concat());
    }

    /// Adds a master without slots, and waits until it has the registration.
    pub fn add_master(&mut self) {
        self.cluster.add(self.setup.start());
        let added = self.cluster.nodes.last().expect("the added node");
        if self.plan.register_each {
            self.register(added);
        }
        wait_for_registration(added);
    }

    pub fn collection(&self) -> Collection {
        self.database.collection("keys")
    }

    /// Starts the load.
    pub fn load(&self) -> Load {
        let load = Load::start(&self.cluster.ports(), self.plan.seed);
        load.wait_for(SOME);
        load
    }

    /// Runs `work` while MongoDB stops and goes on as planned.
    pub fn freezes_during(&self, work: impl FnOnce()) {
        let mongod: &Mongod = &self.mongod;
        std::thread::scope(|scope| {
            if let Some((after, frozen)) = self.plan.freeze {
                scope.spawn(move || {
                    // Not waits for a condition: the moments are those of the plan.
                    sleep(after);
                    mongod.freeze();
                    sleep(frozen);
                    mongod.thaw();
                });
            }
            work();
        });
    }

    /// Ends the load and compares.
    #[track_caller]
    pub fn verdict(&self, load: Load) -> Verdict {
        load.wait_for(SOME);
        let traffic = load.stop();
        self.cluster.wait_until_agreed();
        check::wait_for_expiries(&self.cluster);
        let unwritten = check::flush(&self.cluster);
        let verdict = check::compare(&self.cluster, &self.collection(), true);
        Verdict { unwritten, traffic, ..verdict }
    }
}

/// A node that stays without the registration is reported, and the comparison counts its documents.
fn wait_for_registration(node: &Redis) {
    if !became(SOON, || node.status().int("registrations") == 1) {
        eprintln!("port {}: no registration within {SOON:?}", node.port());
    }
}
