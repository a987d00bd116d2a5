//! What the master tells replicas and the AOF is not for clients.

use redis::Value;

use testkit::mongod::nowhere;
use testkit::redis_server::replication::agree;
use testkit::redis_server::{Redis, Setup, command};

/// The module's own words, each as it would be obeyed in the stream.
const INTERNAL: [&[&str]; 8] = [
    &["WB._DEAD", "k:1", "k:", "121", "1", "1700000000000", "clean", "refused"],
    &["WB._ACK", "k:1", "k:2"],
    &["WB._GONE", "evicted", "k:1"],
    &["WB._GONE", "expired", "k:1"],
    &["WB._MARK", "k:", "k:1", "k:clean"],
    &["WB._SCAN", "k:"],
    &["WB._SYNCED", "k:"],
    &["WB._ACK"],
];

/// Three dirty keys, of which one is deleted, and a MongoDB that is away.
fn dirty() -> Redis {
    let redis = Setup::new(&nowhere()).durable().config("repl-diskless-sync-delay 0").start();
    redis.cmd(&["SET", "k:clean", "from before"]);
    redis.cmd(&["WB.REGISTER", "k:", "db.keys"]);
    redis.cmd(&["MSET", "k:1", "a", "k:2", "b", "k:3", "c"]);
    redis.cmd(&["DEL", "k:3"]);
    redis
}

/// Bytes of the AOF, all files of it.
fn aof_bytes(redis: &Redis) -> u64 {
    let files = std::fs::read_dir(redis.dir().join("appendonlydir")).expect("AOF");
    files.map(|file| file.expect("file").metadata().expect("size").len()).sum()
}

#[test]
fn a_client_is_refused_and_changes_nothing() {
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
fn a_transaction_and_a_script_are_refused_too() {
    let redis = dirty();
    let digest = redis.digest();
    for words in INTERNAL {
        redis.cmd(&["MULTI"]);
        // It may be refused here or at EXEC.
        let queued = command(words).query::<Value>(&mut redis.connection());
        let executed = command(&["EXEC"]).query::<Vec<Value>>(&mut redis.connection());
        assert!(queued.is_err() || executed.is_err(), "{words:?}: {executed:?}");
        let arguments: Vec<String> = words.iter().map(|word| format!("'{word}'")).collect();
        redis.error(&["EVAL", &format!("return redis.call({})", arguments.join(",")), "0"]);
        // An error that the script swallows.
        let swallowed = format!("redis.pcall({}) return 1", arguments.join(","));
        redis.cmd(&["EVAL", &swallowed, "0"]);
    }
    assert_eq!(redis.digest(), digest);
    assert_eq!(redis.status().int("dirty_keys"), 3);
}

#[test]
fn a_client_of_a_replica_is_refused_too() {
    let master = dirty();
    for writable in ["no", "yes"] {
        let replica = Redis::start(&nowhere());
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
        agree(&master, &replica);
    }
}

#[test]
fn the_digest_is_of_what_is_dirty_and_of_nothing_else() {
    let redis = dirty();
    let digest = redis.digest();
    assert!(digest.len() >= 8 && digest.chars().all(|c| c.is_ascii_hexdigit()), "{digest}");
    redis.cmd(&["SET", "other", "x"]);
    redis.cmd(&["GET", "k:1"]);
    assert_eq!(redis.digest(), digest);
    redis.cmd(&["SET", "k:4", "x"]);
    assert_ne!(redis.digest(), digest);
}
