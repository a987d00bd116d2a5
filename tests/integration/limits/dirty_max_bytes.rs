//! `dirty-max-bytes`: far more changes than the dirty state may hold, while MongoDB is down.
//! Nothing is lost and no client is delayed.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use testkit::comparison::Mapping;
use testkit::fixture::{World, connect_mongodb};
use testkit::mongod::unreachable_uri;
use testkit::redis_server::reply::Flushed;
use testkit::redis_server::{Redis, Setup, command};
use testkit::wait::{SOON, became, wait_until};

/// In bytes: a third of what the keys below would take.
const LIMIT: usize = 1_500_000;
const KEYS: usize = 50_000;
/// A scan and the writing of all keys take about five seconds, and four times as long where several of
/// these tests share a busy disk.
const SCANNED: Duration = Duration::from_secs(90);
/// Commands per pipeline.
const PIPELINE: usize = 500;
/// A pipeline that takes longer waited for MongoDB, which is down for longer; a busy disk takes
/// about a second to sync an AOF.
const MAX_LATENCY: Duration = Duration::from_secs(5);

fn limited(setup: Setup) -> Setup {
    setup.setting("dirty-max-bytes", &LIMIT.to_string()).config("repl-diskless-sync-delay 0")
}

/// A server with a low limit, and without MongoDB.
fn limited_world(change: impl FnOnce(Setup) -> Setup) -> World {
    let world = World::without_mongodb(|setup| change(limited(setup)));
    world.register("k:", "keys", "");
    world
}

/// Sends commands in pipelines; returns the time of the slowest pipeline.
fn send(redis: &Redis, commands: impl Iterator<Item = String>) -> Duration {
    let commands: Vec<String> = commands.collect();
    let mut slowest = Duration::ZERO;
    for some in commands.chunks(PIPELINE) {
        let mut pipeline = redis::pipe();
        for line in some {
            let words: Vec<&str> = line.split(' ').collect();
            pipeline.add_command(command(&words)).ignore();
        }
        let start = Instant::now();
        pipeline.query::<()>(&mut redis.connection()).expect("every write is acknowledged");
        slowest = slowest.max(start.elapsed());
    }
    slowest
}

fn write(redis: &Redis, turn: &str, keys: impl Iterator<Item = usize>) -> Duration {
    send(redis, keys.map(|key| format!("SET k:{key} {turn}-{key}")))
}

/// Writes all keys, a third of them twice, and deletes some. More than the limit.
fn overflow(world: &World) {
    let redis = &world.redis;
    let slowest = write(redis, "first", 0..KEYS)
        .max(write(redis, "second", (0..KEYS).step_by(3)))
        .max(send(redis, (0..KEYS).step_by(50).map(|key| format!("DEL k:{key}"))));
    assert!(slowest < MAX_LATENCY, "{PIPELINE} commands took {slowest:?}");
    is_overflowed(redis);
}

#[track_caller]
fn is_overflowed(redis: &Redis) {
    let status = redis.status();
    assert_eq!(status.int("rescans_pending"), 1);
    assert_eq!(redis.status_of("k:").int("rescans_pending"), 1);
    let warning = status.text("warning");
    assert!(warning.contains("dirty-max-bytes") && warning.contains("'k:'"), "{warning}");
    assert!(status.int("oldest_dirty_ms") > 0);
    // Deleted keys are kept beyond the limit.
    let (memory, most) = (status.int("memory_bytes") as usize, LIMIT / 10 * 11 + KEYS / 50 * 64);
    assert!(memory <= most, "{memory} bytes, more than {most}");
    assert!(status.int("dirty_keys") < KEYS as i64 * 3 / 4, "{}", status.int("dirty_keys"));
}

#[track_caller]
fn is_all_written(redis: &Redis, world: &World) {
    Mapping::by_id("k:").holds(redis, &world.database.collection("keys"));
    // After a restart, writes that may have been in flight before are repeated some time later.
    wait_until("nothing is dirty", SCANNED, || {
        let status = redis.status();
        (status.int("dirty_keys"), status.int("oldest_dirty_ms")) == (0, 0)
    });
    let status = redis.status();
    assert_eq!((status.int("rescans_pending"), status.int("lost_total")), (0, 0));
    assert!(!status.text("warning").contains("dirty-max-bytes"));
}

