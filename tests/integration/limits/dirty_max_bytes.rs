//! `dirty-max-bytes`: far more changes than the dirty state may remember, while MongoDB is away.
//! Nothing is forgotten and nothing is held up.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use testkit::comparison::Mapping;
use testkit::fixture::{World, find_mongodb};
use testkit::mongod::nowhere;
use testkit::redis_server::reply::Flushed;
use testkit::redis_server::{Redis, Setup, command};
use testkit::wait::{SOON, became, wait_until};

/// Bytes; a third of what the keys below would take.
const LIMIT: usize = 1_500_000;
const KEYS: usize = 50_000;
/// Commands sent in one go.
const PIPELINE: usize = 500;
/// A pipeline that takes longer was held up: MongoDB is away for longer than that, while a busy disk
/// takes a second or so to sync an AOF.
const HELD_UP: Duration = Duration::from_secs(5);

fn limited(setup: Setup) -> Setup {
    setup.setting("dirty-max-bytes", &LIMIT.to_string()).config("repl-diskless-sync-delay 0")
}

/// A server that remembers little, and a MongoDB that is away.
fn away(change: impl FnOnce(Setup) -> Setup) -> World {
    let world = World::away(|setup| change(limited(setup)));
    world.register("k:", "keys", "");
    world
}

/// Sends commands in pipelines; the slowest of these.
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

/// Writes all keys, a third of them twice, and deletes some.
fn overflow(world: &World) {
    let redis = &world.redis;
    let slowest = write(redis, "first", 0..KEYS)
        .max(write(redis, "second", (0..KEYS).step_by(3)))
        .max(send(redis, (0..KEYS).step_by(50).map(|key| format!("DEL k:{key}"))));
    assert!(slowest < HELD_UP, "{PIPELINE} commands took {slowest:?}");
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
    // Each deleted key is remembered beyond the limit.
    let (memory, most) = (status.int("memory_bytes") as usize, LIMIT / 10 * 11 + KEYS / 50 * 64);
    assert!(memory <= most, "{memory} bytes, more than {most}");
    assert!(status.int("dirty_keys") < KEYS as i64 * 3 / 4, "{}", status.int("dirty_keys"));
}

#[track_caller]
fn is_all_written(redis: &Redis, world: &World) {
    Mapping::by_id("k:").holds(redis, &world.database.collection("keys"));
    // After a restart, what may have been on its way is written once more, some time later.
    wait_until("nothing is dirty", SOON, || {
        let status = redis.status();
        (status.int("dirty_keys"), status.int("oldest_dirty_ms")) == (0, 0)
    });
    let status = redis.status();
    assert_eq!((status.int("rescans_pending"), status.int("lost_total")), (0, 0));
    assert!(!status.text("warning").contains("dirty-max-bytes"));
}

#[test]
fn what_was_not_remembered_is_found_when_mongodb_is_back() {
    let world = away(|setup| setup);
    world.find_mongodb();
    // Documents that have to go again.
    write(&world.redis, "before", (0..KEYS).step_by(50));
    world.lose_mongodb();
    assert!(world.database.collection("keys").count() > 0);
    overflow(&world);
    world.find_mongodb();
    wait_until("all is written by itself", SOON, || {
        let status = world.redis.status();
        status.int("rescans_pending") == 0 && status.int("dirty_keys") == 0
    });
    is_all_written(&world.redis, &world);
    assert_eq!(world.database.collection("keys").count() as usize, KEYS - KEYS / 50);
}

#[test]
fn writes_during_the_scan_are_found_too() {
    let world = away(|setup| setup);
    overflow(&world);
    world.find_mongodb();
    let mut turns = 0;
    let written = became(Duration::from_secs(3), || {
        let turn = format!("turn{turns}");
        turns += 1;
        let slowest = write(&world.redis, &turn, (0..KEYS).step_by(7));
        assert!(slowest < HELD_UP, "{PIPELINE} commands took {slowest:?}");
        send(&world.redis, (turns..KEYS).step_by(997).map(|key| format!("DEL k:{key}")));
        false
    });
    assert!(!written && turns > 3, "{turns} turns");
    is_all_written(&world.redis, &world);
}

#[test]
fn a_flush_waits_until_all_was_found_and_written() {
    let world = away(|setup| setup);
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
    world.find_mongodb();
    let flushed = flush.join().expect("flush");
    // Nothing was written since: all had arrived when the reply came.
    let differences = Mapping::by_id("k:")
        .differences(&mut world.redis.connection(), &world.database.collection("keys"));
    assert!(differences.is_empty(), "{flushed:?}, {} differences", differences.len());
    assert_eq!(flushed.pending, 0);
    assert!(flushed.persisted >= (KEYS - KEYS / 50) as i64, "{flushed:?}");
}

