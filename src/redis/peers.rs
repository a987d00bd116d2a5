//! What this node knows of the registrations of the others, and what it still has to say.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;

use crate::core::backlog::revisions::Revised;
use crate::core::cluster::NodeId;
use crate::core::cluster::topology::Node;

/// How often the digest is sent, microseconds.
pub const EVERY_US: u64 = 5_000_000;
/// How often new nodes are looked for, microseconds.
pub const LOOK_US: u64 = 1_000_000;
/// How often the list of nodes is read, microseconds: with hundreds of nodes it takes a millisecond or more.
pub const FOLLOW_US: u64 = 60_000_000;
/// For how long nodes may differ before an operator must know, microseconds.
const DIFFERS_US: u64 = 20_000_000;

/// One of the other masters.
#[derive(Clone, Copy, Debug)]
struct Peer {
    /// Its last digest.
    digest: Option<u64>,
    /// Since when it is known, or had the digest of this node last, microseconds.
    agreed_us: u64,
    /// When it was asked for its statements last, microseconds.
    pulled_us: u64,
}

/// The other masters.
#[derive(Debug, Default)]
pub struct Peers {
    by_id: RefCell<HashMap<NodeId, Peer>>,
    news: RefCell<Vec<Revised>>,
    /// When the digest is sent again, microseconds.
    pub next_us: Cell<u64>,
    /// When new nodes are looked for again, microseconds.
    pub look_us: Cell<u64>,
    /// When the list of nodes is read again, microseconds.
    pub follow_us: Cell<u64>,
    /// Number of nodes when the digest was sent last.
    pub nodes: Cell<usize>,
    /// Why a statement could not be followed; logged once.
    pub refusal: RefCell<String>,
}

impl Peers {
    /// A command has changed this prefix, or the pause of all.
    pub fn changed(&self, of: Revised) {
        self.news.borrow_mut().push(of);
    }

    /// What was changed since the last call.
    pub fn take_news(&self) -> Vec<Revised> {
        std::mem::take(&mut self.news.borrow_mut())
    }

    /// A node has this digest. True if it is to be asked for its statements, because `own` is another one: at
    /// most once a second.
    pub fn heard(&self, node: NodeId, digest: u64, own: u64, now_us: u64) -> bool {
        let mut by_id = self.by_id.borrow_mut();
        let peer = by_id.entry(node).or_insert_with(|| Peer::new(now_us));
        peer.digest = Some(digest);
        if digest == own {
            peer.agreed_us = now_us;
            return false;
        }
        let is_due = now_us >= peer.pulled_us.saturating_add(LOOK_US);
        if is_due {
            peer.pulled_us = now_us;
        }
        is_due
    }

    /// Forgets nodes that are no masters of the cluster any more.
    pub fn follow(&self, nodes: &[Node], own: u64, now_us: u64) {
        let mut by_id = self.by_id.borrow_mut();
        let is_peer = |node: &&Node| node.is_master && !node.is_failing && !node.is_own;
        let masters = || nodes.iter().filter(is_peer);
        by_id.retain(|id, _| masters().any(|node| node.id == *id));
        for node in masters() {
            let peer = by_id.entry(node.id).or_insert_with(|| Peer::new(now_us));
            if peer.digest == Some(own) {
                peer.agreed_us = now_us;
            }
        }
    }

    /// The nodes that have had other registrations for long, in one sentence.
    pub fn warning(&self, now_us: u64) -> Option<String> {
        let by_id = self.by_id.borrow();
        let differing = by_id.iter().filter(|(_, peer)| peer.agreed_us + DIFFERS_US < now_us);
        let mut ids: Vec<String> =
            differing.map(|(id, _)| String::from_utf8_lossy(id).into_owned()).collect();
        ids.sort();
        (!ids.is_empty()).then(|| {
            format!(
                "these nodes of the cluster do not have the registrations of this one, or do not answer: \
                 {}; load this version of the module there",
                ids.join(", ")
            )
        })
    }
}

impl Peer {
    fn new(now_us: u64) -> Self {
        Peer { digest: None, agreed_us: now_us, pulled_us: 0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(id: u8) -> Node {
        let is_own = id == b'0';
        Node { id: [id; 40], is_master: true, is_failing: false, has_slots: true, is_own }
    }

    #[test]
    fn a_node_with_another_digest_is_asked_once_a_second() {
        let peers = Peers::default();
        let heard = |digest, now_us| peers.heard([b'a'; 40], digest, 7, now_us);
        assert!(!heard(7, LOOK_US));
        assert!(heard(8, LOOK_US));
        assert!(!heard(8, LOOK_US + 1));
        assert!(heard(8, 2 * LOOK_US));
    }

    #[test]
    fn a_node_that_differs_for_long_is_named_until_it_has_left() {
        let peers = Peers::default();
        peers.follow(&[node(b'0'), node(b'a'), node(b'b')], 7, 0);
        peers.heard([b'a'; 40], 7, 7, DIFFERS_US);
        assert_eq!(peers.warning(DIFFERS_US), None);
        let warning = peers.warning(DIFFERS_US + 1).unwrap();
        assert!(warning.contains(&"b".repeat(40)) && !warning.contains(&"a".repeat(40)));
        peers.follow(&[node(b'0'), node(b'a')], 7, DIFFERS_US + 1);
        assert_eq!(peers.warning(2 * DIFFERS_US), None);
    }
}
