//! Hash slots that move to another node of a cluster: their documents stay.

use std::ops::RangeInclusive;

use mongodb::bson::doc;
use testkit::mongod::{Mongod, TestDatabase};
use testkit::redis_server::{Redis, Setup, command};
use testkit::wait::{SOON, wait_until};

const KEYS: usize = 200;

/// All keys are in one slot.
fn key(number: usize) -> String {
    format!("k:{{slot}}:{number}")
}

struct Cluster {
    database: TestDatabase,
    source: Redis,
    target: Redis,
    /// Of the source.
    replica: Redis,
    slot: String,
}

fn node() -> Redis {
    let setup = Setup::new(&Mongod::shared().uri()).config("cluster-enabled yes");
    setup
        .config("repl-diskless-sync-delay 0")
        .config("cluster-node-timeout 15000")
        .durable()
        .start()
}

fn id(node: &Redis) -> String {
    node.run(&["CLUSTER", "MYID"])
}

impl Cluster {
    /// The source has all slots but one; the documents are written.
    fn new() -> Self {
        Self::of(|_| 0..=16_382)
    }

    /// The source has these slots, by that of the keys, and the target the others.
    fn of(slots: impl FnOnce(u32) -> RangeInclusive<u32>) -> Self {
        let database = Mongod::shared().database();
        let [source, target, replica] = [node(), node(), node()];
        let slot: u32 = source.run(&["CLUSTER", "KEYSLOT", &key(0)]);
        let own = slots(slot);
        let add = |node: &Redis, slots: RangeInclusive<u32>| {
            if !slots.is_empty() {
                let [first, last] = [slots.start(), slots.end()].map(u32::to_string);
                node.cmd(&["CLUSTER", "ADDSLOTSRANGE", &first, &last]);
            }
        };
        add(&source, own.clone());
        if let Some(last) = own.start().checked_sub(1) {
            add(&target, 0..=last);
        }
        add(&target, own.end() + 1..=16_383);
        for other in [&target, &replica] {
            other.cmd(&["CLUSTER", "MEET", "127.0.0.1", &source.port().to_string()]);
        }
        let is_up = |node: &Redis| {
            let info: String = node.run(&["CLUSTER", "INFO"]);
            info.contains("cluster_state:ok") && info.contains("cluster_known_nodes:3")
        };
        let all = [&source, &target, &replica];
        wait_until("the cluster is up", SOON, || all.iter().all(|node| is_up(node)));
        replica.cmd(&["CLUSTER", "REPLICATE", &id(&source)]);
        let namespace = database.namespace("keys");
        for node in [&source, &target] {
            node.cmd(&["WB.REGISTER", "k:", &namespace, "INTERVAL", "3600000"]);
        }
        let cluster = Cluster { database, source, target, replica, slot: slot.to_string() };
        cluster.set(&cluster.source, "first");
        cluster.flush(&cluster.source);
        cluster.replica.wait_until_in_sync_with(&cluster.source);
        cluster
    }

    fn set(&self, node: &Redis, value: &str) {
        let mut pipe = redis::pipe();
        for number in 0..KEYS {
            pipe.add_command(command(&["SET", &key(number), value])).ignore();
        }
        pipe.query::<()>(&mut node.connection()).expect("replies");
    }

    #[track_caller]
    fn flush(&self, node: &Redis) {
        let flushed = node.flush_with(&["TIMEOUT", "20000"]);
        assert_eq!((flushed.failed, flushed.pending), (0, 0), "{}", node.log());
    }

    fn begin(&self) {
        let (from, to) = (id(&self.source), id(&self.target));
        self.target.cmd(&["CLUSTER", "SETSLOT", &self.slot, "IMPORTING", &from]);
        self.source.cmd(&["CLUSTER", "SETSLOT", &self.slot, "MIGRATING", &to]);
    }

    /// Moves the keys as `redis-cli --cluster reshard` does.
    fn migrate(&self, numbers: std::ops::Range<usize>) {
        let port = self.target.port().to_string();
        let keys: Vec<String> = numbers.map(key).collect();
        let mut words = vec!["MIGRATE", "127.0.0.1", &port, "", "0", "5000", "KEYS"];
        words.extend(keys.iter().map(String::as_str));
        self.source.cmd(&words);
    }

    fn end(&self) {
        let to = id(&self.target);
        let words = ["CLUSTER", "SETSLOT", &self.slot, "NODE", &to];
        self.target.cmd(&words);
        // The source may know already, and be a replica because it has no slot left.
        if let Err(error) = command(&words).exec(&mut self.source.connection()) {
            assert!(error.to_string().contains("only with masters"), "{error}");
        }
    }

