//! The lease: of all servers that have the same data, one writes, and what the others have sent or send is
//! refused by MongoDB.

use std::time::Duration;

use mongodb::bson::doc;
use testkit::failover::{Plan, Scenario, play};
use testkit::mongod::{Mongod, TestDatabase};
use testkit::network::proxy::{Fault, Proxy};
use testkit::redis_server::{Redis, Setup};
use testkit::wait::{SOON, became, wait_until};

const KEYS: usize = 100;

/// A server that keeps its data, with the interval that its keys wait.
fn server(uri: &str) -> Redis {
    Setup::new(uri).durable().config("repl-diskless-sync-delay 0").start()
}

/// Two servers, the second one a replica of the first, and a registration whose keys are written by a flush
/// only.
fn pair(database: &TestDatabase, uri: &str) -> (Redis, Redis) {
    let (master, replica) = (server(uri), server(&Mongod::shared().uri()));
    let namespace = database.namespace("keys");
    master.cmd(&["WB.REGISTER", "k:", &namespace, "INTERVAL", "3600000"]);
    holds(&master);
    replica.follow(&master);
    (master, replica)
}

fn set(redis: &Redis, value: &str) {
    let script = "for i = 1, ARGV[1] do redis.call('SET', 'k:' .. i, ARGV[2]) end";
    redis.cmd(&["EVAL", script, "0", &KEYS.to_string(), value]);
}

/// Number of documents with this value.
fn with(database: &TestDatabase, value: &str) -> u64 {
    database.collection("keys").count_of(doc! { "value": value })
}

#[track_caller]
fn holds(redis: &Redis) {
    wait_until("it holds the lease", SOON, || redis.status().text("lease") == "held");
}

#[track_caller]
fn flushes(redis: &Redis) {
    let flushed = redis.flush();
    assert_eq!((flushed.failed, flushed.pending), (0, 0), "{}", redis.log());
}

/// A master that was killed with dirty keys and is started again, and the one that was promoted and has
/// written newer values.
fn replaced(database: &TestDatabase) -> (Redis, Redis) {
    let (mut old, new) = pair(database, &Mongod::shared().uri());
    set(&old, "old");
    new.wait_until_in_sync_with(&old);
    old.kill();
    new.promote();
    set(&new, "new");
    flushes(&new);
    old.restart();
    wait_until("it sees the lease", SOON, || old.status().text("lease") == "waiting");
    (old, new)
}

#[test]
fn a_replaced_master_that_comes_back_writes_nothing_until_it_is_made_a_replica() {
    let database = Mongod::shared().database();
    let (old, new) = replaced(&database);
    let flushed = old.flush_with(&["TIMEOUT", "1500"]);
    assert_eq!(flushed.pending, KEYS as i64);
    let why = old.status().text("link_error");
    assert!(why.contains("holds the lease"), "{why}");
    assert_eq!(with(&database, "new"), KEYS as u64);
    let status = old.status();
    assert_eq!((status.text("link"), status.int("lease_epoch")), ("down".into(), 0));
    old.follow(&new);
    assert_eq!(old.status().int("dirty_keys"), 0);
    assert_eq!(with(&database, "new"), KEYS as u64);
}

#[test]
fn a_copy_that_is_made_independent_writes() {
    // The control for the test above: without the common lease the old values win.
    let database = Mongod::shared().database();
    let (mut old, new) = replaced(&database);
    let shard = old.status().text("shard");
    assert_eq!(shard, new.status().text("shard"));
    assert_eq!(old.run::<String>(&["WB.LEASE", "NEW"]), "OK");
    flushes(&old);
    assert_ne!(old.status().text("shard"), shard);
    assert_eq!(with(&database, "old"), KEYS as u64);
    // Both write from now on, and after a restart the copy is still independent.
    set(&new, "new");
    flushes(&new);
    old.restart();
    set(&old, "old");
    flushes(&old);
    assert_eq!(old.status().text("lease"), "held");
    assert_eq!(new.status().text("lease"), "held");
}

#[test]
fn what_a_frozen_master_has_sent_is_refused_when_the_network_delivers_it_late() {
    let database = Mongod::shared().database();
    let proxy = Proxy::to(Mongod::shared().port());
    let (old, new) = pair(&database, &proxy.uri());
    set(&old, "first");
    flushes(&old);
    set(&old, "old");
    new.wait_until_in_sync_with(&old);
    proxy.set(Fault::HoldExisting);
    old.flush_with(&["TIMEOUT", "1"]);
    wait_until("a batch is in flight", SOON, || old.status().int("in_flight_keys") > 0);
    old.freeze();
    new.promote();
    set(&new, "new");
    flushes(&new);
    // It arrives now, and the old master goes on only later.
    let before = Mongod::shared().writes();
    proxy.set(Fault::None);
    became(Duration::from_millis(500), || Mongod::shared().writes() > before + 1);
    assert_eq!(with(&database, "new"), KEYS as u64);
    old.thaw();
    wait_until("it has lost the lease", SOON, || old.status().text("lease") == "waiting");
    assert_eq!(with(&database, "new"), KEYS as u64);
    old.follow(&new);
    assert_eq!(old.status().int("dirty_keys"), 0);
    flushes(&new);
    assert_eq!(with(&database, "new"), KEYS as u64);
}

