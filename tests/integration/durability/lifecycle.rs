//! Start and end of the server: other modules, SHUTDOWN, MODULE UNLOAD, replicas.

use std::time::{Duration, Instant};

use testkit::comparison::Mapping;
use testkit::fixture::World;
use testkit::mongod::{Mongod, unreachable_uri};
use testkit::redis_server::{Redis, Setup};
use testkit::wait::{SOON, wait_until};

#[test]
fn shutdown_writes_the_backlog_first() {
    let mut world = World::new();
    world.register("k:", "keys", "INTERVAL 60000");
    world.redis.cmd(&["EVAL", "for i = 1, 5000 do redis.call('SET', 'k:' .. i, i) end", "0"]);
    let keys = world.database.collection("keys");
    assert_eq!(keys.count(), 0);
    let status = world.redis.shutdown(&["NOSAVE"]);
    assert!(status.success(), "{status}\n{}", world.redis.log());
    assert_eq!(keys.count(), 5000);
    assert_eq!(keys.text("5000", "value"), "5000");
}

#[test]
fn shutdown_waits_for_an_unresponsive_mongodb_no_longer_than_shutdown_drain_ms() {
    let mongod = Mongod::standalone();
    let mut redis = Setup::new(&mongod.uri()).setting("shutdown-drain-ms", "500").start();
    redis.cmd(&["WB.REGISTER", "k:", "db.keys"]);
    redis.cmd(&["SET", "k:1", "x"]);
    redis.flush();
    // The link is still up: it goes down only after MongoDB has not replied for a while.
    mongod.freeze();
    redis.cmd(&["SET", "k:1", "y"]);
    let start = Instant::now();
    let status = redis.shutdown(&["NOSAVE"]);
    assert!(status.success(), "{status}\n{}", redis.log());
    let took = start.elapsed();
    assert!((Duration::from_millis(400)..Duration::from_secs(4)).contains(&took), "{took:?}");
}

#[test]
fn shutdown_does_not_wait_while_the_link_is_down() {
    let mut redis = Setup::new(&unreachable_uri()).setting("shutdown-drain-ms", "20000").start();
    redis.cmd(&["WB.REGISTER", "k:", "db.keys"]);
    redis.cmd(&["SET", "k:1", "x"]);
    wait_until("the link is down", SOON, || redis.status().text("link") == "down");
    let start = Instant::now();
    let status = redis.shutdown(&["SAVE"]);
    assert!(status.success(), "{status}\n{}", redis.log());
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
    assert!(redis.log().contains("1 keys were not written to MongoDB, which is not reached"));
    redis.restart();
    assert_eq!(redis.status().int("dirty_keys"), 1);
}

#[test]
fn shutdown_with_nothing_to_write_is_quick() {
    let mut redis = Redis::start(&unreachable_uri());
    let start = Instant::now();
    assert!(redis.shutdown(&["NOSAVE"]).success());
    assert!(start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());
}

#[test]
fn module_unload_is_refused_and_changes_nothing() {
    let world = World::new();
    world.register("k:", "keys", "");
    world.redis.cmd(&["SET", "k:1", "x"]);
    let error = world.redis.error(&["MODULE", "UNLOAD", "writebehind"]);
    assert!(error.contains("module"), "{error}");
    world.redis.cmd(&["SET", "k:2", "x"]);
    Mapping::by_id("k:").holds(&world.redis, &world.database.collection("keys"));
}

#[test]
fn the_module_loads_into_a_running_server() {
    let redis = Setup::without_module().start();
    redis.cmd(&["SET", "k:1", "from before"]);
    let module = testkit::module_path();
    let uri = Mongod::shared().uri();
    redis.cmd(&["MODULE", "LOAD", module.to_str().expect("path"), "mongodb-uri", &uri]);
    let database = Mongod::shared().database();
    redis.cmd(&["WB.REGISTER", "k:", &database.namespace("keys"), "SYNC"]);
    let keys = database.collection("keys");
    wait_until("the key from before is written", SOON, || keys.count() == 1);
}

