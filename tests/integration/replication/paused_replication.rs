//! States in which an acknowledgement must not be replicated or a key must not be accessed: the
//! server keeps running, and nothing is lost.

use std::time::Duration;

use testkit::comparison::Mapping;
use testkit::fixture::World;
use testkit::mongod::{Mongod, unreachable_uri};
use testkit::redis_server::replication::assert_same_dirty_set;
use testkit::redis_server::{Redis, Setup, command};
use testkit::wait::{SOON, became, wait_until};

/// A master with an AOF, a replica and MongoDB: acknowledgements go to the AOF and to the replica.
fn replicated(options: &str) -> (World, Redis) {
    let world = World::with(|setup| setup.durable().config("repl-diskless-sync-delay 0"));
    world.register("k:", "keys", options);
    let replica = Setup::new(&unreachable_uri()).config("repl-diskless-sync-delay 0").start();
    replica.follow(&world.redis);
    (world, replica)
}

/// Asserts that all is written, and that no key is dirty on the master, the replica and after a
/// restart.
#[track_caller]
fn is_settled(world: &mut World, replica: &Redis) {
    Mapping::by_id("k:").holds(&world.redis, &world.database.collection("keys"));
    assert_eq!(world.redis.status().int("dirty_keys"), 0);
    replica.wait_until_in_sync_with(&world.redis);
    assert_same_dirty_set(&world.redis, replica);
    let before = world.redis.digest();
    world.redis.kill();
    world.redis.restart();
    assert_eq!(world.redis.digest(), before);
    assert_eq!(world.redis.status().int("dirty_keys"), 0);
}

#[test]
fn an_acknowledgement_on_an_idle_server_is_replicated() {
    // Crash list C1: nothing else wakes the event loop.
    let (mut world, replica) = replicated("INTERVAL 0");
    for i in 0..20 {
        world.redis.cmd(&["SET", "k:1", &i.to_string()]);
        wait_until("it is acknowledged", SOON, || world.redis.status().int("dirty_keys") == 0);
    }
    is_settled(&mut world, &replica);
}

#[test]
fn a_key_that_expired_before_it_is_read_is_written() {
    // Crash list C2: reading it deletes it, and the DEL is replicated.
    let (mut world, replica) = replicated("INTERVAL 100");
    world.redis.cmd(&["DEBUG", "SET-ACTIVE-EXPIRE", "0"]);
    for i in 0..200 {
        world.redis.cmd(&["SET", &format!("k:{i}"), "last", "PX", "30"]);
    }
    world.redis.cmd(&["SET", "k:stays", "x"]);
    let keys = world.database.collection("keys");
    wait_until("all are written", SOON, || keys.count() == 201);
    assert_eq!(keys.text("7", "value"), "last");
    for i in 0..200 {
        assert_eq!(world.redis.run::<i64>(&["EXISTS", &format!("k:{i}")]), 0);
    }
    assert_eq!(world.redis.flush().failed, 0);
    assert_eq!(keys.count(), 201);
    wait_until("nothing is dirty", SOON, || world.redis.status().int("dirty_keys") == 0);
    replica.wait_until_in_sync_with(&world.redis);
    assert_same_dirty_set(&world.redis, &replica);
    world.redis.restart();
    assert_eq!(world.redis.status().int("dirty_keys"), 0);
}

#[test]
fn acknowledgements_are_deferred_while_writes_are_paused() {
    // Crash list C3.
    let (mut world, replica) = replicated("INTERVAL 500");
    let mut together = redis::cmd("MSET");
    for i in 0..500 {
        together.arg(format!("k:{i}")).arg("x");
    }
    together.query::<()>(&mut world.redis.connection()).expect("MSET");
    world.redis.cmd(&["CLIENT", "PAUSE", "60000", "WRITE"]);
    let keys = world.database.collection("keys");
    wait_until("MongoDB has all", SOON, || keys.count() == 500);
    world.redis.cmd(&["CLIENT", "UNPAUSE"]);
    world.redis.cmd(&["SET", "k:after", "x"]);
    wait_until("acknowledged", SOON, || world.redis.status().int("dirty_keys") == 0);
    is_settled(&mut world, &replica);
}

#[test]
fn acknowledgements_are_deferred_while_all_clients_are_paused() {
    let (mut world, replica) = replicated("INTERVAL 50");
    for turn in 0..5 {
        for i in 0..500 {
            world.redis.cmd(&["SET", &format!("k:{i}"), &turn.to_string()]);
        }
        world.redis.cmd(&["CLIENT", "PAUSE", "200", "ALL"]);
        // This command waits for the end of the pause, as those of all clients do.
        world.redis.cmd(&["SET", "k:after", "x"]);
    }
    wait_until("acknowledged", SOON, || world.redis.status().int("dirty_keys") == 0);
    is_settled(&mut world, &replica);
}

#[test]
fn a_failover_with_deferred_acknowledgements_loses_nothing() {
    let (world, replica) = replicated("INTERVAL 20");
    replica.cmd(&["CONFIG", "SET", "writebehind.mongodb-uri", &Mongod::shared().uri()]);
    let port = replica.port().to_string();
    for turn in 0..6 {
        let (from, to) =
            if turn % 2 == 0 { (&world.redis, &replica) } else { (&replica, &world.redis) };
        for i in 0..500 {
            from.cmd(&["SET", &format!("k:{i}"), &format!("{turn}")]);
        }
        let port = if turn % 2 == 0 { port.clone() } else { world.redis.port().to_string() };
        from.cmd(&["FAILOVER", "TO", "127.0.0.1", &port, "TIMEOUT", "10000"]);
        wait_until("the failover ends", SOON, || {
            to.status().text("role") == "master" && from.status().text("role") == "replica"
        });
        for i in 0..100 {
            to.cmd(&["SET", &format!("k:{i}"), "after"]);
        }
        Mapping::by_id("k:").holds(to, &world.database.collection("keys"));
        wait_until("the new replica's link is up", SOON, || from.is_linked());
        from.wait_until_in_sync_with(to);
        assert_same_dirty_set(to, from);
    }
}

