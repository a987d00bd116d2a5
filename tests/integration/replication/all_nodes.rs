//! Registrations are the same on all nodes of a cluster, and commands with CLUSTER ask all of them.

use mongodb::bson::doc;
use redis::FromRedisValue;
use testkit::mongod::{Mongod, unreachable_uri};
use testkit::redis_server::{Fields, Redis, Setup, command};
use testkit::wait::{SOON, wait_until};

fn node(uri: &str) -> Redis {
    let setup = Setup::new(uri).config("cluster-enabled yes").config("cluster-node-timeout 15000");
    setup.config("repl-diskless-sync-delay 0").durable().start()
}

fn info(node: &Redis) -> String {
    node.run(&["CLUSTER", "INFO"])
}

fn id(node: &Redis) -> String {
    node.run(&["CLUSTER", "MYID"])
}

fn meet(node: &Redis, other: &Redis) {
    node.cmd(&["CLUSTER", "MEET", "127.0.0.1", &other.port().to_string()]);
}

/// Nodes that know each other; the slots are divided among them.
fn nodes<const N: usize>(uri: &str) -> [Redis; N] {
    let nodes = [(); N].map(|()| node(uri));
    let each = 16_384 / N;
    for (at, node) in nodes.iter().enumerate() {
        let last = if at + 1 == N { 16_383 } else { (at + 1) * each - 1 };
        node.cmd(&["CLUSTER", "ADDSLOTSRANGE", &(at * each).to_string(), &last.to_string()]);
        if at > 0 {
            meet(node, &nodes[0]);
        }
    }
    know_each_other(&nodes.each_ref());
    nodes
}

fn know_each_other(nodes: &[&Redis]) {
    let known = format!("cluster_known_nodes:{}\r", nodes.len());
    let is_up =
        |node: &&Redis| info(node).contains("cluster_state:ok") && info(node).contains(&known);
    wait_until("the nodes know each other", SOON, || nodes.iter().all(is_up));
    let is_linked = |node: &&Redis| {
        let nodes: String = node.run(&["CLUSTER", "NODES"]);
        !nodes.contains("handshake") && !nodes.contains("disconnected")
    };
    wait_until("the nodes are linked", SOON, || nodes.iter().all(is_linked));
}

fn prefixes(node: &Redis) -> Vec<String> {
    node.status().texts("prefixes")
}

#[track_caller]
fn have(nodes: &[&Redis], expected: &[&str]) {
    wait_until("all nodes have the registrations", SOON, || {
        nodes.iter().all(|node| prefixes(node) == expected)
    });
}

fn option(node: &Redis, name: &str) -> String {
    node.status_of("k:").text(name)
}

/// Sets 300 keys, each on its node, and returns how many each node has got.
fn set_keys(nodes: &[&Redis], value: &str) -> Vec<usize> {
    let mut counts = vec![0; nodes.len()];
    for number in 0..300 {
        let words = ["SET", &format!("k:{number}"), value];
        let mut replies =
            nodes.iter().map(|node| command(&words).query::<String>(&mut node.connection()));
        let at = replies.position(|reply| reply.is_ok()).expect("a node has the slot");
        counts[at] += 1;
    }
    counts
}

#[test]
fn a_registration_reaches_all_nodes_and_replicas_and_ends_on_all() {
    let database = Mongod::shared().database();
    let [a, b, c] = nodes(&Mongod::shared().uri());
    let replica = node(&Mongod::shared().uri());
    meet(&replica, &a);
    know_each_other(&[&a, &b, &c, &replica]);
    replica.cmd(&["CLUSTER", "REPLICATE", &id(&c)]);
    let all = [&a, &b, &c, &replica];
    a.cmd(&["WB.REGISTER", "k:", &database.namespace("keys"), "TYPE", "STRING"]);
    have(&all, &["k:"]);
    let counts = set_keys(&[&a, &b, &c], "first");
    assert!(counts.iter().all(|count| *count > 50), "{counts:?}");
    let flushed: Fields = a.run(&["WB.FLUSH", "CLUSTER"]);
    assert_eq!((flushed.int("failed"), flushed.int("pending")), (0, 0), "{flushed:?}");
    assert_eq!(flushed.texts("missing"), Vec::<String>::new());
    assert_eq!(database.collection("keys").count_of(doc! { "value": "first" }), 300);
    // Other options, given on another node.
    b.cmd(&["WB.REGISTER", "k:", &database.namespace("keys"), "TYPE", "STRING", "ONDEL", "KEEP"]);
    wait_until("all nodes have it", SOON, || {
        all.iter().all(|node| option(node, "ondel") == "KEEP")
    });
    assert_eq!(c.run::<i64>(&["WB.UNREGISTER", "k:"]), 0);
    have(&all, &[]);
}

