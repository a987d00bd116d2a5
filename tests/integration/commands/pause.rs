//! WB.PAUSE and WB.RESUME: nothing is written, everything is captured, and the pause lasts until an
//! operator ends it.

use std::time::{Duration, Instant};

use redis::Value;

use testkit::comparison::Mapping;
use testkit::fixture::World;
use testkit::mongod::Mongod;
use testkit::redis_server::replication::assert_same_dirty_set;
use testkit::redis_server::reply::Flushed;
use testkit::redis_server::{Redis, Setup, command};
use testkit::wait::{SOON, wait_until};

fn quick(setup: Setup) -> Setup {
    setup.config("repl-diskless-sync-delay 0").setting("flush-interval-ms", "0")
}

/// A world with two prefixes, each with a clean key.
fn world(change: impl FnOnce(Setup) -> Setup) -> World {
    let world = World::with(|setup| change(quick(setup)));
    for (prefix, collection) in [("a:", "first"), ("b:", "second")] {
        world.register(prefix, collection, "");
        world.redis.cmd(&["SET", &format!("{prefix}1"), "before"]);
    }
    world.redis.flush();
    world
}

/// A flush with a short timeout: the numbers of persisted and pending keys.
#[track_caller]
fn short_flush(redis: &Redis) -> (i64, i64) {
    let Flushed { persisted, pending, .. } = redis.flush_with(&["TIMEOUT", "300"]);
    (persisted, pending)
}

/// `paused` in WB.STATUS: of everything, of the first prefix, of the second.
fn paused(redis: &Redis) -> [i64; 3] {
    [redis.status(), redis.status_of("a:"), redis.status_of("b:")].map(|s| s.int("paused"))
}

#[test]
fn nothing_is_written_during_a_pause_and_everything_after_it() {
    let world = world(|setup| setup);
    let batches = world.redis.status().int("batches_total");
    for _ in 0..2 {
        assert_eq!(world.redis.cmd(&["WB.PAUSE"]), Value::Okay);
    }
    world.redis.cmd(&["MSET", "a:1", "during", "b:1", "during", "b:2", "during"]);
    world.redis.cmd(&["DEL", "b:1"]);
    assert_eq!(paused(&world.redis), [1, 1, 1]);
    assert_eq!(world.redis.info("writebehind", "writebehind_paused").as_deref(), Some("1"));
    let warning = world.redis.status().text("warning");
    assert!(warning.contains("writing is paused"), "{warning}");
    assert_eq!(short_flush(&world.redis), (0, 3));
    let status = world.redis.status();
    assert_eq!((status.int("batches_total"), status.int("dirty_keys")), (batches, 3));
    for _ in 0..2 {
        assert_eq!(world.redis.cmd(&["WB.RESUME"]), Value::Okay);
    }
    wait_until("all is written", SOON, || world.redis.status().int("dirty_keys") == 0);
    assert_eq!(paused(&world.redis), [0, 0, 0]);
    assert!(!world.redis.status().text("warning").contains("paused"));
    Mapping::by_id("a:").holds(&world.redis, &world.database.collection("first"));
    Mapping::by_id("b:").holds(&world.redis, &world.database.collection("second"));
}

#[test]
fn a_paused_prefix_does_not_delay_others() {
    let world = world(|setup| setup);
    world.redis.cmd(&["WB.PAUSE", "a:"]);
    world.redis.cmd(&["MSET", "a:1", "during", "b:1", "during"]);
    assert_eq!(short_flush(&world.redis), (1, 1));
    assert_eq!(world.redis.flush_with(&["b:"]).pending, 0);
    assert_eq!(paused(&world.redis), [0, 1, 0]);
    let warning = world.redis.status().text("warning");
    assert!(warning.contains("paused") && warning.contains("'a:'"), "{warning}");
    assert!(!warning.contains("'b:'"), "{warning}");
    world.holds("first", "1", "before");
    world.holds("second", "1", "during");
    world.redis.cmd(&["WB.RESUME", "a:"]);
    assert_eq!(world.redis.flush().pending, 0);
    world.holds("first", "1", "during");
}

