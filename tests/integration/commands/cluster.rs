//! Commands with keys in a cluster: they go to the node that has the slot of the key.

use redis::Value;
use testkit::mongod::unreachable_uri;
use testkit::redis_server::{Redis, Setup};
use testkit::wait::{SOON, wait_until};

/// Two nodes, each with half of the slots.
fn nodes() -> [Redis; 2] {
    let node = || Setup::new(&unreachable_uri()).config("cluster-enabled yes").start();
    let nodes = [node(), node()];
    nodes[0].cmd(&["CLUSTER", "ADDSLOTSRANGE", "0", "8191"]);
    nodes[1].cmd(&["CLUSTER", "ADDSLOTSRANGE", "8192", "16383"]);
    nodes[0].cmd(&["CLUSTER", "MEET", "127.0.0.1", &nodes[1].port().to_string()]);
    let is_up = |node: &Redis| {
        let info: String = node.run(&["CLUSTER", "INFO"]);
        info.contains("cluster_state:ok") && info.contains("cluster_known_nodes:2")
    };
    wait_until("the cluster is up", SOON, || nodes.iter().all(is_up));
    for node in &nodes {
        node.cmd(&["WB.REGISTER", "k:", "shop.keys"]);
    }
    nodes
}

/// A key of the first node, and one of the second.
fn keys(node: &Redis) -> [String; 2] {
    let of = |wanted: bool| {
        let is_first = |key: &String| node.run::<u32>(&["CLUSTER", "KEYSLOT", key]) < 8192;
        let mut keys = (0..).map(|number| format!("k:{number}"));
        keys.find(|key| is_first(key) == wanted).expect("a key")
    };
    [of(true), of(false)]
}

#[test]
fn commands_with_keys_are_redirected_to_the_node_of_the_slot() {
    let [first, second] = nodes();
    let [own, foreign] = keys(&first);
    second.cmd(&["SET", &foreign, "x"]);
    for words in [
        vec!["WB.FLUSH", "KEYS", "1", &foreign, "TIMEOUT", "1"],
        vec!["WB.DEADLETTER", "RETRY", "KEY", &foreign],
        vec!["WB.DEADLETTER", "DROP", "KEY", &foreign],
        vec!["WB.EXPLAIN", &foreign],
    ] {
        let error = first.error(&words);
        assert!(error.contains("MOVED") || error.contains("Moved"), "{words:?}: {error}");
        assert!(error.contains(&second.port().to_string()), "{words:?}: {error}");
        assert!(!matches!(second.cmd(&words), Value::Nil), "{words:?}");
    }
    let both = ["WB.FLUSH", "KEYS", "2", &own, &foreign];
    let error = first.error(&both);
    assert!(error.to_uppercase().contains("CROSSSLOT"), "{error}");
    assert_eq!(first.flush_with(&["KEYS", "1", &own]).pending, 0);
    // Without a key a command is about the node itself.
    assert_eq!(first.flush_with(&["TIMEOUT", "1"]).pending, 0);
    assert_eq!(second.flush_with(&["TIMEOUT", "1"]).pending, 1);
    assert_eq!(first.run::<i64>(&["WB.DEADLETTER", "RETRY", "k:"]), 0);
}
