//! The system call filter of Debian's `redis-server.service`, which kills the process at any other
//! system call: the module, the driver, the resolver and TLS must work under it.

use std::os::unix::process::ExitStatusExt;
use std::process::Command;

use crate::mongodb::authentication::{link_error_names, writes_succeed};
use testkit::comparison::Mapping;
use testkit::fixture::World;
use testkit::mongod::certificates::Certificates;
use testkit::mongod::{Mongod, MongodSetup, unreachable_uri};
use testkit::redis_server::seccomp::confine;
use testkit::redis_server::{Redis, Setup};
use testkit::wait::{SOON, wait_until};

/// Writes keys of all built-in types, and deletes one.
fn write_all_types(redis: &Redis) {
    redis.cmd(&["SET", "k:string", "a"]);
    redis.cmd(&["SET", "k:large", &"x".repeat(300_000)]);
    redis.cmd(&["HSET", "k:hash", "a", "1", "b", "2"]);
    redis.cmd(&["RPUSH", "k:list", "a", "b"]);
    redis.cmd(&["SADD", "k:set", "a", "b"]);
    redis.cmd(&["ZADD", "k:zset", "1", "a"]);
    redis.cmd(&["XADD", "k:stream", "1-1", "a", "1"]);
    redis.cmd(&["SET", "k:expiring", "a", "EX", "1000"]);
    redis.cmd(&["EVAL", "for i = 1, 3000 do redis.call('SET', 'k:' .. i, i) end", "0"]);
    redis.cmd(&["DEL", "k:1"]);
}

#[track_caller]
fn ends_well(redis: &mut Redis) {
    let status = redis.shutdown(&["NOSAVE"]);
    assert!(status.success(), "{status}\n{}", redis.log());
}

#[test]
fn the_filter_kills_a_process_for_a_system_call_of_the_group_resources() {
    let run = |arguments: &[&str]| {
        let mut command = Command::new("chrt");
        confine(command.args(arguments));
        command.status().expect("chrt")
    };
    // SCHED_BATCH, which any process may set without the filter.
    assert_eq!(run(&["--batch", "0", "true"]).signal(), Some(libc::SIGSYS));
    assert!(run(&["--help"]).success());
}

#[test]
fn everything_works_under_debians_filter() {
    let mut world = World::with(|setup| setup.durable().hardened());
    let World { redis, database } = &world;
    world.register("k:", "keys", "INTERVAL 0");
    world.register("u:", "users", "KEY name TTLFIELD until SCHEMA * AUTO");
    write_all_types(redis);
    redis.cmd(&["HSET", "u:1", "a", "1"]);
    redis.cmd(&["EXPIRE", "u:1", "1000"]);
    redis.flush();
    Mapping::by_id("k:").holds(redis, &database.collection("keys"));
    assert_eq!(database.collection("users").count(), 1);
    redis.cmd(&["WB.SYNC", "k:"]);
    wait_until("the scan ends", SOON, || redis.status_of("k:").int("sync_pending") == 0);
    redis.flush();
    // A dead letter and its commands.
    redis.cmd(&["WB.REGISTER", "n:", &database.namespace("numbers"), "KEY", "n", "AS", "INT64"]);
    redis.cmd(&["SET", "n:x", "a"]);
    assert_eq!(redis.flush().failed, 1);
    redis.cmd(&["WB.EXPLAIN", "n:x"]);
    redis.cmd(&["WB.DEADLETTER", "DROP"]);
    // The state is saved, also by a forked child, and loaded.
    redis.cmd(&["SAVE"]);
    redis.cmd(&["BGREWRITEAOF"]);
    wait_until("the AOF is rewritten", SOON, || {
        redis.info("persistence", "aof_rewrite_in_progress").as_deref() == Some("0")
    });
    redis.cmd(&["DEBUG", "RELOAD"]);
    let replica = Setup::new(&Mongod::shared().uri()).hardened().start();
    replica.follow(redis);
    redis.cmd(&["SET", "k:last", "a"]);
    redis.flush();
    replica.wait_until_in_sync_with(redis);
    replica.promote();
    replica.cmd(&["SET", "k:promoted", "a"]);
    assert_eq!(replica.flush().pending, 0);
    ends_well(&mut world.redis);
}

#[test]
fn the_module_loads_into_a_running_server_under_debians_filter() {
    let mut redis = Setup::without_module().hardened().start();
    let module = testkit::module_path();
    let uri = Mongod::shared().uri();
    redis.cmd(&["MODULE", "LOAD", module.to_str().expect("path"), "mongodb-uri", &uri]);
    writes_succeed(&redis, &Mongod::shared().database());
    ends_well(&mut redis);
}

#[test]
fn tls_works_under_debians_filter() {
    let certificates = Certificates::new();
    let mongod = MongodSetup::replica_set().tls(&certificates).start();
    let (ca, client) = (certificates.ca(), certificates.client());
    let options = format!("&tls=true&tlsCAFile={ca}&tlsCertificateKeyFile={client}");
    let uri = mongod.uri() + &options;
    let mut redis = Setup::new(&uri).hardened().start();
    writes_succeed(&redis, &mongod.database());
    ends_well(&mut redis);
}

#[test]
fn host_names_are_resolved_under_debians_filter() {
    let port = Mongod::shared().port();
    let uri = format!("mongodb://localhost:{port}/?directConnection=true");
    let mut redis = Setup::new(&uri).hardened().start();
    writes_succeed(&redis, &Mongod::shared().database());
    ends_well(&mut redis);
    // Unknown names, resolved by the system's resolver and by the driver's own.
    let unknown = [
        "mongodb://unknown.invalid/?serverSelectionTimeoutMS=500",
        "mongodb+srv://unknown.invalid/?serverSelectionTimeoutMS=500",
    ];
    for uri in unknown {
        let mut redis = Setup::new(uri).setting("shutdown-drain-ms", "0").hardened().start();
        link_error_names(&redis, &[]);
        ends_well(&mut redis);
    }
}

#[test]
fn the_link_recovers_from_an_outage_and_a_changed_file_under_debians_filter() {
    let mut mongod = Mongod::replica_set();
    let folder = tempfile::tempdir().expect("folder");
    let file = folder.path().join("uri");
    std::fs::write(&file, unreachable_uri()).expect("file");
    let lines = folder.path().join("registrations");
    let database = mongod.database();
    std::fs::write(&lines, format!("WB.REGISTER k: {}\n", database.namespace("keys")))
        .expect("file");
    let mut redis = Setup::default()
        .setting("mongodb-uri-file", file.to_str().expect("path"))
        .setting("registrations-file", lines.to_str().expect("path"))
        .setting("retry-backoff-max-ms", "200")
        .hardened()
        .start();
    redis.cmd(&["SET", "k:1", "a"]);
    wait_until("the link is down", SOON, || redis.status().text("link") == "down");
    std::fs::write(&file, mongod.uri()).expect("file");
    assert_eq!(redis.flush_with(&["TIMEOUT", "20000"]).pending, 0);
    mongod.kill();
    redis.cmd(&["SET", "k:2", "a"]);
    wait_until("the link is down", SOON, || redis.status().text("link") == "down");
    mongod.restart();
    assert_eq!(redis.flush_with(&["TIMEOUT", "20000"]).pending, 0);
    redis.cmd(&["CONFIG", "SET", "writebehind.mongodb-uri-file", ""]);
    ends_well(&mut redis);
}