#[test]
fn acknowledgements_are_deferred_until_a_busy_script_ends() {
    // Crash list C11: after busy-reply-threshold, the server processes events during a script.
    let (mut world, replica) = replicated("INTERVAL 0");
    world.redis.cmd(&["CONFIG", "SET", "busy-reply-threshold", "20"]);
    let keys = world.database.collection("keys");
    for turn in 0..3 {
        // These keys are read, sent and acknowledged while the script runs.
        let mut pipeline = redis::pipe();
        for i in 0..2000 {
            pipeline.cmd("SET").arg(format!("k:{i}")).arg(turn).ignore();
        }
        pipeline.query::<()>(&mut world.redis.connection()).expect("SET");
        let mut runner = world.redis.connect();
        let script = std::thread::spawn(move || {
            command(&["EVAL", "while true do end", "0"]).query::<redis::Value>(&mut runner)
        });
        let mut other = world.redis.connect();
        let busy = became(SOON, || {
            let reply = command(&["PING"]).query::<String>(&mut other);
            reply.is_err_and(|error| error.code() == Some("BUSY"))
        });
        assert!(busy, "the script is not busy");
        became(Duration::from_millis(300), || keys.count() == 2000);
        command(&["SCRIPT", "KILL"]).query::<()>(&mut other).expect("SCRIPT KILL");
        script.join().expect("script").expect_err("it was killed");
    }
    is_settled(&mut world, &replica);
}

#[test]
fn a_script_that_writes_after_busy_reply_threshold_loses_nothing() {
    let (mut world, replica) = replicated("INTERVAL 0");
    world.redis.cmd(&["CONFIG", "SET", "busy-reply-threshold", "20"]);
    let script = "for i = 1, 300 do redis.call('SET', 'k:' .. i, 'before') end \
                  for i = 1, 3e7 do end \
                  for i = 1, 150 do redis.call('SET', 'k:' .. i, 'after') end";
    for _ in 0..3 {
        world.redis.cmd(&["EVAL", script, "0"]);
    }
    is_settled(&mut world, &replica);
    world.holds("keys", "150", "after");
}

/// A server with 5,000 dirty keys that loads for about a second and accepts connections meanwhile.
fn slow_to_load() -> World {
    let slow = |setup: Setup| setup.durable().config("loading-process-events-interval-bytes 1024");
    let world = World::without_mongodb(slow);
    world.register("k:", "keys", "INTERVAL 0");
    for i in 0..5000 {
        world.redis.cmd(&["SET", &format!("k:{i}"), "x"]);
    }
    world
}

#[test]
fn nothing_is_read_or_sent_while_the_server_loads() {
    let mut world = slow_to_load();
    let before = world.redis.digest();
    // MongoDB is reachable from the start.
    let uri = Mongod::shared().uri();
    let uri = ["--writebehind.mongodb-uri", uri.as_str(), "--key-load-delay", "200"];
    world.redis.begin_restart(&uri);
    let keys = world.database.collection("keys");
    let loaded = became(SOON, || {
        let connected = world.redis.try_connect("");
        let status = connected.ok().and_then(|mut connection| {
            redis::cmd("INFO").arg("persistence").query::<String>(&mut connection).ok()
        });
        assert!(world.redis.ended().is_none(), "{}", world.redis.log());
        let loading = status.as_deref().is_some_and(|status| status.contains("\nloading:1"));
        loading && {
            assert_eq!(keys.count(), 0);
            false
        } || status.is_some_and(|s| s.contains("\nloading:0"))
    });
    assert!(loaded, "{}", world.redis.log());
    Mapping::by_id("k:").holds(&world.redis, &keys);
    world.disconnect_mongodb();
    world.redis.kill();
    world.redis.restart();
    assert_eq!(world.redis.status().int("dirty_keys"), 0);
    assert_ne!(world.redis.digest(), before);
}

#[test]
fn acknowledgements_during_a_reload_lose_nothing() {
    let mongod = Mongod::pooled();
    let world = slow_to_load();
    world.redis.cmd(&["CONFIG", "SET", "writebehind.mongodb-uri", &mongod.uri()]);
    let namespace = mongod.named_database("reload").namespace("keys");
    world.redis.cmd(&["WB.REGISTER", "k:", &namespace, "INTERVAL", "0"]);
    world.redis.flush();
    mongod.freeze();
    for i in 0..1000 {
        world.redis.cmd(&["SET", &format!("k:{i}"), "newer"]);
    }
    wait_until("keys are in flight", SOON, || world.redis.status().int("in_flight_keys") > 0);
    world.redis.cmd(&["CONFIG", "SET", "key-load-delay", "200"]);
    let mut runner = world.redis.connect();
    let reload = std::thread::spawn(move || {
        command(&["DEBUG", "RELOAD"]).query::<redis::Value>(&mut runner)
    });
    let mut other = world.redis.connect();
    wait_until("it loads", SOON, || {
        let reply = command(&["GET", "k:1"]).query::<String>(&mut other);
        reply.is_err_and(|error| error.code() == Some("LOADING"))
    });
    mongod.thaw();
    reload.join().expect("reload").expect("DEBUG RELOAD");
    world.redis.cmd(&["SET", "k:last", "x"]);
    let keys = mongod.named_database("reload").collection("keys");
    Mapping::by_id("k:").holds(&world.redis, &keys);
}