#[test]
fn keys_beyond_the_limit_are_found_by_a_scan_when_mongodb_is_up_again() {
    let world = limited_world(|setup| setup);
    world.connect_mongodb();
    // Documents of keys that are then deleted.
    write(&world.redis, "before", (0..KEYS).step_by(50));
    world.disconnect_mongodb();
    assert!(world.database.collection("keys").count() > 0);
    overflow(&world);
    world.connect_mongodb();
    wait_until("all is written without a flush", SCANNED, || {
        let status = world.redis.status();
        status.int("rescans_pending") == 0 && status.int("dirty_keys") == 0
    });
    is_all_written(&world.redis, &world);
    assert_eq!(world.database.collection("keys").count() as usize, KEYS - KEYS / 50);
}

#[test]
fn writes_during_the_scan_are_found_too() {
    let world = limited_world(|setup| setup);
    overflow(&world);
    world.connect_mongodb();
    let mut turns = 0;
    let written = became(Duration::from_secs(3), || {
        let turn = format!("turn{turns}");
        turns += 1;
        let slowest = write(&world.redis, &turn, (0..KEYS).step_by(7));
        assert!(slowest < MAX_LATENCY, "{PIPELINE} commands took {slowest:?}");
        send(&world.redis, (turns..KEYS).step_by(997).map(|key| format!("DEL k:{key}")));
        false
    });
    assert!(!written && turns > 3, "{turns} turns");
    is_all_written(&world.redis, &world);
}

#[test]
fn a_flush_waits_for_the_scan_and_its_writes() {
    let world = limited_world(|setup| setup);
    overflow(&world);
    let stuck = world.redis.flush_with(&["TIMEOUT", "200"]);
    assert_eq!(stuck.persisted, 0);
    assert!(stuck.pending > 0, "{stuck:?}");
    let mut other = world.redis.connect();
    let flush = std::thread::spawn(move || {
        command(&["WB.FLUSH", "k:"]).query::<Flushed>(&mut other).expect("reply")
    });
    wait_until("the flush waits", SOON, || {
        world.redis.run::<String>(&["INFO", "clients"]).contains("blocked_clients:1")
    });
    world.connect_mongodb();
    let flushed = flush.join().expect("flush");
    // No WB.FLUSH since then: everything was written when the reply came.
    let differences = Mapping::by_id("k:")
        .differences(&mut world.redis.connection(), &world.database.collection("keys"));
    assert!(differences.is_empty(), "{flushed:?}, {} differences", differences.len());
    assert_eq!(flushed.pending, 0);
    assert!(flushed.persisted >= (KEYS - KEYS / 50) as i64, "{flushed:?}");
}

#[test]
fn a_flush_of_keys_waits_for_a_key_beyond_the_limit() {
    let world = limited_world(|setup| setup);
    overflow(&world);
    let last = format!("k:{}", KEYS - 1);
    let keys = ["KEYS", "2", &last, "unregistered", "TIMEOUT", "50"];
    assert_eq!(world.redis.flush_with(&keys).pending, 1);
    world.connect_mongodb();
    world.redis.flush_with(&keys[..4]);
    world.holds("keys", &(KEYS - 1).to_string(), &format!("first-{}", KEYS - 1));
}

#[test]
fn the_event_loop_sleeps_while_a_scan_waits_for_mongodb() {
    let world = limited_world(|setup| setup.setting("retry-backoff-max-ms", "500"));
    overflow(&world);
    wait_until("the link is down", SOON, || world.redis.status().text("link") == "down");
    let cpu = || -> f64 {
        let field = |name| world.redis.info("cpu", name).expect("cpu").parse::<f64>().expect("s");
        field("used_cpu_user_main_thread") + field("used_cpu_sys_main_thread")
    };
    let (start, before) = (Instant::now(), cpu());
    wait_until("a second passes", SOON, || start.elapsed() > Duration::from_secs(1));
    let used = cpu() - before;
    assert!(used < 0.3, "{used} s of processor time in a second of waiting");
}