    fn with(&self, value: &str) -> u64 {
        self.database.collection("keys").count_of(doc! { "value": value })
    }
}

#[test]
fn documents_of_a_slot_that_moves_stay() {
    let cluster = Cluster::new();
    cluster.begin();
    cluster.migrate(0..KEYS);
    cluster.end();
    cluster.flush(&cluster.source);
    cluster.flush(&cluster.target);
    assert_eq!(cluster.with("first"), KEYS as u64);
    assert_eq!(cluster.source.status().int("deleted_total"), 0);
    // From now on the target writes and deletes.
    cluster.set(&cluster.target, "second");
    cluster.target.cmd(&["DEL", &key(0)]);
    cluster.flush(&cluster.target);
    assert_eq!(cluster.database.collection("keys").count(), KEYS as u64 - 1);
    assert_eq!(cluster.with("second"), KEYS as u64 - 1);
}

#[test]
fn dirty_keys_that_move_are_written_by_their_new_node() {
    let cluster = Cluster::new();
    cluster.set(&cluster.source, "dirty");
    cluster.begin();
    cluster.migrate(0..KEYS);
    cluster.end();
    cluster.set(&cluster.target, "newest");
    cluster.flush(&cluster.target);
    // What the source still has of them is neither written nor deleted.
    cluster.flush(&cluster.source);
    assert_eq!(cluster.with("newest"), KEYS as u64);
    let status = cluster.source.status();
    assert_eq!((status.int("dirty_keys"), status.int("deleted_total")), (0, 0));
}

#[test]
fn a_key_that_a_client_deletes_while_its_slot_moves_is_deleted() {
    let cluster = Cluster::new();
    cluster.begin();
    cluster.migrate(0..KEYS / 2);
    let deleted = [key(KEYS - 1), key(KEYS - 2)];
    cluster.source.cmd(&["DEL", &deleted[0], &deleted[1]]);
    cluster.flush(&cluster.source);
    assert_eq!(cluster.database.collection("keys").count(), KEYS as u64 - 2);
    cluster.migrate(KEYS / 2..KEYS - 2);
    cluster.end();
    for node in [&cluster.source, &cluster.target] {
        cluster.flush(node);
    }
    assert_eq!(cluster.with("first"), KEYS as u64 - 2);
}

#[test]
fn a_replica_of_the_source_and_its_aof_know_that_keys_have_left() {
    let mut cluster = Cluster::new();
    cluster.set(&cluster.source, "dirty");
    cluster.begin();
    // All in one command, and the slot is still that of the source.
    cluster.migrate(0..KEYS);
    cluster.replica.wait_until_in_sync_with(&cluster.source);
    cluster.flush(&cluster.target);
    // The source is gone before it has looked at them again.
    cluster.source.restart();
    let is_up = || cluster.source.run::<String>(&["CLUSTER", "INFO"]).contains("cluster_state:ok");
    // Until then the server refuses clients that wait.
    wait_until("the cluster is up", SOON, is_up);
    cluster.flush(&cluster.source);
    assert_eq!(cluster.with("dirty"), KEYS as u64);
    cluster.source.kill();
    cluster.replica.cmd(&["CLUSTER", "FAILOVER", "TAKEOVER"]);
    let role = || cluster.replica.status().text("role");
    wait_until("the replica is the master", SOON, || role() == "master");
    cluster.flush(&cluster.replica);
    assert_eq!(cluster.with("dirty"), KEYS as u64);
}

#[test]
fn a_deletion_that_is_pending_when_its_slot_is_gone_is_left_to_the_new_node() {
    let cluster = Cluster::new();
    cluster.source.cmd(&["DEL", &key(0)]);
    assert_eq!(cluster.source.status().int("dirty_keys"), 1);
    cluster.begin();
    cluster.migrate(1..KEYS);
    cluster.end();
    cluster.set(&cluster.target, "newest");
    cluster.flush(&cluster.target);
    cluster.flush(&cluster.source);
    assert_eq!(cluster.with("newest"), KEYS as u64);
}

