//! Under the system call filter of Debian's `redis-server.service`, in which a call that the filter
//! does not know ends the process: whatever the module, the driver, the resolver and TLS do there.

use std::os::unix::process::ExitStatusExt;
use std::process::Command;

use crate::mongodb::authentication::{is_told, writes_arrive};
use testkit::comparison::Mapping;
use testkit::fixture::World;
use testkit::mongod::certificates::Certificates;
use testkit::mongod::{Mongod, MongodSetup, nowhere};
use testkit::redis_server::seccomp::confine;
use testkit::redis_server::{Redis, Setup};
use testkit::wait::{SOON, wait_until};

/// The commands `write` and `delete` of every type that the server has by itself.
fn write_all_types(redis: &Redis) {
    redis.cmd(&["SET", "k:string", "a"]);
    redis.cmd(&["SET", "k:large", &"x".repeat(300_000)]);
    redis.cmd(&["HSET", "k:hash", "a", "1", "b", "2"]);
    redis.cmd(&["RPUSH", "k:list", "a", "b"]);
    redis.cmd(&["SADD", "k:set", "a", "b"]);
    redis.cmd(&["ZADD", "k:zset", "1", "a"]);
    redis.cmd(&["XADD", "k:stream", "1-1", "a", "1"]);
    redis.cmd(&["SET", "k:mortal", "a", "EX", "1000"]);
    redis.cmd(&["EVAL", "for i = 1, 3000 do redis.call('SET', 'k:' .. i, i) end", "0"]);
    redis.cmd(&["DEL", "k:1"]);
}

#[track_caller]
fn ends_well(redis: &mut Redis) {
    let status = redis.shutdown(&["NOSAVE"]);
    assert!(status.success(), "{status}\n{}", redis.log());
}

#[test]
fn the_filter_kills_for_a_call_of_the_group_resources() {
    let run = |arguments: &[&str]| {
        let mut command = Command::new("chrt");
        confine(command.args(arguments));
        command.status().expect("chrt")
    };
    // SCHED_BATCH, which any process may take otherwise.
    assert_eq!(run(&["--batch", "0", "true"]).signal(), Some(libc::SIGSYS));
    assert!(run(&["--help"]).success());
}

#[test]
fn the_whole_way_works_under_debians_filter() {
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
    // A dead letter, and what follows from it.
    redis.cmd(&["WB.REGISTER", "n:", &database.namespace("numbers"), "KEY", "n", "AS", "INT64"]);
    redis.cmd(&["SET", "n:x", "a"]);
    assert_eq!(redis.flush().failed, 1);
    redis.cmd(&["WB.EXPLAIN", "n:x"]);
    redis.cmd(&["WB.DEADLETTER", "DROP"]);
    // The state in a forked child, and what loads it.
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
    replica.wait_until_in_step_with(redis);
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
    writes_arrive(&redis, &Mongod::shared().database());
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
    writes_arrive(&redis, &mongod.database());
    ends_well(&mut redis);
}

#[test]
fn names_are_looked_up_under_debians_filter() {
    let port = Mongod::shared().port();
    let uri = format!("mongodb://localhost:{port}/?directConnection=true");
    let mut redis = Setup::new(&uri).hardened().start();
    writes_arrive(&redis, &Mongod::shared().database());
    ends_well(&mut redis);
    // Names that no name server knows, by the system's look-up and by the driver's own.
    let unknown = [
        "mongodb://unknown.invalid/?serverSelectionTimeoutMS=500",
        "mongodb+srv://unknown.invalid/?serverSelectionTimeoutMS=500",
    ];
    for uri in unknown {
        let mut redis = Setup::new(uri).setting("shutdown-drain-ms", "0").hardened().start();
        is_told(&redis, &[]);
        ends_well(&mut redis);
    }
}

#[test]
fn a_broken_link_and_a_rotated_file_are_survived_under_debians_filter() {
    let mut mongod = Mongod::replica_set();
    let folder = tempfile::tempdir().expect("folder");
    let file = folder.path().join("uri");
    std::fs::write(&file, nowhere()).expect("file");
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
    mongod.start_again();
    assert_eq!(redis.flush_with(&["TIMEOUT", "20000"]).pending, 0);
    redis.cmd(&["CONFIG", "SET", "writebehind.mongodb-uri-file", ""]);
    ends_well(&mut redis);
}
