//! WB.SYNC: every key that exists already, in the background.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use testkit::comparison::Mapping;
use testkit::fixture::{World, find_mongodb};
use testkit::mongod::nowhere;
use testkit::redis_server::{Redis, Setup, command};
use testkit::wait::{SOON, wait_until};

const KEYS: usize = 50_000;
/// Bytes; the keys take more.
const LIMIT: &str = "1000000";
/// Nobody waits for a slice of a scan for longer, on a busy machine.
const HELD_UP: Duration = Duration::from_secs(1);

/// Keys that were there before anybody registered them.
fn fill(redis: &Redis, keys: usize) {
    let script = "for i = ARGV[1], ARGV[2] do redis.call('SET', 'k:' .. i, i) end";
    for from in (1..=keys).step_by(50_000) {
        let to = (from + 49_999).min(keys);
        redis.cmd(&["EVAL", script, "0", &from.to_string(), &to.to_string()]);
    }
}

/// A server whose sync stays half done, because MongoDB is away and there is room for no more.
fn half_done(change: impl FnOnce(Setup) -> Setup) -> World {
    let world = World::away(|setup| change(limited(setup)));
    fill(&world.redis, KEYS);
    world.register("k:", "keys", "");
    world.redis.cmd(&["WB.SYNC", "k:"]);
    wait_until("there is no more room", SOON, || {
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
fn ends(redis: &Redis, world: &World) {
    find_mongodb(redis);
    wait_until("the sync ends", SOON, || redis.status().int("syncs_pending") == 0);
    Mapping::by_id("k:").holds(redis, &world.database.collection("keys"));
    assert_eq!(world.database.collection("keys").count(), KEYS as u64);
}

#[test]
fn every_existing_key_is_written_while_commands_are_served() {
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
        assert!(longest < HELD_UP, "{longest:?}");
    });
    assert_eq!(keys.count(), KEYS as u64);
    let status = world.redis.status_of("k:");
    assert_eq!((status.int("sync_pending"), status.int("sync_percent")), (0, 100));
    assert_eq!(status.int("sync_marked"), KEYS as i64);
    assert!(world.redis.log().contains(&format!("marked {KEYS} keys")), "it is logged");
}

#[test]
fn progress_is_told_and_a_second_sync_begins_anew() {
    let world = half_done(|setup| setup);
    let status = world.redis.status_of("k:");
    assert_eq!((status.int("sync_pending"), world.redis.status().int("syncs_pending")), (1, 1));
    let (marked, percent) = (status.int("sync_marked"), status.int("sync_percent"));
    let share = marked * 100 / KEYS as i64;
    assert!((share - 1..=share + 1).contains(&percent), "{percent} % and {marked} keys");
    assert_eq!(status.int("dirty_keys"), marked);
    world.redis.cmd(&["WB.SYNC", "k:"]);
    assert!(world.redis.status_of("k:").int("sync_marked") < marked.max(1));
    ends(&world.redis, &world);
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
        world.redis.start_again();
        assert_eq!(world.redis.status_of("k:").int("sync_pending"), 1, "durable {durable}");
        ends(&world.redis, &world);
    }
}

#[test]
fn a_promoted_replica_goes_on_and_one_that_follows_later_knows_the_end() {
    let mut world = half_done(|setup| setup);
    let replica = limited(Setup::new(&nowhere())).start();
    replica.follow(&world.redis);
    world.redis.cmd(&["WB.SYNC", "k:"]);
    replica.wait_until_in_step_with(&world.redis);
    assert_eq!(replica.status().int("syncs_pending"), 1);
    assert!(command(&["WB.SYNC", "k:"]).exec(&mut replica.connection()).is_err());
    world.redis.kill();
    replica.promote();
    let second = limited(Setup::new(&nowhere())).start();
    second.follow(&replica);
    assert_eq!(second.status().int("syncs_pending"), 1);
    ends(&replica, &world);
    second.wait_until_in_step_with(&replica);
    assert_eq!((second.status().int("syncs_pending"), second.status().int("dirty_keys")), (0, 0));
}

#[test]
fn a_bad_sync_is_refused_and_nothing_begins() {
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
