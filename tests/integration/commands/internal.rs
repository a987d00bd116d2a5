//! Clients may not send the commands that the master sends to its replicas and the AOF.

use redis::Value;

use testkit::mongod::unreachable_uri;
use testkit::redis_server::replication::assert_same_dirty_set;
use testkit::redis_server::{Redis, Setup, command};

/// The module's internal commands, each valid in the replication stream.
const INTERNAL: [&[&str]; 10] = [
    &["WB._DEAD", "k:1", "k:", "121", "1", "1700000000000", "clean", "refused"],
    &["WB._ACK", "k:1", "k:2"],
    &["WB._GONE", "evicted", "k:1"],
    &["WB._GONE", "expired", "k:1"],
    &["WB._MARK", "k:", "k:1", "k:clean"],
    &["WB._SCAN", "k:"],
    &["WB._LOADED", "2", "-1", "k:loaded", "x"],
    &["WB._LOADING", "k:", "1", ""],
    &["WB._SYNCED", "k:"],
    &["WB._ACK"],
];

/// A server without MongoDB, with three dirty keys, of which one is deleted.
fn dirty() -> Redis {
    let redis =
        Setup::new(&unreachable_uri()).durable().config("repl-diskless-sync-delay 0").start();
    redis.cmd(&["SET", "k:clean", "from before"]);
    redis.cmd(&["WB.REGISTER", "k:", "db.keys"]);
    redis.cmd(&["MSET", "k:1", "a", "k:2", "b", "k:3", "c"]);
    redis.cmd(&["DEL", "k:3"]);
    redis
}

/// The size of all AOF files in bytes.
fn aof_bytes(redis: &Redis) -> u64 {
    let files = std::fs::read_dir(redis.dir().join("appendonlydir")).expect("AOF");
    files.map(|file| file.expect("file").metadata().expect("size").len()).sum()
}

#[test]
fn internal_commands_of_a_client_are_refused_and_change_nothing() {
    let redis = dirty();
    let (digest, aof) = (redis.digest(), aof_bytes(&redis));
    for words in INTERNAL {
        redis.error(words);
    }
    assert_eq!(redis.digest(), digest);
    assert_eq!(redis.status().int("dirty_keys"), 3);
    assert_eq!(aof_bytes(&redis), aof);
}

#[test]
fn internal_commands_in_transactions_and_scripts_are_refused() {
    let redis = dirty();
    let digest = redis.digest();
    for words in INTERNAL {
        redis.cmd(&["MULTI"]);
        // The error may come here or at EXEC.
        let queued = command(words).query::<Value>(&mut redis.connection());
        let executed = command(&["EXEC"]).query::<Vec<Value>>(&mut redis.connection());
        assert!(queued.is_err() || executed.is_err(), "{words:?}: {executed:?}");
        let arguments: Vec<String> = words.iter().map(|word| format!("'{word}'")).collect();
        redis.error(&["EVAL", &format!("return redis.call({})", arguments.join(",")), "0"]);
        // The script ignores the error.
        let ignoring = format!("redis.pcall({}) return 1", arguments.join(","));
        redis.cmd(&["EVAL", &ignoring, "0"]);
    }
    assert_eq!(redis.digest(), digest);
    assert_eq!(redis.status().int("dirty_keys"), 3);
}

#[test]
fn internal_commands_of_a_client_of_a_replica_are_refused() {
    let master = dirty();
    for writable in ["no", "yes"] {
        let replica = Redis::start(&unreachable_uri());
        replica.cmd(&[
            "CONFIG",
            "SET",
            "replica-read-only",
            if writable == "yes" { "no" } else { "yes" },
        ]);
        replica.follow(&master);
        for words in INTERNAL {
            replica.error(words);
        }
        assert_same_dirty_set(&master, &replica);
    }
}

#[test]
fn the_digest_depends_on_the_dirty_set_only() {
    let redis = dirty();
    let digest = redis.digest();
    assert!(digest.len() >= 8 && digest.chars().all(|c| c.is_ascii_hexdigit()), "{digest}");
    redis.cmd(&["SET", "other", "x"]);
    redis.cmd(&["GET", "k:1"]);
    assert_eq!(redis.digest(), digest);
    redis.cmd(&["SET", "k:4", "x"]);
    assert_ne!(redis.digest(), digest);
}
