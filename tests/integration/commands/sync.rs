//! WB.SYNC: marks every existing key as dirty, in the background.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use testkit::comparison::Mapping;
use testkit::fixture::{World, connect_mongodb};
use testkit::mongod::unreachable_uri;
use testkit::redis_server::{Redis, Setup, command};
use testkit::wait::{SOON, wait_until};

const KEYS: usize = 25_000;
/// In bytes; less than the keys take.
const LIMIT: &str = "500000";
/// The longest latency during a scan, on a busy machine.
const MAX_LATENCY: Duration = Duration::from_secs(1);

/// Creates keys, before their prefix is registered.
fn fill(redis: &Redis, keys: usize) {
    let script = "for i = ARGV[1], ARGV[2] do redis.call('SET', 'k:' .. i, i) end";
    for from in (1..=keys).step_by(50_000) {
        let to = (from + 49_999).min(keys);
        redis.cmd(&["EVAL", script, "0", &from.to_string(), &to.to_string()]);
    }
}

/// A server whose sync stops at `dirty-max-bytes`, because MongoDB is down.
fn half_done(change: impl FnOnce(Setup) -> Setup) -> World {
    let world = World::without_mongodb(|setup| change(limited(setup)));
    fill(&world.redis, KEYS);
    world.register("k:", "keys", "");
    world.redis.cmd(&["WB.SYNC", "k:"]);
    wait_until("the limit is reached", SOON, || {
        let marked = || world.redis.status_of("k:").int("sync_marked");
        let before = marked();
        world.redis.cmd(&["PING"]);
        before > 0 && marked() == before && before < KEYS as i64
    });
    world
}

fn limited(setup: Setup) -> Setup {
    setup.setting("dirty-max-bytes", LIMIT).config("repl-diskless-sync-delay 0")
}

#[track_caller]
fn sync_ends(redis: &Redis, world: &World) {
    connect_mongodb(redis);
    wait_until("the sync ends", SOON, || redis.status().int("syncs_pending") == 0);
    Mapping::by_id("k:").holds(redis, &world.database.collection("keys"));
    assert_eq!(world.database.collection("keys").count(), KEYS as u64);
}

#[test]
fn every_existing_key_is_written_while_clients_are_served() {
    let world = World::new();
    fill(&world.redis, KEYS);
    world.redis.cmd(&["SET", "other", "x"]);
    world.register("k:", "keys", "");
    world.register("k:unknown:", "others", "");
    assert_eq!(world.redis.flush().persisted, 0);
    let (done, start) = (AtomicBool::new(false), Instant::now());
    let mut connection = world.redis.connect();
    let keys = world.database.collection("keys");
    std::thread::scope(|scope| {
        let pings = scope.spawn(|| {
            let mut longest = Duration::ZERO;
            while !done.load(Ordering::Relaxed) {
                let start = Instant::now();
                redis::cmd("PING").exec(&mut connection).expect("PING");
                longest = longest.max(start.elapsed());
            }
            longest
        });
        assert_eq!(world.redis.run::<String>(&["WB.SYNC", "k:"]), "OK");
        wait_until("the sync ends", SOON * 10, || world.redis.status().int("syncs_pending") == 0);
        let marked = start.elapsed();
        wait_until("all is written", SOON * 10, || world.redis.status().int("dirty_keys") == 0);
        done.store(true, Ordering::Relaxed);
        let (written, longest) = (start.elapsed(), pings.join().expect("pings"));
        println!("{KEYS} keys marked in {marked:?}, written in {written:?}, PING {longest:?}");
        assert!(longest < MAX_LATENCY, "{longest:?}");
    });
    assert_eq!(keys.count(), KEYS as u64);
    let status = world.redis.status_of("k:");
    assert_eq!((status.int("sync_pending"), status.int("sync_percent")), (0, 100));
    assert_eq!(status.int("sync_marked"), KEYS as i64);
    assert!(world.redis.log().contains(&format!("marked {KEYS} keys")), "it is logged");
}

#[test]
fn progress_is_reported_and_a_second_sync_restarts_it() {
    let world = half_done(|setup| setup);
    let status = world.redis.status_of("k:");
    assert_eq!((status.int("sync_pending"), world.redis.status().int("syncs_pending")), (1, 1));
    let (marked, percent) = (status.int("sync_marked"), status.int("sync_percent"));
    let share = marked * 100 / KEYS as i64;
    assert!((share - 1..=share + 1).contains(&percent), "{percent} % and {marked} keys");
    assert_eq!(status.int("dirty_keys"), marked);
    world.redis.cmd(&["WB.SYNC", "k:"]);
    assert!(world.redis.status_of("k:").int("sync_marked") < marked.max(1));
    sync_ends(&world.redis, &world);
    let status = world.redis.status_of("k:");
    assert_eq!((status.int("sync_marked"), status.int("sync_percent")), (KEYS as i64, 100));
}

#[test]
fn a_sync_survives_a_crash() {
    for durable in [false, true] {
        let mut world = half_done(|setup| if durable { setup.durable() } else { setup });
        if !durable {
            world.redis.cmd(&["SAVE"]);
        }
        world.redis.kill();
        world.redis.restart();
        assert_eq!(world.redis.status_of("k:").int("sync_pending"), 1, "durable {durable}");
        sync_ends(&world.redis, &world);
    }
}

#[test]
fn a_promoted_replica_continues_the_sync_and_its_own_replica_learns_of_the_end() {
    let mut world = half_done(|setup| setup);
    let replica = limited(Setup::new(&unreachable_uri())).start();
    replica.follow(&world.redis);
    world.redis.cmd(&["WB.SYNC", "k:"]);
    replica.wait_until_in_sync_with(&world.redis);
    assert_eq!(replica.status().int("syncs_pending"), 1);
    assert!(command(&["WB.SYNC", "k:"]).exec(&mut replica.connection()).is_err());
    world.redis.kill();
    replica.promote();
    let second = limited(Setup::new(&unreachable_uri())).start();
    second.follow(&replica);
    assert_eq!(second.status().int("syncs_pending"), 1);
    sync_ends(&replica, &world);
    // The promoted server writes once more what its master may have had in flight.
    wait_until("its replica has nothing dirty", SOON, || {
        let status = second.status();
        (status.int("syncs_pending"), status.int("dirty_keys")) == (0, 0)
    });
}

#[test]
fn an_invalid_sync_is_refused_and_starts_nothing() {
    let world = World::new();
    world.register("k:", "keys", "");
    assert!(world.redis.error(&["WB.SYNC", "unknown:"]).contains("unknown:"));
    world.redis.error(&["WB.SYNC"]);
    world.redis.error(&["WB.SYNC", "k:", "now"]);
    world.redis.cmd(&["WB.UNREGISTER", "k:"]);
    world.redis.error(&["WB.SYNC", "k:"]);
    assert_eq!(world.redis.status().int("syncs_pending"), 0);
    let info = format!("{:?}", world.redis.cmd(&["COMMAND", "INFO", "WB.SYNC"]));
    assert!(info.contains("admin") && info.contains("write"), "{info}");
    if !world.redis.is_redis_7_0() {
        assert!(info.contains("@admin") && info.contains("@dangerous"), "{info}");
    }
}