#[test]
fn json_works_whichever_module_is_loaded_first() {
    for setup in [Setup::json, Setup::json_after] {
        let world = World::with(setup);
        world.register("film:", "films", "TYPE JSON KEY movieId");
        world.redis.cmd(&["JSON.SET", "film:1", "$", r#"{"title":"It's here","cast":["a"]}"#]);
        let films = world.database.collection("films");
        Mapping::by_field("film:", "movieId").holds(&world.redis, &films);
        assert_eq!(films.count(), 1);
    }
}

#[test]
fn json_may_be_registered_before_its_module_is_loaded() {
    let world = World::new();
    world.register("film:", "films", "TYPE JSON");
    let rejson = testkit::fetched("rejson.so");
    world.redis.cmd(&["MODULE", "LOAD", rejson.to_str().expect("path")]);
    world.redis.cmd(&["JSON.SET", "film:1", "$", r#"{"title":"late"}"#]);
    Mapping::by_id("film:").holds(&world.redis, &world.database.collection("films"));
    assert_eq!(world.database.collection("films").count(), 1);
}

/// The scheduling policy of each thread of the server, by its name (field 41 of /proc/pid/stat).
fn policies(redis: &Redis) -> Vec<(String, libc::c_int)> {
    let tasks = std::fs::read_dir(format!("/proc/{}/task", redis.pid())).expect("tasks");
    let stat = |task: std::io::Result<std::fs::DirEntry>| {
        // A thread may end meanwhile.
        let stat = std::fs::read_to_string(task.expect("a task").path().join("stat")).ok()?;
        let (name, rest) = stat.split_once('(')?.1.rsplit_once(')')?;
        let policy = rest.split_whitespace().nth(41 - 3)?.parse().expect("a policy");
        Some((name.to_owned(), policy))
    };
    tasks.filter_map(stat).collect()
}

#[test]
fn the_worker_threads_are_scheduled_as_batch_and_the_servers_are_not() {
    let world = World::new();
    world.register("k:", "keys", "");
    world.redis.cmd(&["SET", "k:1", "a"]);
    world.redis.flush();
    let policies = policies(&world.redis);
    let is_worker = |name: &str| name.starts_with("wb-") || name.starts_with("tokio");
    let (ours, servers): (Vec<_>, Vec<_>) =
        policies.into_iter().partition(|(name, _)| is_worker(name));
    assert!(ours.iter().any(|(name, _)| name == "wb-worker"), "{ours:?}");
    assert!(ours.iter().all(|(_, policy)| *policy == libc::SCHED_BATCH), "{ours:?}");
    assert!(servers.iter().all(|(_, policy)| *policy == libc::SCHED_OTHER), "{servers:?}");
}

/// A replica of the world's server, in sync with it.
fn replica_of(world: &World) -> Redis {
    let replica = Redis::start(&Mongod::shared().uri());
    replica.cmd(&["REPLICAOF", "127.0.0.1", &world.redis.port().to_string()]);
    wait_until("the replica is in sync", SOON, || {
        replica.run::<String>(&["INFO", "replication"]).contains("master_link_status:up")
    });
    replica
}

#[test]
fn a_replica_refuses_registrations() {
    let world = World::new();
    let replica = replica_of(&world);
    let namespace = world.database.namespace("keys");
    let error = replica.error(&["WB.REGISTER", "k:", &namespace]);
    assert!(error.to_lowercase().contains("replica"), "{error}");
    assert_eq!(replica.status().text("role"), "replica");
    assert_eq!(replica.status().int("registrations"), 0);
    replica.error(&["WB.UNREGISTER", "k:"]);
}

#[test]
fn a_replica_writes_nothing_to_mongodb() {
    let world = World::new();
    let replica = replica_of(&world);
    world.register("k:", "keys", "");
    world.redis.cmd(&["SET", "k:1", "x"]);
    Mapping::by_id("k:").holds(&world.redis, &world.database.collection("keys"));
    wait_until("the replica has the key", SOON, || replica.run::<i64>(&["EXISTS", "k:1"]) == 1);
    assert_eq!(replica.status().int("written_total"), 0);
    assert_eq!(replica.status().int("batches_total"), 0);
}
