//! What happens in a round.

use std::path::Path;
use std::time::Duration;

use super::nodes::id;
use super::plan::{HALF, Plan, Verdict};
use super::slots::Member;
use super::stage::Stage;
use super::{admin, late};
use crate::mongod::Mongod;
use crate::wait::wait_until;

/// A third of all slots.
const THIRD: usize = 5_461;

/// Longer than a busy machine delays a reply.
const PATIENT_MS: u64 = 15_000;
/// So that a vote follows soon.
const IMPATIENT_MS: u64 = 5_000;
/// A failure is detected after the node timeout, and then voted on.
const VOTED: Duration = Duration::from_secs(60);

/// A change of the cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scenario {
    /// Half of the slots of a node move to another, and back.
    Reshard,
    /// A batch of the old node arrives after the newest values of the new one.
    Late,
    /// An empty node joins and gets a third of the slots.
    Added,
    /// A node loses all its slots and is removed.
    Removed,
    /// A node is killed while its slots move.
    Failover,
}

impl Scenario {
    /// Each with its name.
    pub const ALL: [(&'static str, Scenario); 5] = [
        ("reshard", Scenario::Reshard),
        ("late", Scenario::Late),
        ("added", Scenario::Added),
        ("removed", Scenario::Removed),
        ("failover", Scenario::Failover),
    ];
}

/// Plays a round with a MongoDB of its own.
pub fn play(scenario: Scenario, plan: Plan, program: Option<&Path>) -> Verdict {
    let stage = |plan: Plan, node_timeout_ms| {
        let mongod = Mongod::pooled();
        let uri = mongod.uri();
        Stage::new(plan, mongod, &uri, node_timeout_ms, program)
    };
    match scenario {
        Scenario::Reshard => reshard(stage(plan, PATIENT_MS)),
        Scenario::Late => late::play(plan, PATIENT_MS, program),
        Scenario::Added => added(stage(plan, PATIENT_MS)),
        Scenario::Removed => removed(stage(plan, PATIENT_MS)),
        Scenario::Failover => {
            let node_timeout_ms = if plan.votes { IMPATIENT_MS } else { PATIENT_MS };
            failover(stage(Plan { has_replica: true, ..plan }, node_timeout_ms))
        }
    }
}

fn reshard(stage: Stage) -> Verdict {
    let (source, target) = (stage.cluster.source(), stage.cluster.target());
    let load = stage.load();
    stage.freezes_during(|| {
        admin::move_slots(source, &id(source), &id(target), stage.plan.slots);
        stage.cluster.wait_until_agreed();
        admin::move_slots(source, &id(target), &id(source), stage.plan.slots);
    });
    stage.verdict(load)
}

fn added(mut stage: Stage) -> Verdict {
    let load = stage.load();
    stage.add_master();
    let added = stage.cluster.nodes.last().expect("the added node");
    stage.freezes_during(|| admin::move_slots(added, "all", &id(added), THIRD));
    stage.verdict(load)
}

fn removed(mut stage: Stage) -> Verdict {
    let load = stage.load();
    let (address, id) = (admin::address(stage.cluster.source()), id(stage.cluster.source()));
    let weight = format!("{id}=0");
    let mut moved = Ok(String::new());
    stage.freezes_during(|| {
        moved = admin::try_call("rebalance", &[&address, "--cluster-weight", &weight]);
    });
    // Without slots the node becomes a replica of another. On Valkey it refuses the last command of
    // redis-cli, which then fails, although all slots have moved.
    let output = moved.unwrap_or_else(|output| output);
    stage.cluster.wait_until_agreed_after(&output);
    assert_eq!(
        Member::own(stage.cluster.source()).count(),
        0,
        "slots that have not moved: {output}"
    );
    let source = stage.cluster.source();
    wait_until("its removals are taken over", VOTED, || source.status().int("leaving_keys") == 0);
    admin::call("del-node", &[&admin::address(stage.cluster.target()), &id]);
    let mut removed = stage.cluster.nodes.remove(0);
    if stage.plan.ends {
        removed.kill();
    }
    stage.verdict(load)
}

fn failover(mut stage: Stage) -> Verdict {
    let load = stage.load();
    let (source, target) = (stage.cluster.source(), stage.cluster.target());
    let words = admin::reshard(target, &id(source), &id(target), HALF);
    // Anywhere in the move, by the seed.
    let before = Member::own(target).count();
    let goal = before + 100 + (stage.plan.seed as usize * 7_919) % (HALF - 200);
    let mut killed = std::thread::scope(|scope| {
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let moving = scope.spawn(move || admin::try_call("reshard", &words));
        let has_moved = || Member::own(stage.cluster.target()).count() >= goal;
        wait_until("a part of the slots has moved", VOTED, || has_moved() || moving.is_finished());
        let mut killed = stage.cluster.nodes.remove(0);
        killed.kill();
        let moved = moving.join().expect("redis-cli");
        assert!(moved.is_err(), "the slots had moved before the node was killed");
        killed
    });
    let replica = stage.cluster.nodes.last().expect("the replica");
    if !stage.plan.votes {
        replica.cmd(&["CLUSTER", "FAILOVER", "TAKEOVER"]);
    }
    wait_until("the replica is the master", VOTED, || Member::own(replica).is_master);
    // With a master that has failed redis-cli repairs nothing.
    killed.restart();
    wait_until("the killed node is a replica", VOTED, || !Member::own(&killed).is_master);
    stage.cluster.nodes.push(killed);
    let via = admin::address(stage.cluster.source());
    // The node that imports a slot does not learn that its owner was replaced: this alone is an error of
    // the check before the repair. Keys that are on two nodes: the owner of the slot gets the other one's.
    let repair = admin::try_call("fix", &[&via, "--cluster-replace", "--cluster-yes"]);
    stage.cluster.wait_until_agreed_after(&repair.unwrap_or_else(|output| output));
    stage.verdict(load)
}
