//! Dead letters survive restarts and are replicated, with values that are no longer in Redis.

use mongodb::bson::doc;
use redis::Value;

use super::{keys, list, make_writable, refused, retry};
use testkit::fixture::World;
use testkit::mongod::Mongod;
use testkit::redis_server::replication::assert_same_dirty_set;
use testkit::redis_server::reply::Fields;
use testkit::redis_server::{Redis, Setup, command};
use testkit::wait::{SOON, wait_until};

/// Without the delay before a full synchronization.
fn quick(setup: Setup) -> Setup {
    setup.config("repl-diskless-sync-delay 0")
}

/// Asserts that both have the same dead letters and dirty keys.
#[track_caller]
fn same(master: &Redis, replica: &Redis) {
    replica.wait_until_in_sync_with(master);
    assert_eq!(list(master, &[]), list(replica, &[]));
    assert_same_dirty_set(master, replica);
}

/// A world in which `n:word` expired while it was dirty, and then became a dead letter.
fn expired(change: impl FnOnce(Setup) -> Setup) -> World {
    let world = World::with(change);
    world.register("n:", "numbers", "KEY number AS INT64");
    world.redis.cmd(&["WB.PAUSE"]);
    world.redis.cmd(&["SET", "n:word", "last", "PX", "20"]);
    wait_until("it expires", SOON, || world.redis.run::<i64>(&["DBSIZE"]) == 0);
    world.redis.cmd(&["WB.RESUME"]);
    assert_eq!(world.redis.flush().failed, 1);
    world
}

#[test]
fn a_value_that_expired_before_it_was_refused_can_be_retried() {
    let world = expired(|setup| setup);
    assert_eq!(retry(&world.redis, &[]), 1);
    assert_eq!(world.redis.flush().failed, 1, "rejected again, and still a dead letter");
    assert_eq!(list(&world.redis, &[])[0].int("attempts"), 2);
    make_writable(&world);
    assert_eq!(retry(&world.redis, &["n:"]), 1);
    assert_eq!(world.redis.flush().failed, 0);
    world.holds("numbers", "word", "last");
}

#[test]
fn a_value_that_is_removed_after_it_was_refused_can_be_retried() {
    let commands: [&[&str]; 3] =
        [&["FLUSHALL"], &["PEXPIRE", "n:word", "30"], &["SWAPDB", "0", "1"]];
    for words in commands {
        let world = World::new();
        refused(&world, &["SET", "n:word", "last"]);
        world.redis.cmd(words);
        world.redis.flush();
        wait_until("the key is removed", SOON, || world.redis.run::<i64>(&["DBSIZE"]) == 0);
        make_writable(&world);
        assert_eq!(retry(&world.redis, &[]), 1, "{words:?}");
        assert_eq!(world.redis.flush().failed, 0, "{words:?}");
        world.holds("numbers", "word", "last");
    }
    let world = World::new();
    refused(&world, &["SET", "n:word", "last", "PX", "1200"]);
    wait_until("it expires", SOON, || world.redis.run::<i64>(&["DBSIZE"]) == 0);
    make_writable(&world);
    assert_eq!(retry(&world.redis, &[]), 1);
    world.redis.flush();
    world.holds("numbers", "word", "last");
}

#[test]
fn dead_letters_and_their_values_survive_a_restart() {
    for kept in ["RDB", "AOF", "rewritten AOF"] {
        let durable = |setup: Setup| if kept == "RDB" { setup } else { setup.durable() };
        let mut world = expired(durable);
        world.register("m:", "more", "KEY number AS INT64");
        world.redis.cmd(&["SET", "m:word", "still here"]);
        world.redis.cmd(&["SET", "m:gone", "x"]);
        world.redis.cmd(&["DEL", "m:gone"]);
        assert_eq!(world.redis.flush().failed, 3);
        match kept {
            "RDB" => drop(world.redis.cmd(&["SAVE"])),
            "AOF" => {}
            _ => {
                world.redis.cmd(&["BGREWRITEAOF"]);
                let state = |field| world.redis.info("persistence", field);
                wait_until("the AOF is rewritten", SOON, || {
                    state("aof_rewrite_in_progress").as_deref() == Some("0")
                        && state("aof_rewrite_scheduled").as_deref() == Some("0")
                });
            }
        }
        let before = list(&world.redis, &[]);
        world.redis.kill();
        world.redis.restart();
        world.redis.flush();
        assert_eq!(list(&world.redis, &[]), before, "{kept}");
        world.database.collection("more").insert(doc! { "_id": "gone" });
        make_writable(&world);
        world.register("m:", "more", "");
        assert_eq!(retry(&world.redis, &[]), 3, "{kept}");
        assert_eq!(world.redis.flush().failed, 0, "{kept}");
        world.holds("numbers", "word", "last");
        world.holds("more", "word", "still here");
        assert_eq!(world.database.collection("more").count(), 1, "{kept}");
        // The AOF also contains the changes of state by the retries.
        if kept != "RDB" {
            world.redis.kill();
            world.redis.restart();
            assert_eq!(world.redis.status().int("dirty_keys"), 0, "{kept}");
            assert!(list(&world.redis, &[]).is_empty(), "{kept}");
        }
    }
}