#[test]
fn a_flush_of_keys_waits_for_one_that_was_not_remembered() {
    let world = away(|setup| setup);
    overflow(&world);
    let last = format!("k:{}", KEYS - 1);
    let keys = ["KEYS", "2", &last, "unregistered", "TIMEOUT", "50"];
    assert_eq!(world.redis.flush_with(&keys).pending, 1);
    world.find_mongodb();
    world.redis.flush_with(&keys[..4]);
    world.holds("keys", &(KEYS - 1).to_string(), &format!("first-{}", KEYS - 1));
}

#[test]
fn the_loop_sleeps_while_a_scan_waits_for_mongodb() {
    let world = away(|setup| setup.setting("retry-backoff-max-ms", "500"));
    overflow(&world);
    wait_until("the link is down", SOON, || world.redis.status().text("link") == "down");
    let cpu = || -> f64 {
        let field = |name| world.redis.info("cpu", name).expect("cpu").parse::<f64>().expect("s");
        field("used_cpu_user_main_thread") + field("used_cpu_sys_main_thread")
    };
    let (start, before) = (Instant::now(), cpu());
    wait_until("a second passes", SOON, || start.elapsed() > Duration::from_secs(1));
    let spent = cpu() - before;
    assert!(spent < 0.3, "{spent} s of the processor in a second of waiting");
}

#[test]
fn the_limit_is_changed_live() {
    let world = away(|setup| setup);
    overflow(&world);
    let set = |bytes: &str| {
        world.redis.cmd(&["CONFIG", "SET", "writebehind.dirty-max-bytes", bytes]);
    };
    set("64mb");
    write(&world.redis, "third", 0..KEYS);
    assert!(world.redis.status().int("dirty_keys") >= (KEYS - KEYS / 50) as i64);
    set("0");
    world.find_mongodb();
    is_all_written(&world.redis, &world);
}

#[test]
fn an_unregistered_prefix_is_written_to_the_end() {
    let world = away(|setup| setup);
    overflow(&world);
    world.redis.cmd(&["WB.UNREGISTER", "k:"]);
    assert_eq!(world.redis.status().int("rescans_pending"), 1);
    world.find_mongodb();
    let flushed = world.redis.flush();
    assert_eq!((flushed.failed, flushed.pending), (0, 0));
    let differences = Mapping::by_id("k:")
        .differences(&mut world.redis.connection(), &world.database.collection("keys"));
    assert!(differences.is_empty(), "{} differences", differences.len());
    assert_eq!(world.redis.status().int("rescans_pending"), 0);
}

#[test]
fn a_discarded_prefix_is_not_scanned() {
    let world = away(|setup| setup);
    overflow(&world);
    world.redis.cmd(&["WB.UNREGISTER", "k:", "DISCARD"]);
    assert_eq!(world.redis.status().int("rescans_pending"), 0);
    world.find_mongodb();
    // What is on its way may still arrive.
    wait_until("all is dropped", SOON, || world.redis.status().int("dirty_keys") == 0);
    assert!(world.database.collection("keys").count() < KEYS as u64 / 2);
}

#[test]
fn the_rdb_and_the_aof_bring_it_back_after_a_crash() {
    for durable in [false, true] {
        let mut world = away(|setup| if durable { setup.durable() } else { setup });
        overflow(&world);
        if !durable {
            world.redis.cmd(&["SAVE"]);
        }
        world.redis.kill();
        world.redis.start_again();
        is_overflowed(&world.redis);
        world.find_mongodb();
        is_all_written(&world.redis, &world);
    }
}

#[test]
fn a_crash_in_the_middle_of_the_scan_loses_nothing() {
    for durable in [false, true] {
        let mut world = away(|setup| if durable { setup.durable() } else { setup });
        overflow(&world);
        world.find_mongodb();
        let keys = world.database.collection("keys");
        wait_until("the scan has begun", SOON, || keys.count() > LIMIT as u64 / 60);
        if !durable {
            world.redis.cmd(&["SAVE"]);
        }
        world.redis.kill();
        world.redis.start_again();
        world.find_mongodb();
        is_all_written(&world.redis, &world);
    }
}

#[test]
fn after_the_scan_nothing_is_scanned_at_the_next_start() {
    let mut world = away(Setup::durable);
    overflow(&world);
    world.find_mongodb();
    is_all_written(&world.redis, &world);
    world.redis.kill();
    world.redis.start_again();
    assert_eq!(world.redis.status().int("rescans_pending"), 0);
}