#[test]
fn resume_of_a_prefix_ends_its_own_pause_and_resume_without_a_prefix_ends_all() {
    let world = world(|setup| setup);
    world.redis.cmd(&["WB.PAUSE"]);
    world.redis.cmd(&["WB.PAUSE", "b:"]);
    world.redis.cmd(&["SET", "a:1", "during"]);
    world.redis.cmd(&["WB.RESUME", "a:"]);
    assert_eq!(paused(&world.redis), [1, 1, 1]);
    assert_eq!(short_flush(&world.redis), (0, 1));
    world.redis.cmd(&["WB.RESUME"]);
    assert_eq!(paused(&world.redis), [0, 0, 0]);
    assert_eq!(world.redis.flush().pending, 0);
}

#[test]
fn a_flush_during_a_pause_ends_after_resume() {
    let world = world(|setup| setup);
    world.redis.cmd(&["WB.PAUSE", "a:"]);
    world.redis.cmd(&["SET", "a:1", "during"]);
    let mut waiting = world.redis.connect();
    let flush = std::thread::spawn(move || {
        command(&["WB.FLUSH", "a:"]).query::<Flushed>(&mut waiting).expect("flush")
    });
    let blocked = || world.redis.info("clients", "blocked_clients").as_deref() == Some("1");
    wait_until("the flush waits", SOON, blocked);
    assert_eq!(short_flush(&world.redis), (0, 1));
    assert!(blocked());
    world.redis.cmd(&["WB.RESUME", "a:"]);
    let flushed = flush.join().expect("thread");
    assert_eq!((flushed.persisted, flushed.pending), (1, 0));
}

#[test]
fn batches_in_flight_end_normally() {
    let mongod = Mongod::pooled();
    let database = mongod.database();
    let redis = quick(Setup::new(&mongod.uri())).start();
    redis.cmd(&["WB.REGISTER", "k:", &database.namespace("keys")]);
    redis.cmd(&["SET", "k:0", "x"]);
    redis.flush();
    mongod.freeze();
    redis.cmd(&["SET", "k:1", "in flight"]);
    wait_until("the key is in flight", SOON, || redis.status().int("in_flight_keys") == 1);
    redis.cmd(&["WB.PAUSE"]);
    redis.cmd(&["SET", "k:2", "later"]);
    mongod.thaw();
    wait_until("the batch ends", SOON, || redis.status().int("in_flight_keys") == 0);
    assert_eq!(redis.status().int("dirty_keys"), 1);
    assert_eq!(database.collection("keys").count(), 2);
}

#[test]
fn a_pause_survives_restarts() {
    for kept in ["RDB", "AOF", "rewritten AOF"] {
        let durable = |setup: Setup| if kept == "RDB" { setup } else { setup.durable() };
        let mut world = world(durable);
        for (words, expected) in [(&["WB.PAUSE", "b:"][..], [0, 0, 1]), (&["WB.PAUSE"], [1, 1, 1])]
        {
            world.redis.cmd(words);
            world.redis.cmd(&["SET", "b:1", "during"]);
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
            world.redis.kill();
            world.redis.restart();
            assert_eq!(paused(&world.redis), expected, "{kept}");
            assert_eq!(short_flush(&world.redis), (0, 1), "{kept}");
            assert!(world.redis.log().contains("writing is paused"), "{}", world.redis.log());
        }
        world.redis.cmd(&["WB.RESUME"]);
        assert_eq!(world.redis.flush().persisted, 1, "{kept}");
        if kept != "RDB" {
            world.redis.kill();
            world.redis.restart();
            assert_eq!(paused(&world.redis), [0, 0, 0], "{kept}");
        }
    }
}