#[test]
fn the_limit_can_be_changed_at_runtime() {
    let world = limited_world(|setup| setup);
    overflow(&world);
    let set = |bytes: &str| {
        world.redis.cmd(&["CONFIG", "SET", "writebehind.dirty-max-bytes", bytes]);
    };
    set("64mb");
    write(&world.redis, "third", 0..KEYS);
    assert!(world.redis.status().int("dirty_keys") >= (KEYS - KEYS / 50) as i64);
    set("0");
    world.connect_mongodb();
    is_all_written(&world.redis, &world);
}

#[test]
fn an_unregistered_prefix_is_scanned_and_written_completely() {
    let world = limited_world(|setup| setup);
    overflow(&world);
    world.redis.cmd(&["WB.UNREGISTER", "k:"]);
    assert_eq!(world.redis.status().int("rescans_pending"), 1);
    world.connect_mongodb();
    let flushed = world.redis.flush();
    assert_eq!((flushed.failed, flushed.pending), (0, 0));
    let differences = Mapping::by_id("k:")
        .differences(&mut world.redis.connection(), &world.database.collection("keys"));
    assert!(differences.is_empty(), "{} differences", differences.len());
    assert_eq!(world.redis.status().int("rescans_pending"), 0);
}

#[test]
fn a_discarded_prefix_is_not_scanned() {
    let world = limited_world(|setup| setup);
    overflow(&world);
    world.redis.cmd(&["WB.UNREGISTER", "k:", "DISCARD"]);
    assert_eq!(world.redis.status().int("rescans_pending"), 0);
    world.connect_mongodb();
    // Batches in flight may still be written.
    wait_until("all is dropped", SOON, || world.redis.status().int("dirty_keys") == 0);
    assert!(world.database.collection("keys").count() < KEYS as u64 / 2);
}

#[test]
fn the_rdb_and_the_aof_restore_the_pending_scan_after_a_crash() {
    for durable in [false, true] {
        let mut world = limited_world(|setup| if durable { setup.durable() } else { setup });
        overflow(&world);
        if !durable {
            world.redis.cmd(&["SAVE"]);
        }
        world.redis.kill();
        world.redis.restart();
        is_overflowed(&world.redis);
        world.connect_mongodb();
        is_all_written(&world.redis, &world);
    }
}

#[test]
fn a_crash_during_the_scan_loses_nothing() {
    for durable in [false, true] {
        let mut world = limited_world(|setup| if durable { setup.durable() } else { setup });
        overflow(&world);
        world.connect_mongodb();
        let keys = world.database.collection("keys");
        wait_until("the scan has begun", SCANNED, || keys.count() > LIMIT as u64 / 60);
        if !durable {
            world.redis.cmd(&["SAVE"]);
        }
        world.redis.kill();
        world.redis.restart();
        world.connect_mongodb();
        is_all_written(&world.redis, &world);
    }
}

#[test]
fn a_completed_scan_is_not_repeated_at_the_next_start() {
    let mut world = limited_world(Setup::durable);
    overflow(&world);
    world.connect_mongodb();
    is_all_written(&world.redis, &world);
    world.redis.kill();
    world.redis.restart();
    assert_eq!(world.redis.status().int("rescans_pending"), 0);
}

#[test]
fn a_replica_that_is_promoted_during_the_scan_writes_all() {
    let mut world = limited_world(|setup| setup);
    let replica = limited(Setup::new(&unreachable_uri())).start();
    replica.follow(&world.redis);
    overflow(&world);
    replica.wait_until_in_sync_with(&world.redis);
    is_overflowed(&replica);
    world.connect_mongodb();
    let keys = world.database.collection("keys");
    wait_until("the scan has begun", SCANNED, || keys.count() > LIMIT as u64 / 60);
    world.redis.kill();
    replica.promote();
    connect_mongodb(&replica);
    is_all_written(&replica, &world);
}

#[test]
fn a_replica_with_a_lower_limit_than_its_master_loses_nothing() {
    let mut world = limited_world(|setup| setup);
    let replica = Setup::new(&unreachable_uri()).setting("dirty-max-bytes", "1").start();
    replica.follow(&world.redis);
    overflow(&world);
    world.connect_mongodb();
    is_all_written(&world.redis, &world);
    world.disconnect_mongodb();
    write(&world.redis, "last", 0..2_000);
    replica.wait_until_in_sync_with(&world.redis);
    assert_eq!(replica.status().int("rescans_pending"), 1);
    assert_eq!(world.redis.status().int("rescans_pending"), 0);
    world.redis.kill();
    replica.promote();
    connect_mongodb(&replica);
    is_all_written(&replica, &world);
}