#[test]
fn a_replica_has_the_same_dead_letters_and_retries_them_after_its_promotion() {
    let mut world = World::with(quick);
    // One is in the RDB of the full synchronization, the others in the stream.
    world.register("n:", "numbers", "KEY number AS INT64");
    world.redis.cmd(&["SET", "n:early", "early"]);
    world.redis.flush();
    let replica = quick(Setup::new(&Mongod::shared().uri())).start();
    replica.follow(&world.redis);
    world.redis.cmd(&["WB.PAUSE"]);
    world.redis.cmd(&["SET", "n:captured", "last", "PX", "20"]);
    world.redis.cmd(&["SET", "n:word", "x"]);
    world.redis.cmd(&["SET", "n:gone", "x"]);
    world.redis.cmd(&["SET", "n:dropped", "x"]);
    world.redis.cmd(&["DEL", "n:gone"]);
    wait_until("one expires", SOON, || world.redis.run::<i64>(&["DBSIZE"]) == 3);
    world.redis.cmd(&["WB.RESUME"]);
    assert_eq!(world.redis.flush().failed, 5);
    same(&world.redis, &replica);
    assert_eq!(list(&replica, &[]).len(), 5);
    world.redis.cmd(&["WB.DEADLETTER", "DROP", "KEY", "n:dropped"]);
    world.redis.cmd(&["WB.PAUSE", "n:"]);
    assert_eq!(retry(&world.redis, &["n:"]), 4);
    same(&world.redis, &replica);
    assert_eq!(replica.status().int("dirty_keys"), 4);
    world.redis.cmd(&["WB.RESUME"]);
    assert_eq!(world.redis.flush().failed, 4);
    same(&world.redis, &replica);
    assert_eq!(list(&replica, &["n:", "COUNT", "1"])[0].int("attempts"), 2);

    world.database.collection("numbers").insert(doc! { "_id": "gone" });
    world.redis.kill();
    replica.promote();
    replica.cmd(&["WB.REGISTER", "n:", &world.database.namespace("numbers")]);
    assert_eq!(retry(&replica, &[]), 4);
    assert_eq!(replica.flush().failed, 0);
    for (id, value) in [("early", "early"), ("captured", "last"), ("word", "x")] {
        world.holds("numbers", id, value);
    }
    assert_eq!(world.database.collection("numbers").count(), 3);
}

#[test]
fn a_key_that_changes_while_its_write_is_refused_or_accepted_is_the_same_on_the_replica() {
    let mongod = Mongod::pooled();
    let database = mongod.database();
    database.run(doc! { "create": "valid", "validator": { "name": { "$exists": true } } });
    let master = quick(Setup::new(&mongod.uri())).start();
    let replica = quick(Setup::new(&mongod.uri())).start();
    replica.follow(&master);
    master.cmd(&["WB.REGISTER", "v:", &database.namespace("valid")]);
    master.cmd(&["HSET", "v:cured", "other", "x"]);
    assert_eq!(master.flush().failed, 1);
    mongod.freeze();
    master.cmd(&["HSET", "v:cured", "name", "Ann"]);
    master.cmd(&["HSET", "v:refused", "other", "x"]);
    wait_until("both are in flight", SOON, || master.status().int("in_flight_keys") == 2);
    master.cmd(&["HSET", "v:cured", "name", "Bob"]);
    master.cmd(&["HSET", "v:refused", "name", "Bob"]);
    master.cmd(&["WB.PAUSE"]);
    mongod.thaw();
    wait_until("both have ended", SOON, || master.status().int("in_flight_keys") == 0);
    assert_eq!(keys(&master, &[]), ["v:refused"]);
    same(&master, &replica);
    assert_eq!(replica.status().int("dirty_keys"), 2);
    master.cmd(&["WB.RESUME"]);
    assert_eq!(master.flush().failed, 0);
    same(&master, &replica);
    assert_eq!(replica.status().int("dirty_keys"), 0);
    assert_eq!(database.collection("valid").text("refused", "name"), "Bob");
}

