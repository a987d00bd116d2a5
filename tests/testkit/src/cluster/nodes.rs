//! The servers of a cluster.

use std::path::Path;
use std::time::Duration;

use super::admin;
use super::slots::{Member, SLOTS};
use crate::redis_server::{Redis, Setup};
use crate::wait::{SOON, became, wait_until};

/// Longer than the servers take to spread a change, on a busy machine too.
const SETTLED: Duration = Duration::from_secs(60);

/// Running servers that know each other. Dropping them ends them.
pub struct Cluster {
    /// All servers: the first three are the masters at the beginning.
    pub nodes: Vec<Redis>,
}

/// A server with the module in cluster mode.
pub fn setup(uri: &str, node_timeout_ms: u64, program: Option<&Path>) -> Setup {
    let setup = Setup::new(uri)
        .setting("retry-backoff-max-ms", "1000")
        .config("cluster-enabled yes")
        .config(&format!("cluster-node-timeout {node_timeout_ms}"))
        .config("appendonly yes")
        .config("repl-diskless-sync-delay 0");
    match program {
        Some(program) => setup.program(program),
        None => setup,
    }
}

impl Cluster {
    /// Three masters, each with a third of the slots.
    pub fn of(setups: [Setup; 3]) -> Self {
        let cluster = Self { nodes: setups.iter().map(Setup::start).collect() };
        let addresses: Vec<String> = cluster.nodes.iter().map(admin::address).collect();
        let words: Vec<&str> = addresses.iter().map(String::as_str).collect();
        admin::call("create", &[words.as_slice(), &["--cluster-yes"]].concat());
        cluster.wait_until_agreed();
        cluster
    }

    /// The node that loses slots.
    pub fn source(&self) -> &Redis {
        &self.nodes[0]
    }

    /// The node that gets them, where it is one of the first three.
    pub fn target(&self) -> &Redis {
        &self.nodes[1]
    }

    /// Adds a server as a master without slots.
    pub fn add(&mut self, node: Redis) {
        admin::call("add-node", &[&admin::address(&node), &admin::address(self.source())]);
        self.nodes.push(node);
        self.wait_until_agreed();
    }

    /// Adds a server as a replica of the source.
    pub fn add_replica(&mut self, replica: Redis) {
        let (new, old) = (admin::address(&replica), admin::address(self.source()));
        let id = id(self.source());
        admin::call("add-node", &[&new, &old, "--cluster-slave", "--cluster-master-id", &id]);
        self.nodes.push(replica);
        self.wait_until_agreed();
        let replica = self.nodes.last().expect("the replica");
        let is_replica = || !Member::own(replica).is_master;
        wait_until("it is a replica", SOON, is_replica);
        replica.wait_until_in_sync_with(self.source());
    }

    /// Returns when all nodes know each other, agree who has which slots, and no slot is on its way.
    #[track_caller]
    pub fn wait_until_agreed(&self) {
        self.wait_until_agreed_after("");
    }

    /// The same, with a text for the message of a failure.
    #[track_caller]
    pub fn wait_until_agreed_after(&self, text: &str) {
        let is_agreed = became(SETTLED, || self.agrees());
        assert!(is_agreed, "the nodes do not agree:\n{}\n{text}", self.views());
    }

    fn agrees(&self) -> bool {
        let is_up =
            |node: &Redis| node.run::<String>(&["CLUSTER", "INFO"]).contains("cluster_state:ok");
        let view = |node: &Redis| {
            let members = Member::all(node).into_iter().filter(|member| member.count() > 0);
            let mut view: Vec<_> = members.map(|member| (member.id, member.slots)).collect();
            view.sort_by(|(one, _), (other, _)| one.cmp(other));
            view
        };
        let first = view(&self.nodes[0]);
        let has_all = |node: &Redis| {
            let members = Member::all(node);
            let open: usize = members.iter().map(|member| member.open).sum();
            let slots: usize = members.iter().map(Member::count).sum();
            members.len() == self.nodes.len() && open == 0 && slots == SLOTS
        };
        self.nodes.iter().all(|node| is_up(node) && has_all(node) && view(node) == first)
    }

    /// What each node knows, for the message of a failure.
    fn views(&self) -> String {
        let view = |node: &Redis| node.run::<String>(&["CLUSTER", "NODES"]);
        self.nodes.iter().map(view).collect::<Vec<_>>().join("\n")
    }

    /// The masters that have slots.
    pub fn masters(&self) -> Vec<(&Redis, Member)> {
        let of = |node| (node, Member::own(node));
        let nodes = self.nodes.iter().map(of);
        nodes.filter(|(_, member)| member.is_master && member.count() > 0).collect()
    }

    pub fn ports(&self) -> Vec<u16> {
        self.nodes.iter().map(Redis::port).collect()
    }
}

pub fn id(node: &Redis) -> String {
    node.run(&["CLUSTER", "MYID"])
}