#[test]
fn a_replica_that_is_promoted_in_the_middle_of_the_scan_writes_all() {
    let mut world = away(|setup| setup);
    let replica = limited(Setup::new(&nowhere())).start();
    replica.follow(&world.redis);
    overflow(&world);
    replica.wait_until_in_step_with(&world.redis);
    is_overflowed(&replica);
    world.find_mongodb();
    let keys = world.database.collection("keys");
    wait_until("the scan has begun", SOON, || keys.count() > LIMIT as u64 / 60);
    world.redis.kill();
    replica.promote();
    find_mongodb(&replica);
    is_all_written(&replica, &world);
}

#[test]
fn a_replica_with_less_room_than_its_master_forgets_nothing() {
    let mut world = away(|setup| setup);
    let replica = Setup::new(&nowhere()).setting("dirty-max-bytes", "1").start();
    replica.follow(&world.redis);
    overflow(&world);
    world.find_mongodb();
    is_all_written(&world.redis, &world);
    world.lose_mongodb();
    write(&world.redis, "last", 0..2_000);
    replica.wait_until_in_step_with(&world.redis);
    assert_eq!(replica.status().int("rescans_pending"), 1);
    assert_eq!(world.redis.status().int("rescans_pending"), 0);
    world.redis.kill();
    replica.promote();
    find_mongodb(&replica);
    is_all_written(&replica, &world);
}

/// Every key that was written, with its last value, is in MongoDB.
#[track_caller]
fn arrived(world: &World, expected: &BTreeMap<usize, String>) {
    world.find_mongodb();
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
        "{} are not there, such as {:?}",
        wrong.len(),
        &wrong[..wrong.len().min(5)]
    );
}

#[test]
fn what_is_flushed_away_or_swapped_is_written_first() {
    for words in [&["FLUSHALL"][..], &["FLUSHDB", "ASYNC"], &["SWAPDB", "0", "3"]] {
        let world = away(|setup| setup);
        write(&world.redis, "first", 0..KEYS);
        world.redis.cmd(words);
        assert_eq!(world.redis.status().int("rescans_pending"), 0, "{words:?}");
        write(&world.redis, "after", 0..10);
        let value = |key| format!("{}-{key}", if key < 10 { "after" } else { "first" });
        arrived(&world, &(0..KEYS).map(|key| (key, value(key))).collect());
    }
}

#[test]
fn what_was_flushed_away_comes_back_from_the_aof() {
    let mut world = away(Setup::durable);
    write(&world.redis, "first", 0..KEYS);
    world.redis.cmd(&["FLUSHALL"]);
    world.redis.kill();
    world.redis.start_again();
    arrived(&world, &(0..KEYS).map(|key| (key, format!("first-{key}"))).collect());
}

#[test]
fn what_expires_or_is_evicted_is_written_where_the_server_says_so_in_time() {
    let world = away(|setup| setup.config("maxmemory-policy allkeys-random"));
    write(&world.redis, "first", 0..KEYS);
    let brief = (0..KEYS).step_by(10);
    let count = brief.clone().count();
    send(&world.redis, brief.map(|key| format!("PEXPIRE k:{key} 1")));
    let size = || world.redis.run::<usize>(&["DBSIZE"]);
    wait_until("they have expired", SOON, || size() <= KEYS - count);
    let used = world.redis.info("memory", "used_memory").expect("memory");
    let limit = used.parse::<usize>().expect("bytes") - 300_000;
    world.redis.cmd(&["CONFIG", "SET", "maxmemory", &limit.to_string()]);
    wait_until("some are evicted", SOON, || {
        world.redis.cmd(&["SET", "other", "x"]);
        size() < KEYS - count - 1_000
    });
    let lost = world.redis.status().int("lost_total");
    if world.redis.is_redis_7_0() {
        assert!(lost > 0, "Redis 7.0 tells of them when their values are gone");
    } else {
        assert_eq!(lost, 0);
        arrived(&world, &(0..KEYS).map(|key| (key, format!("first-{key}"))).collect());
    }
}

#[test]
fn sync_keeps_to_the_limit() {
    let world = World::away(limited);
    write(&world.redis, "before", 0..KEYS);
    world.register("k:", "keys", "SYNC INTERVAL 60000");
    wait_until("the sync stops", SOON, || {
        let before = world.redis.status().int("captured_total");
        wait_until("the link is tried", SOON, || world.redis.status().text("link") == "down");
        before > 0 && world.redis.status().int("captured_total") == before
    });
    let memory = world.redis.status().int("memory_bytes") as usize;
    assert!(memory < LIMIT, "{memory}");
    world.find_mongodb();
    let keys = world.database.collection("keys");
    wait_until("all is written", SOON, || {
        world.redis.flush();
        keys.count() == KEYS as u64
    });
}
