//! Moments at which an acknowledgement must not be replicated or a key not be touched: the
//! server goes on, and nothing is lost.

use std::time::Duration;

use testkit::comparison::Mapping;
use testkit::fixture::World;
use testkit::mongod::{Mongod, nowhere};
use testkit::redis_server::replication::agree;
use testkit::redis_server::{Redis, Setup, command};
use testkit::wait::{SOON, became, wait_until};

/// A durable master with a replica, and MongoDB there: acknowledgements go both ways out.
fn replicated(options: &str) -> (World, Redis) {
    let world = World::with(|setup| setup.durable().config("repl-diskless-sync-delay 0"));
    world.register("k:", "keys", options);
    let replica = Setup::new(&nowhere()).config("repl-diskless-sync-delay 0").start();
    replica.follow(&world.redis);
    (world, replica)
}

/// Nothing is dirty any more, on the replica and after a restart neither, and all is written.
#[track_caller]
fn is_settled(world: &mut World, replica: &Redis) {
    Mapping::by_id("k:").holds(&world.redis, &world.database.collection("keys"));
    assert_eq!(world.redis.status().int("dirty_keys"), 0);
    replica.wait_until_in_step_with(&world.redis);
    agree(&world.redis, replica);
    let before = world.redis.digest();
    world.redis.kill();
    world.redis.start_again();
    assert_eq!(world.redis.digest(), before);
    assert_eq!(world.redis.status().int("dirty_keys"), 0);
}

#[test]
fn an_acknowledgement_that_comes_to_an_idle_server_is_replicated() {
    // Crash list C1: nothing else turns the event loop.
    let (mut world, replica) = replicated("INTERVAL 0");
    for i in 0..20 {
        world.redis.cmd(&["SET", "k:1", &i.to_string()]);
        wait_until("it is acknowledged", SOON, || world.redis.status().int("dirty_keys") == 0);
    }
    is_settled(&mut world, &replica);
}

#[test]
fn a_key_that_expired_before_it_is_read_stops_nothing() {
    // Crash list C2: to read it deletes it, and the DEL is replicated.
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
    replica.wait_until_in_step_with(&world.redis);
    agree(&world.redis, &replica);
    world.redis.start_again();
    assert_eq!(world.redis.status().int("dirty_keys"), 0);
}

#[test]
fn acknowledgements_wait_while_writes_are_paused() {
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
fn acknowledgements_wait_while_all_clients_are_paused() {
    let (mut world, replica) = replicated("INTERVAL 50");
    for turn in 0..5 {
        for i in 0..500 {
            world.redis.cmd(&["SET", &format!("k:{i}"), &turn.to_string()]);
        }
        world.redis.cmd(&["CLIENT", "PAUSE", "200", "ALL"]);
        // It waits for the end of the pause, as everybody does.
        world.redis.cmd(&["SET", "k:after", "x"]);
    }
    wait_until("acknowledged", SOON, || world.redis.status().int("dirty_keys") == 0);
    is_settled(&mut world, &replica);
}

#[test]
fn a_failover_with_acknowledgements_waiting_loses_nothing() {
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
        wait_until("they have changed places", SOON, || {
            to.status().text("role") == "master" && from.status().text("role") == "replica"
        });
        for i in 0..100 {
            to.cmd(&["SET", &format!("k:{i}"), "after"]);
        }
        Mapping::by_id("k:").holds(to, &world.database.collection("keys"));
        wait_until("the other is in step", SOON, || from.is_linked());
        from.wait_until_in_step_with(to);
        agree(to, from);
    }
}

#[test]
fn acknowledgements_wait_for_the_end_of_a_busy_script() {
    // Crash list C11: past its threshold, a script lets the event loop turn.
    let (mut world, replica) = replicated("INTERVAL 0");
    world.redis.cmd(&["CONFIG", "SET", "busy-reply-threshold", "20"]);
    let keys = world.database.collection("keys");
    for turn in 0..3 {
        // What is written just before is read, sent and acknowledged while the script runs.
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
fn a_script_that_writes_past_its_threshold_loses_nothing() {
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

/// A server with 5,000 dirty keys whose loading takes about a second, and serves meanwhile.
fn slow_to_load() -> World {
    let slow = |setup: Setup| setup.durable().config("loading-process-events-interval-bytes 1024");
    let world = World::away(slow);
    world.register("k:", "keys", "INTERVAL 0");
    for i in 0..5000 {
        world.redis.cmd(&["SET", &format!("k:{i}"), "x"]);
    }
    world
}

#[test]
fn nothing_is_read_or_sent_during_a_slow_start() {
    let mut world = slow_to_load();
    let before = world.redis.digest();
    // The acknowledging MongoDB is there from the first moment.
    let uri = Mongod::shared().uri();
    let uri = ["--writebehind.mongodb-uri", uri.as_str(), "--key-load-delay", "200"];
    world.redis.begin_again(&uri);
    let keys = world.database.collection("keys");
    let early = became(SOON, || {
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
    assert!(early, "{}", world.redis.log());
    Mapping::by_id("k:").holds(&world.redis, &keys);
    world.lose_mongodb();
    world.redis.kill();
    world.redis.start_again();
    assert_eq!(world.redis.status().int("dirty_keys"), 0);
    assert_ne!(world.redis.digest(), before);
}

#[test]
fn acknowledgements_that_come_during_a_reload_lose_nothing() {
    let mongod = Mongod::lent();
    let world = slow_to_load();
    world.redis.cmd(&["CONFIG", "SET", "writebehind.mongodb-uri", &mongod.uri()]);
    let namespace = mongod.named_database("reload").namespace("keys");
    world.redis.cmd(&["WB.REGISTER", "k:", &namespace, "INTERVAL", "0"]);
    world.redis.flush();
    mongod.freeze();
    for i in 0..1000 {
        world.redis.cmd(&["SET", &format!("k:{i}"), "newer"]);
    }
    wait_until("they are in flight", SOON, || world.redis.status().int("in_flight_keys") > 0);
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
