//! The nodes of a cluster, from the reply to CLUSTER NODES.

use super::NodeId;

/// A node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Node {
    /// Its id.
    pub id: NodeId,
    /// True if it is a master.
    pub is_master: bool,
    /// True if the server has reason to think that it has failed.
    pub is_failing: bool,
    /// True if it has slots.
    pub has_slots: bool,
    /// True if it is the server that has given the reply.
    pub is_own: bool,
}

/// The nodes in the reply to CLUSTER NODES, without those that are only about to be known
/// (<https://redis.io/docs/latest/commands/cluster-nodes/>).
pub fn nodes(reply: &str) -> Vec<Node> {
    reply.lines().filter_map(node).collect()
}

fn node(line: &str) -> Option<Node> {
    let mut words = line.split(' ');
    let id = NodeId::try_from(words.next()?.as_bytes()).ok()?;
    let flags = words.nth(1)?;
    let has = |flag: &str| flags.split(',').any(|word| word == flag);
    if has("handshake") || has("noaddr") {
        return None;
    }
    Some(Node {
        id,
        is_master: has("master"),
        is_failing: has("fail") || has("fail?"),
        // Master, two times, epoch and state of the link are in between.
        has_slots: words.nth(5).is_some(),
        is_own: has("myself"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nodes_have_their_flags_and_slots() {
        let id = |letter: &str| letter.repeat(40);
        let reply = format!(
            "{} 127.0.0.1:1@11 slave {} 0 1 4 connected\n\
             {} 127.0.0.1:2@12,host myself,master - 0 1 2 connected 5461-10922 [7->-x]\n\
             {} 127.0.0.1:3@13 master,fail - 0 1 2 disconnected\n\
             {} 127.0.0.1:4@14 master,fail? - 0 1 2 connected 1\n\
             {} :0@0 master,noaddr - 0 1 2 disconnected\n\
             {} 127.0.0.1:5@15 handshake - 0 1 2 connected\n",
            id("a"),
            id("b"),
            id("b"),
            id("c"),
            id("d"),
            id("e"),
            id("f"),
        );
        let node = |letter: u8, is_master, is_failing, has_slots, is_own| Node {
            id: [letter; 40],
            is_master,
            is_failing,
            has_slots,
            is_own,
        };
        let expected = [
            node(b'a', false, false, false, false),
            node(b'b', true, false, true, true),
            node(b'c', true, true, false, false),
            node(b'd', true, true, true, false),
        ];
        assert_eq!(nodes(&reply), expected);
        assert_eq!(nodes("damaged\n\nx y z"), []);
    }
}
