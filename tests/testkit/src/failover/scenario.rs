//! What happens in a round.

use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

use super::servers::Servers;
use super::{Plan, Verdict};
use crate::mongod::Mongod;
use crate::network::proxy::{Fault, Proxy};
use crate::redis_server::{Redis, Setup, command};
use crate::wait::{SOON, became, wait_until};

/// Keys are due soon, but not before a server is frozen, milliseconds.
const DUE_MS: &str = "1500";

/// A kind of failover.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scenario {
    /// A frozen master goes on with keys that it has not sent.
    Unsent,
    /// A frozen master goes on with a batch that was sent and not answered.
    Unanswered,
    /// The network delivers the batch of a frozen master after the newest values.
    Late,
    /// A killed master with an AOF is started again as a master, as under Sentinel.
    Returned,
    /// The same with an RDB.
    ReturnedRdb,
    /// CLUSTER FAILOVER, by a vote or as a takeover from a frozen master.
    Cluster,
    /// The master and MongoDB are killed together, and both return.
    BothKilled,
    /// Two masters freeze one after the other.
    TwoMasters,
}

impl Scenario {
    /// Each with its name.
    pub const ALL: [(&'static str, Scenario); 8] = [
        ("unsent", Scenario::Unsent),
        ("unanswered", Scenario::Unanswered),
        ("late", Scenario::Late),
        ("returned", Scenario::Returned),
        ("returned-rdb", Scenario::ReturnedRdb),
        ("cluster", Scenario::Cluster),
        ("both-killed", Scenario::BothKilled),
        ("two-masters", Scenario::TwoMasters),
    ];
}

/// Plays a round with the shared MongoDB, or one of its own where it is killed.
pub fn play(scenario: Scenario, plan: Plan, program: Option<&Path>) -> Verdict {
    let own = (scenario == Scenario::BothKilled).then(Mongod::replica_set);
    let mongod = own.as_ref().unwrap_or_else(|| Mongod::shared());
    let plan = match scenario {
        // One command: a frozen process does not commit the transaction that a larger batch would be.
        Scenario::Late => Plan { keys: plan.keys % 20 + 5, ..plan },
        _ => plan,
    };
    let (database, uri) = (mongod.database(), mongod.uri());
    let servers = Servers { plan, database, program: program.map(Path::to_owned), uri };
    match scenario {
        Scenario::Unsent => unsent(&servers),
        Scenario::Unanswered => unanswered(&servers, mongod),
        Scenario::Late => late(&servers, mongod),
        Scenario::Returned => returned(&servers, true),
        Scenario::ReturnedRdb => returned(&servers, false),
        Scenario::Cluster => cluster(&servers),
        Scenario::BothKilled => both_killed(&servers, own),
        Scenario::TwoMasters => two_masters(&servers),
    }
}

/// A master and its replica, and dirty keys in both.
fn pair(servers: &Servers, uri: &str, has_aof: bool) -> (Redis, Redis) {
    let old = servers.start(uri, has_aof, |setup| setup);
    let new = servers.start(&servers.uri, true, |setup| setup);
    servers.master(&old);
    new.follow(&old);
    servers.set(&old, "old");
    new.wait_until_in_sync_with(&old);
    (old, new)
}

/// The new master writes the newest values; returns when it has.
fn promote(servers: &Servers, new: &Redis) -> Instant {
    new.promote();
    servers.set(new, "new");
    servers.flush(new);
    Instant::now()
}

fn sleep_until(at: Instant) {
    sleep(at.saturating_duration_since(Instant::now()));
}

/// A frozen master goes on when it has stood still for long enough.
fn thaws(servers: &Servers, old: &Redis, new: &Redis, frozen: Instant) -> Verdict {
    sleep_until(frozen + servers.plan.away);
    old.thaw();
    returns(servers, old, new)
}

/// The old master goes on, and later becomes a replica, as a Sentinel makes it one. Counts what is stale at
/// once: the new master repeats its first writes after 12 s, which would repair it.
fn returns(servers: &Servers, old: &Redis, new: &Redis) -> Verdict {
    servers.comes_back(old);
    let at_once = servers.verdict("new");
    old.follow(new);
    servers.flush(new);
    at_once.worse(servers.verdict("new"))
}

fn unsent(servers: &Servers) -> Verdict {
    let (old, new) = pair(servers, &servers.uri, true);
    old.freeze();
    let frozen = Instant::now();
    promote(servers, &new);
    thaws(servers, &old, &new, frozen)
}

fn unanswered(servers: &Servers, mongod: &Mongod) -> Verdict {
    let proxy = Proxy::to(mongod.port());
    let (old, new) = pair(servers, &proxy.uri(), true);
    proxy.set(Fault::HoldExisting);
    servers.in_flight(&old);
    old.freeze();
    let frozen = Instant::now();
    promote(servers, &new);
    sleep_until(frozen + servers.plan.away);
    proxy.set(Fault::None);
    thaws(servers, &old, &new, frozen)
}

fn late(servers: &Servers, mongod: &Mongod) -> Verdict {
    let proxy = Proxy::to(mongod.port());
    let (old, new) = pair(servers, &proxy.uri(), true);
    proxy.set(Fault::HoldExisting);
    servers.in_flight(&old);
    old.freeze();
    let frozen = Instant::now();
    let written = promote(servers, &new);
    sleep_until(written + servers.plan.late);
    let before = mongod.writes();
    proxy.set(Fault::None);
    // MongoDB may refuse all of it.
    became(Duration::from_secs(1), || mongod.writes() > before + servers.plan.keys as i64);
    let late = servers.verdict("new");
    late.worse(thaws(servers, &old, &new, frozen))
}

fn returned(servers: &Servers, has_aof: bool) -> Verdict {
    let (mut old, new) = pair(servers, &servers.uri, has_aof);
    if !has_aof {
        let saves = || command(&["SAVE"]).query::<String>(&mut old.connection()).is_ok();
        // The child that saves for the replica may still run.
        wait_until("the RDB is saved", SOON, saves);
    }
    old.kill();
    promote(servers, &new);
    sleep(servers.plan.late);
    old.restart();
    returns(servers, &old, &new)
}

fn cluster(servers: &Servers) -> Verdict {
    let mode =
        |setup: Setup| setup.config("cluster-enabled yes").config("cluster-node-timeout 15000");
    let old = servers.start(&servers.uri, true, mode);
    let new = servers.start(&servers.uri, true, mode);
    old.cmd(&["CLUSTER", "ADDSLOTSRANGE", "0", "16383"]);
    new.cmd(&["CLUSTER", "MEET", "127.0.0.1", &old.port().to_string()]);
    let id: String = old.run(&["CLUSTER", "MYID"]);
    let is_ok =
        |redis: &Redis| redis.run::<String>(&["CLUSTER", "INFO"]).contains("cluster_state:ok");
    wait_until("the cluster is up", SOON, || is_ok(&old) && is_ok(&new));
    new.cmd(&["CLUSTER", "REPLICATE", &id]);
    let knows = || old.run::<String>(&["CLUSTER", "NODES"]).contains("slave");
    wait_until("the master knows its replica", SOON, knows);
    servers.master(&old);
    let takes_over = servers.plan.keys.is_multiple_of(2);
    if takes_over {
        // Its keys are due when it goes on: it reads them before it hears of the new master.
        servers.register(&old, DUE_MS);
    }
    servers.set(&old, "old");
    new.wait_until_in_sync_with(&old);
    if takes_over {
        old.freeze();
        new.cmd(&["CLUSTER", "FAILOVER", "TAKEOVER"]);
    } else {
        new.cmd(&["CLUSTER", "FAILOVER"]);
    }
    let since = Instant::now();
    wait_until("it is the master", SOON, || new.status().text("role") == "master" && is_ok(&new));
    servers.set(&new, "new");
    servers.flush(&new);
    if takes_over {
        sleep_until(since + servers.plan.away);
        old.thaw();
    }
    wait_until("the old master is a replica", SOON, || old.status().text("role") == "replica");
    // Until what it has sent is answered.
    wait_until("it has nothing in flight", SOON, || old.status().int("batches_in_flight") == 0);
    servers.verdict("new")
}

fn both_killed(servers: &Servers, own: Option<Mongod>) -> Verdict {
    let mut mongod = own.expect("a MongoDB of its own");
    let (mut old, new) = pair(servers, &servers.uri, true);
    servers.in_flight(&old);
    old.kill();
    mongod.kill();
    new.promote();
    servers.set(&new, "new");
    sleep(servers.plan.late);
    mongod.restart();
    servers.flush(&new);
    old.restart();
    returns(servers, &old, &new)
}

fn two_masters(servers: &Servers) -> Verdict {
    let (first, second) = pair(servers, &servers.uri, true);
    let third = servers.start(&servers.uri, true, |setup| setup);
    third.follow(&second);
    first.freeze();
    let frozen = Instant::now();
    second.promote();
    servers.set(&second, "second");
    third.wait_until_in_sync_with(&second);
    second.freeze();
    promote(servers, &third);
    sleep_until(frozen + servers.plan.away);
    first.thaw();
    second.thaw();
    let one = returns(servers, &first, &third);
    one.worse(returns(servers, &second, &third))
}