/// Asserts that MongoDB has every key with its last value.
#[track_caller]
fn all_written(world: &World, expected: &BTreeMap<usize, String>) {
    world.connect_mongodb();
    let flushed = world.redis.flush();
    assert_eq!((flushed.failed, flushed.pending), (0, 0), "{flushed:?}");
    let mut documents: BTreeMap<String, String> = BTreeMap::new();
    for document in world.database.collection("keys").all() {
        let text = |field| document.get_str(field).expect("text").to_owned();
        documents.insert(text("_id"), text("value"));
    }
    let wrong =
        expected.iter().filter(|(key, value)| documents.get(&key.to_string()) != Some(value));
    let wrong: Vec<_> = wrong.map(|(key, _)| key).collect();
    assert!(
        wrong.is_empty(),
        "{} are missing, such as {:?}",
        wrong.len(),
        &wrong[..wrong.len().min(5)]
    );
}

#[test]
fn dirty_values_are_retained_beyond_the_limit_at_flushall_and_swapdb() {
    for words in [&["FLUSHALL"][..], &["FLUSHDB", "ASYNC"], &["SWAPDB", "0", "3"]] {
        let world = limited_world(|setup| setup);
        write(&world.redis, "first", 0..KEYS);
        world.redis.cmd(words);
        assert_eq!(world.redis.status().int("rescans_pending"), 0, "{words:?}");
        write(&world.redis, "after", 0..10);
        let value = |key| format!("{}-{key}", if key < 10 { "after" } else { "first" });
        all_written(&world, &(0..KEYS).map(|key| (key, value(key))).collect());
    }
}

#[test]
fn values_retained_at_flushall_are_restored_from_the_aof() {
    let mut world = limited_world(Setup::durable);
    write(&world.redis, "first", 0..KEYS);
    world.redis.cmd(&["FLUSHALL"]);
    world.redis.kill();
    world.redis.restart();
    all_written(&world, &(0..KEYS).map(|key| (key, format!("first-{key}"))).collect());
}

#[test]
fn expired_and_evicted_keys_are_written_if_the_server_reports_them_before_removal() {
    let world = limited_world(|setup| setup.config("maxmemory-policy allkeys-random"));
    write(&world.redis, "first", 0..KEYS);
    let brief = (0..KEYS).step_by(10);
    let count = brief.clone().count();
    send(&world.redis, brief.map(|key| format!("PEXPIRE k:{key} 1")));
    let size = || world.redis.run::<usize>(&["DBSIZE"]);
    wait_until("the keys expire", SOON, || size() <= KEYS - count);
    let used = world.redis.info("memory", "used_memory").expect("memory");
    let limit = used.parse::<usize>().expect("bytes") - 300_000;
    world.redis.cmd(&["CONFIG", "SET", "maxmemory", &limit.to_string()]);
    wait_until("some are evicted", SOON, || {
        world.redis.cmd(&["SET", "other", "x"]);
        size() < KEYS - count - 1_000
    });
    let lost = world.redis.status().int("lost_total");
    if world.redis.is_redis_7_0() {
        assert!(lost > 0, "Redis 7.0 reports keys only after their removal");
    } else {
        assert_eq!(lost, 0);
        all_written(&world, &(0..KEYS).map(|key| (key, format!("first-{key}"))).collect());
    }
}

#[test]
fn sync_respects_the_limit() {
    let world = World::without_mongodb(limited);
    write(&world.redis, "before", 0..KEYS);
    world.register("k:", "keys", "SYNC INTERVAL 60000");
    wait_until("the sync stops", SOON, || {
        let before = world.redis.status().int("captured_total");
        wait_until("the link is tried", SOON, || world.redis.status().text("link") == "down");
        before > 0 && world.redis.status().int("captured_total") == before
    });
    let memory = world.redis.status().int("memory_bytes") as usize;
    assert!(memory < LIMIT, "{memory}");
    world.connect_mongodb();
    let keys = world.database.collection("keys");
    wait_until("all is written", SCANNED, || {
        world.redis.flush();
        keys.count() == KEYS as u64
    });
}