#[test]
fn a_removal_that_was_not_written_when_its_slot_left_is_written_by_the_new_node() {
    let cluster = Cluster::new();
    cluster.source.cmd(&["DEL", &key(0)]);
    // Its last value must be written: by default the document of an expired key stays.
    cluster.source.cmd(&["SET", &key(1), "last", "PX", "1"]);
    wait_until("it has expired", SOON, || cluster.source.run::<i64>(&["EXISTS", &key(1)]) == 0);
    assert_eq!(cluster.source.status().int("dirty_keys"), 2);
    cluster.begin();
    cluster.migrate(2..KEYS);
    cluster.end();
    cluster.flush(&cluster.source);
    cluster.flush(&cluster.target);
    assert_eq!(cluster.database.collection("keys").count(), KEYS as u64 - 1);
    assert_eq!((cluster.with("last"), cluster.with("first")), (1, KEYS as u64 - 2));
    assert_eq!(cluster.source.status().int("dirty_keys"), 0);
}

#[test]
fn a_master_whose_last_slot_leaves_hands_over_what_it_has_not_deleted() {
    let cluster = Cluster::of(|slot| slot..=slot);
    cluster.source.cmd(&["DEL", &key(0)]);
    cluster.begin();
    cluster.migrate(1..KEYS);
    cluster.end();
    // Its dirty keys go with its data, which it replaces by that of the target.
    wait_until("it is a replica", SOON, || cluster.source.status().text("role") == "replica");
    wait_until("the removal is taken over", SOON, || {
        cluster.source.status().int("leaving_keys") == 0
    });
    cluster.flush(&cluster.target);
    assert_eq!(cluster.database.collection("keys").count(), KEYS as u64 - 1);
}

#[test]
fn a_replica_that_leaves_its_cluster_leaves_the_lease_to_its_master() {
    let cluster = Cluster::new();
    cluster.set(&cluster.source, "dirty");
    cluster.replica.wait_until_in_sync_with(&cluster.source);
    let shard = cluster.source.status().text("shard");
    // As redis-cli --cluster del-node does.
    cluster.replica.cmd(&["CLUSTER", "RESET", "SOFT"]);
    wait_until("it is a master", SOON, || cluster.replica.status().text("role") == "master");
    let forgets = || {
        let status = cluster.replica.status();
        status.int("registrations") == 0 && status.int("dirty_keys") == 0
    };
    wait_until("it knows nothing", SOON, forgets);
    assert_ne!(cluster.replica.status().text("shard"), shard);
    cluster.flush(&cluster.source);
    assert_eq!(cluster.source.status().text("lease"), "held");
    assert_eq!(cluster.with("dirty"), KEYS as u64);
}

#[test]
fn documents_of_slots_that_valkey_migrates_at_once_stay() {
    let cluster = Cluster::new();
    let to = id(&cluster.target);
    let migrate =
        ["CLUSTER", "MIGRATESLOTS", "SLOTSRANGE", &cluster.slot, &cluster.slot, "NODE", &to];
    if !cluster.source.run::<String>(&["INFO", "SERVER"]).contains("valkey_version:9") {
        // Other servers do not have it.
        cluster.source.error(&migrate);
        return;
    }
    cluster.set(&cluster.source, "dirty");
    cluster.source.cmd(&["DEL", &key(0)]);
    cluster.source.cmd(&migrate);
    let has_slot = |node: &Redis| node.run::<usize>(&["CLUSTER", "COUNTKEYSINSLOT", &cluster.slot]);
    let moved = || (has_slot(&cluster.source), has_slot(&cluster.target)) == (0, KEYS - 1);
    wait_until("the slot has moved", SOON, moved);
    cluster.flush(&cluster.source);
    cluster.flush(&cluster.target);
    assert_eq!(cluster.with("dirty"), KEYS as u64 - 1);
    assert_eq!(cluster.database.collection("keys").count(), KEYS as u64 - 1);
    cluster.set(&cluster.target, "second");
    cluster.flush(&cluster.target);
    assert_eq!(cluster.with("second"), KEYS as u64);
}

#[test]
fn a_client_deletes_a_key_on_its_new_node_before_the_slot_is_there() {
    let cluster = Cluster::new();
    cluster.begin();
    cluster.migrate(0..KEYS);
    let mut asking = cluster.target.connect();
    command(&["ASKING"]).query::<()>(&mut asking).expect("reply");
    assert_eq!(command(&["DEL", &key(0)]).query::<i64>(&mut asking).expect("reply"), 1);
    cluster.flush(&cluster.target);
    assert_eq!(cluster.database.collection("keys").count(), KEYS as u64 - 1);
    cluster.end();
    for node in [&cluster.source, &cluster.target] {
        cluster.flush(node);
    }
    assert_eq!(cluster.with("first"), KEYS as u64 - 1);
}