#[test]
fn dead_letters_of_an_unregistered_prefix_stay_until_they_are_retried_or_dropped() {
    let world = World::with(quick);
    let replica = quick(Setup::new(&Mongod::shared().uri())).start();
    replica.follow(&world.redis);
    refused(&world, &["SET", "n:word", "x"]);
    world.redis.cmd(&["WB.UNREGISTER", "n:"]);
    assert_eq!(keys(&world.redis, &["n:"]), ["n:word"]);
    assert_eq!(retry(&world.redis, &["n:"]), 1);
    assert_eq!(world.redis.flush().failed, 1, "it is rejected again");
    make_writable(&world);
    assert_eq!(keys(&world.redis, &["n:"]), ["n:word"]);
    assert_eq!(retry(&world.redis, &["n:"]), 1);
    assert_eq!(world.redis.flush().failed, 0);
    world.holds("numbers", "word", "x");

    refused(&world, &["SET", "n:word", "y"]);
    assert_eq!(world.redis.run::<i64>(&["WB.UNREGISTER", "n:", "DISCARD"]), 0);
    assert!(list(&world.redis, &[]).is_empty());
    refused(&world, &["SET", "n:word", "z"]);
    world.redis.cmd(&["WB.UNREGISTER", "n:"]);
    same(&world.redis, &replica);
    assert_eq!(world.redis.run::<i64>(&["WB.DEADLETTER", "DROP"]), 1);
    same(&world.redis, &replica);
    for redis in [&world.redis, &replica] {
        let error = redis.error(&["WB.DEADLETTER", "LIST", "n:"]);
        assert!(error.contains("no registration"), "{error}");
    }
}

#[test]
fn a_replica_lists_dead_letters_and_refuses_writes() {
    let world = World::with(quick);
    refused(&world, &["SET", "n:word", "x"]);
    let replica = quick(Setup::new(&Mongod::shared().uri())).start();
    replica.follow(&world.redis);
    for read_only in ["yes", "no"] {
        replica.cmd(&["CONFIG", "SET", "replica-read-only", read_only]);
        assert_eq!(keys(&replica, &[]), ["n:word"]);
        let commands: [&[&str]; 6] = [
            &["WB.DEADLETTER", "RETRY"],
            &["WB.DEADLETTER", "DROP", "n:"],
            &["WB.PAUSE"],
            &["WB.RESUME", "n:"],
            &["WB.UNREGISTER", "n:"],
            &["WB.REGISTER", "n:", "db.keys"],
        ];
        for words in commands {
            let error = command(words).query::<Value>(&mut replica.connection());
            let error = error.expect_err("refused").to_string();
            assert!(error.to_uppercase().contains("READONLY"), "{words:?}: {error}");
        }
    }
    same(&world.redis, &replica);
}

#[test]
fn transactions_and_scripts_may_retry_and_read_only_ones_may_list() {
    let world = World::with(quick);
    let replica = quick(Setup::new(&Mongod::shared().uri())).start();
    replica.follow(&world.redis);
    refused(&world, &["SET", "n:word", "x"]);
    let (list, attempts): (Vec<Fields>, i64) = redis::pipe()
        .atomic()
        .cmd("WB.DEADLETTER")
        .arg("LIST")
        .cmd("WB.DEADLETTER")
        .arg("RETRY")
        .query(&mut world.redis.connection())
        .expect("EXEC");
    assert_eq!((list.len(), attempts), (1, 1));
    assert_eq!(world.redis.flush().failed, 1);
    same(&world.redis, &replica);
    let script = "return redis.call('WB.DEADLETTER', 'RETRY', 'KEY', KEYS[1])";
    assert_eq!(world.redis.run::<i64>(&["EVAL", script, "1", "n:word"]), 1);
    assert_eq!(world.redis.flush().failed, 1);
    same(&world.redis, &replica);
    assert_eq!(super::list(&replica, &[])[0].int("attempts"), 3);
    let script = "return #redis.call('WB.DEADLETTER', 'LIST')";
    for redis in [&world.redis, &replica] {
        assert_eq!(redis.run::<i64>(&["EVAL_RO", script, "0"]), 1);
    }
    world.redis.error(&["EVAL_RO", "return redis.call('WB.DEADLETTER', 'RETRY')", "0"]);
}