#[test]
fn a_node_that_joins_later_gets_the_registrations_and_syncs_the_keys_that_it_has() {
    let database = Mongod::shared().database();
    let [a] = nodes(&Mongod::shared().uri());
    a.cmd(&["WB.REGISTER", "k:", &database.namespace("keys")]);
    // It had a slot before it has joined.
    let late = node(&Mongod::shared().uri());
    late.cmd(&["CLUSTER", "SET-CONFIG-EPOCH", "7"]);
    let key = "k:1";
    let slot: u32 = late.run(&["CLUSTER", "KEYSLOT", key]);
    late.cmd(&["CONFIG", "SET", "cluster-require-full-coverage", "no"]);
    late.cmd(&["CLUSTER", "ADDSLOTS", &slot.to_string()]);
    wait_until("it is up", SOON, || info(&late).contains("cluster_state:ok"));
    late.cmd(&["SET", key, "early"]);
    meet(&late, &a);
    have(&[&a, &late], &["k:"]);
    let document = || database.collection("keys").count_of(doc! { "_id": "1", "value": "early" });
    wait_until("the key is written", SOON, || document() == 1);
}

#[test]
fn a_node_that_was_down_follows_what_was_said_meanwhile() {
    let [a, mut b] = nodes(&unreachable_uri());
    for prefix in ["k:", "gone:"] {
        a.cmd(&["WB.REGISTER", prefix, &format!("shop.{}", prefix.trim_end_matches(':'))]);
    }
    have(&[&a, &b], &["k:", "gone:"]);
    b.kill();
    a.cmd(&["WB.UNREGISTER", "gone:"]);
    a.cmd(&["WB.REGISTER", "k:", "shop.k", "BATCH", "7"]);
    a.cmd(&["WB.REGISTER", "new:", "shop.new"]);
    a.cmd(&["WB.PAUSE", "new:"]);
    b.restart();
    let follows = || {
        let mut have = prefixes(&b);
        have.sort();
        have == ["k:", "new:"] && option(&b, "batch") == "7"
    };
    wait_until("it follows", SOON, follows);
    let paused = || b.status_of("new:").int("paused");
    wait_until("the pause follows", SOON, || paused() == 1);
}

#[test]
fn a_pause_holds_on_all_nodes_until_it_is_ended_on_any() {
    let [a, b, c] = nodes(&unreachable_uri());
    a.cmd(&["WB.REGISTER", "k:", "shop.k"]);
    have(&[&a, &b, &c], &["k:"]);
    let are = |paused: i64| {
        let is = |node: &Redis| node.status().int("paused") == paused;
        wait_until("all nodes follow", SOON, || [&a, &b, &c].iter().all(|node| is(node)));
    };
    b.cmd(&["WB.PAUSE"]);
    are(1);
    c.cmd(&["WB.RESUME"]);
    are(0);
    b.cmd(&["WB.PAUSE", "k:"]);
    let paused = |node: &Redis| node.status_of("k:").int("paused");
    wait_until("the prefix is paused", SOON, || [&a, &b, &c].iter().all(|node| paused(node) == 1));
    // Without a prefix it ends every pause.
    a.cmd(&["WB.RESUME"]);
    wait_until("it goes on", SOON, || [&a, &b, &c].iter().all(|node| paused(node) == 0));
}