#[test]
fn a_replica_is_paused_with_its_master_and_stays_paused_after_its_promotion() {
    let mut world = world(|setup| setup);
    // One pause is in the RDB of the full synchronization, the other in the stream.
    world.redis.cmd(&["WB.PAUSE", "a:"]);
    let replica = quick(Setup::new(&Mongod::shared().uri())).start();
    replica.cmd(&["WB.PAUSE"]);
    replica.follow(&world.redis);
    assert_eq!(paused(&replica), [0, 1, 0]);
    world.redis.cmd(&["WB.PAUSE", "b:"]);
    world.redis.cmd(&["WB.RESUME", "a:"]);
    world.redis.cmd(&["WB.PAUSE"]);
    world.redis.cmd(&["SET", "b:1", "during"]);
    replica.wait_until_in_sync_with(&world.redis);
    assert_eq!(paused(&replica), [1, 1, 1]);
    assert_same_dirty_set(&world.redis, &replica);
    world.redis.kill();
    replica.promote();
    assert_eq!(short_flush(&replica), (0, 1));
    replica.cmd(&["WB.RESUME"]);
    assert_eq!(replica.flush().persisted, 1);
    world.holds("second", "1", "during");
}

#[test]
fn shutdown_does_not_wait_for_paused_keys() {
    let mut world = world(|setup| setup.setting("shutdown-drain-ms", "20000"));
    world.redis.cmd(&["WB.PAUSE", "b:"]);
    world.redis.cmd(&["MSET", "a:1", "during", "b:1", "during"]);
    let start = Instant::now();
    assert!(world.redis.shutdown(&["SAVE"]).success(), "{}", world.redis.log());
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
    assert!(world.redis.log().contains("1 keys were not written"), "{}", world.redis.log());
    world.holds("first", "1", "during");
    world.holds("second", "1", "before");
    world.redis.restart();
    world.redis.cmd(&["WB.RESUME", "b:"]);
    world.redis.flush();
    world.holds("second", "1", "during");
}

#[test]
fn a_paused_server_uses_no_cpu() {
    let world = world(|setup| setup);
    world.redis.cmd(&["WB.PAUSE"]);
    world.redis.cmd(&["SET", "a:1", "during"]);
    assert_eq!(short_flush(&world.redis), (0, 1));
    let before = cpu_ticks(&world.redis);
    // Waits one second on the server.
    world.redis.cmd(&["BLPOP", "nothing", "1"]);
    let ticks = cpu_ticks(&world.redis) - before;
    assert!(ticks < 30, "{ticks} hundredths of a second");
}

/// CPU time of the server, in hundredths of a second.
fn cpu_ticks(redis: &Redis) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", redis.pid())).expect("stat");
    let behind_name = stat.rsplit_once(')').expect("a name").1;
    let fields: Vec<&str> = behind_name.split_whitespace().collect();
    [11, 12].iter().map(|at| fields[*at].parse::<u64>().expect("a number")).sum()
}

#[test]
fn a_pause_survives_new_options_and_applies_to_an_unregistered_backlog() {
    let world = world(|setup| setup);
    world.redis.cmd(&["WB.PAUSE", "a:"]);
    world.register("a:", "elsewhere", "");
    assert_eq!(paused(&world.redis), [0, 1, 0]);
    world.redis.cmd(&["SET", "a:1", "during"]);
    assert_eq!(world.redis.run::<i64>(&["WB.UNREGISTER", "a:"]), 1);
    assert_eq!(short_flush(&world.redis), (0, 1));
    assert!(world.redis.status().text("warning").contains("'a:'"));
    world.redis.cmd(&["WB.RESUME", "a:"]);
    assert_eq!(world.redis.flush().pending, 0);
    world.holds("elsewhere", "1", "during");
    assert!(world.redis.error(&["WB.PAUSE", "a:"]).contains("no registration of prefix 'a:'"));
}

#[test]
fn a_transaction_and_a_script_may_pause_and_resume() {
    let world = world(|setup| setup);
    let replies: Vec<Value> = redis::pipe()
        .atomic()
        .cmd("WB.PAUSE")
        .cmd("SET")
        .arg(&["a:1", "during"])
        .cmd("WB.FLUSH")
        .query(&mut world.redis.connection())
        .expect("EXEC");
    let flushed: Flushed = redis::from_redis_value(replies[2].clone()).expect("a map");
    assert_eq!(flushed.pending, 1);
    assert_eq!(short_flush(&world.redis), (0, 1));
    world.redis.cmd(&["EVAL", "return redis.call('WB.RESUME')", "0"]);
    assert_eq!(world.redis.flush().pending, 0);
    world.holds("first", "1", "during");
}