#[test]
fn a_frozen_master_that_goes_on_with_keys_that_it_has_not_sent_writes_nothing() {
    let database = Mongod::shared().database();
    let (old, new) = pair(&database, &Mongod::shared().uri());
    set(&old, "old");
    new.wait_until_in_sync_with(&old);
    old.freeze();
    new.promote();
    set(&new, "new");
    flushes(&new);
    old.thaw();
    let flushed = old.flush_with(&["TIMEOUT", "3000"]);
    assert_eq!(flushed.pending, KEYS as i64, "{}", old.log());
    assert_eq!(with(&database, "new"), KEYS as u64);
}

#[test]
fn a_restarted_master_writes_at_once() {
    let database = Mongod::shared().database();
    let mut redis = server(&Mongod::shared().uri());
    redis.cmd(&["WB.REGISTER", "k:", &database.namespace("keys"), "INTERVAL", "3600000"]);
    holds(&redis);
    let epoch = redis.status().int("lease_epoch");
    set(&redis, "one");
    redis.restart();
    let flushed = redis.flush_with(&["TIMEOUT", "5000"]);
    assert_eq!(flushed.persisted, KEYS as i64, "{}", redis.log());
    assert!(redis.status().int("lease_epoch") > epoch);
    // Another server that loads the data takes the lease that was given back.
    redis.shutdown(&[]);
    let copy = server(&Mongod::shared().uri());
    copy.cmd(&["CONFIG", "SET", "appendonly", "no"]);
    drop(copy);
}

#[test]
fn a_lease_that_nobody_renews_is_taken_after_fifteen_seconds() {
    let database = Mongod::shared().database();
    let (old, new) = pair(&database, &Mongod::shared().uri());
    // As after a restore of older data elsewhere, while the holder is gone.
    set(&old, "old");
    new.wait_until_in_sync_with(&old);
    new.promote();
    holds(&new);
    wait_until("the old master has lost the lease", SOON, || {
        old.status().text("lease") == "waiting"
    });
    drop(new);
    let began = std::time::Instant::now();
    wait_until("it takes the lease again", SOON, || old.status().text("lease") == "held");
    let took = began.elapsed();
    assert!(took > Duration::from_secs(9) && took < Duration::from_secs(19), "{took:?}");
    flushes(&old);
    assert_eq!(with(&database, "old"), KEYS as u64);
}

#[test]
fn without_the_right_to_keep_a_lease_it_writes_and_warns() {
    let database = Mongod::shared().database();
    // A view takes no writes.
    database.run(doc! { "create": "leases", "viewOn": "keys", "pipeline": [] });
    let namespace = database.namespace("leases");
    let redis = Setup::new(&Mongod::shared().uri()).setting("lease-namespace", &namespace).start();
    redis.cmd(&["WB.REGISTER", "k:", &database.namespace("keys")]);
    set(&redis, "value");
    flushes(&redis);
    let status = redis.status();
    assert_eq!(status.text("lease"), "refused");
    assert!(status.text("warning").contains("the lease cannot be kept in"), "{status:?}");
    assert_eq!(with(&database, "value"), KEYS as u64);
    let elsewhere = database.namespace("elsewhere");
    redis.cmd(&["CONFIG", "SET", "writebehind.lease-namespace", &elsewhere]);
    holds(&redis);
    assert_eq!(database.collection("elsewhere").count_of(doc! {}), 1);
    let error = redis.error(&["CONFIG", "SET", "writebehind.lease-namespace", "nodot"]);
    assert!(error.contains("takes a MongoDB namespace"), "{error}");
}

fn plan(away_s: u64, late_s: u64, fenced: bool) -> Plan {
    let seconds = Duration::from_secs;
    Plan { keys: KEYS, away: seconds(away_s), late: seconds(late_s), fenced }
}

#[test]
fn a_short_run_of_every_failover_leaves_no_document_stale() {
    std::thread::scope(|scope| {
        let rounds = Scenario::ALL.map(|(name, scenario)| {
            (name, scope.spawn(move || play(scenario, plan(2, 1, true), None)))
        });
        for (name, round) in rounds {
            let verdict = round.join().unwrap_or_else(|_| panic!("{name} failed"));
            assert!(verdict.is_good(), "{name}: {verdict}");
        }
    });
}

#[test]
fn without_a_lease_a_master_that_comes_back_overwrites_newer_documents() {
    let verdict = play(Scenario::Returned, plan(1, 0, false), None);
    assert_eq!(verdict.stale, KEYS as u64);
}