#[test]
fn lines_of_a_file_reach_nodes_without_it_and_lose_to_commands() {
    let setup = Setup::new(&unreachable_uri()).config("cluster-enabled yes");
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("registrations");
    std::fs::write(&file, "WB.REGISTER k: shop.file\n").expect("written");
    let a = setup.setting("registrations-file", file.to_str().expect("UTF-8")).durable().start();
    let b = node(&unreachable_uri());
    a.cmd(&["CLUSTER", "ADDSLOTSRANGE", "0", "8191"]);
    b.cmd(&["CLUSTER", "ADDSLOTSRANGE", "8192", "16383"]);
    meet(&b, &a);
    have(&[&a, &b], &["k:"]);
    assert_eq!(option(&b, "namespace"), "shop.file");
    b.cmd(&["WB.REGISTER", "k:", "shop.command"]);
    wait_until("it follows", SOON, || option(&a, "namespace") == "shop.command");
    let mut a = a;
    // The file is read again at the start.
    a.restart();
    wait_until("it follows", SOON, || option(&a, "namespace") == "shop.command");
    b.cmd(&["WB.UNREGISTER", "k:"]);
    have(&[&a, &b], &[]);
    a.restart();
    have(&[&a, &b], &[]);
}

#[test]
fn cluster_asks_all_masters_and_names_those_that_do_not_answer() {
    let [a, b, c] = nodes(&unreachable_uri());
    a.cmd(&["WB.REGISTER", "k:", "shop.k"]);
    have(&[&a, &b, &c], &["k:"]);
    let counts = set_keys(&[&a, &b, &c], "x");
    let answer: Fields = a.run(&["WB.STATUS", "CLUSTER"]);
    for (node, count) in [&a, &b, &c].iter().zip(&counts) {
        assert_eq!(answer.map(&id(node)).int("dirty_keys"), *count as i64);
        let of_prefix: Fields = a.run(&["WB.STATUS", "k:", "CLUSTER"]);
        assert_eq!(of_prefix.map(&id(node)).int("dirty_keys"), *count as i64);
    }
    assert_eq!(answer.texts("missing"), Vec::<String>::new());
    let letters: Fields = a.run(&["WB.DEADLETTER", "LIST", "CLUSTER"]);
    assert_eq!(letters.texts(&id(&b)), Vec::<String>::new());
    let retried: Fields = a.run(&["WB.DEADLETTER", "RETRY", "k:", "CLUSTER"]);
    assert_eq!(retried.int(&id(&c)), 0);
    // MongoDB is away: the sums at the timeout.
    let flushed: Fields = a.run(&["WB.FLUSH", "k:", "TIMEOUT", "100", "CLUSTER"]);
    assert_eq!((flushed.int("persisted"), flushed.int("pending")), (0, 300), "{flushed:?}");
    assert!(!flushed.text("error").is_empty());
    let frozen = id(&c);
    c.freeze();
    let answer: Fields = a.run(&["WB.STATUS", "CLUSTER"]);
    assert_eq!(answer.texts("missing"), [frozen.as_str()]);
    let flushed: Fields = a.run(&["WB.FLUSH", "TIMEOUT", "100", "CLUSTER"]);
    assert_eq!(flushed.texts("missing"), [frozen.as_str()]);
    assert_eq!(flushed.int("pending"), (counts[0] + counts[1]) as i64);
    assert!(flushed.text("error").contains("did not answer"), "{flushed:?}");
    c.thaw();
}

#[test]
fn a_client_that_waits_for_all_nodes_is_unblocked_or_leaves() {
    let [a, b] = nodes(&unreachable_uri());
    a.cmd(&["WB.REGISTER", "k:", "shop.k"]);
    have(&[&a, &b], &["k:"]);
    set_keys(&[&a, &b], "x");
    let blocked = || a.info("clients", "blocked_clients").expect("the field");
    let begin = || {
        let mut waiting = a.connect();
        let id: i64 = command(&["CLIENT", "ID"]).query(&mut waiting).expect("an id");
        waiting
            .send_packed_command(&command(&["WB.FLUSH", "CLUSTER"]).get_packed_command())
            .expect("sent");
        wait_until("it is blocked", SOON, || blocked() == "1");
        (waiting, id)
    };
    let (mut waiting, id) = begin();
    assert_eq!(a.run::<i64>(&["CLIENT", "UNBLOCK", &id.to_string()]), 1);
    let answer =
        Fields::from_redis_value(waiting.recv_response().expect("a reply")).expect("a map");
    assert_eq!(answer.int("persisted"), 0);
    assert_eq!(blocked(), "0");
    let (waiting, _) = begin();
    drop(waiting);
    wait_until("none is blocked", SOON, || blocked() == "0");
    // Nodes do not flush for it any more, and answer others.
    let flushed: Fields = a.run(&["WB.FLUSH", "TIMEOUT", "50", "CLUSTER"]);
    assert_eq!((flushed.int("pending"), flushed.texts("missing").len()), (300, 0));
}

#[test]
fn dead_letters_that_are_dropped_on_all_nodes_are_dropped_on_replicas_too() {
    let database = Mongod::shared().database();
    let [a, b] = nodes(&Mongod::shared().uri());
    let replica = node(&Mongod::shared().uri());
    meet(&replica, &a);
    know_each_other(&[&a, &b, &replica]);
    replica.cmd(&["CLUSTER", "REPLICATE", &id(&b)]);
    // No key has such a suffix.
    a.cmd(&["WB.REGISTER", "k:x", &database.namespace("keys"), "KEY", "n", "AS", "INT64"]);
    have(&[&a, &b, &replica], &["k:x"]);
    let key = (0..)
        .map(|number| format!("k:xx{number}"))
        .find(|key| command(&["SET", key, "v"]).query::<String>(&mut b.connection()).is_ok());
    let letters = |node: &Redis| node.status().int("dead_letters");
    wait_until("it is a dead letter", SOON, || letters(&b) == 1 && letters(&replica) == 1);
    let dropped: Fields = a.run(&["WB.DEADLETTER", "DROP", "CLUSTER"]);
    assert_eq!((dropped.int(&id(&a)), dropped.int(&id(&b))), (0, 1), "{key:?}");
    assert_eq!(letters(&b), 0);
    wait_until("the replica has dropped it", SOON, || letters(&replica) == 0);
}

#[test]
fn cluster_is_refused_where_it_cannot_be_answered() {
    let alone = Setup::new(&unreachable_uri()).start();
    for words in [vec!["WB.STATUS", "CLUSTER"], vec!["WB.FLUSH", "CLUSTER"]] {
        assert!(alone.error(&words).contains("not in cluster mode"), "{words:?}");
    }
    // A prefix may have this name.
    alone.cmd(&["WB.REGISTER", "cluster", "shop.k"]);
    assert_eq!(alone.status_of("cluster").text("namespace"), "shop.k");
    let [a] = nodes(&unreachable_uri());
    let script = "return redis.call('WB.STATUS', 'CLUSTER')";
    assert!(a.error(&["EVAL", script, "0"]).contains("in MULTI or in a script"));
    assert!(a.error(&["WB.FLUSH", "KEYS", "1", "k:1", "CLUSTER"]).contains("KEYS or CLUSTER"));
}

#[test]
fn a_node_without_the_module_is_named_in_the_warning() {
    let [a] = nodes(&unreachable_uri());
    let without = Setup::without_module().config("cluster-enabled yes").start();
    meet(&without, &a);
    let id: String = without.run(&["CLUSTER", "MYID"]);
    let warns = || a.status().text("warning").contains(&id);
    wait_until("the node is named", 2 * SOON, warns);
}

#[test]
fn each_master_loads_the_keys_of_its_own_slots() {
    let mongod = Mongod::shared();
    let database = mongod.database();
    let nodes: [Redis; 2] = nodes(&mongod.uri());
    let [a, b] = nodes.each_ref();
    a.cmd(&["WB.REGISTER", "k:", &database.namespace("keys"), "TYPE", "STRING"]);
    have(&[a, b], &["k:"]);
    let documents = (0..500).map(|id| doc! { "_id": id.to_string(), "value": "x" });
    database.collection("keys").insert_many(documents);
    let loaded = [a, b].map(|node| {
        node.cmd(&["WB.LOAD", "k:"]);
        let has_ended = || node.status_of("k:").int("load_pending") == 0;
        wait_until("the load has ended", SOON, has_ended);
        let figures = node.status_of("k:");
        assert_eq!(figures.int("load_documents"), 500);
        assert_eq!(figures.int("load_kept"), 500 - figures.int("load_loaded"));
        assert_eq!(node.run::<i64>(&["DBSIZE"]), figures.int("load_loaded"));
        assert_eq!(node.status().int("dirty_keys"), 0);
        figures.int("load_loaded")
    });
    assert!(loaded[0] > 100 && loaded[0] + loaded[1] == 500, "{loaded:?}");
    // Each can be read where it belongs.
    let read = |node: &Redis| command(&["GET", "k:7"]).query::<String>(&mut node.connection());
    assert_eq!([a, b].iter().filter(|node| read(node).is_ok()).count(), 1);
}
