//! Work for many keys at once is done in slices: no client waits for all of it.

use std::time::{Duration, Instant};

use testkit::fixture::World;
use testkit::mongod::unreachable_uri;
use testkit::redis_server::{Redis, Setup};
use testkit::wait::{SOON, wait_until};

/// Creates `keys` dirty keys that all expire after `lives`, and returns that time.
fn dirty_until(redis: &Redis, keys: usize, lives: Duration) -> Instant {
    let ends = Instant::now() + lives;
    let now: Vec<u64> = redis.run(&["TIME"]);
    let end_ms = now[0] * 1000 + now[1] / 1000 + lives.as_millis() as u64;
    for start in (0..keys).step_by(5_000) {
        let script = "for i = ARGV[1], ARGV[2] do \
                      redis.call('SET', 'k:' .. string.format('%d', i), 'value', 'PXAT', ARGV[3]) end";
        let (first, last) = (start.to_string(), (start + 4_999).to_string());
        redis.cmd(&["EVAL", script, "0", &first, &last, &end_ms.to_string()]);
    }
    ends
}

/// Sends PINGs until then, and returns the longest latency.
fn longest_ping(redis: &Redis, until: Instant) -> Duration {
    let mut connection = redis.connect();
    let mut longest = Duration::ZERO;
    while Instant::now() < until {
        let start = Instant::now();
        redis::cmd("PING").query::<String>(&mut connection).expect("PONG");
        longest = longest.max(start.elapsed());
    }
    longest
}

/// The time to copy the values of `keys` dirty keys without a pause.
fn without_slices(keys: usize) -> Duration {
    let redis = Setup::new(&unreachable_uri()).start();
    redis.cmd(&["WB.REGISTER", "k:", "db.keys"]);
    dirty_until(&redis, keys, Duration::from_secs(3600));
    let began = Instant::now();
    redis.cmd(&["SWAPDB", "0", "1"]);
    began.elapsed()
}

#[test]
fn values_of_keys_that_expire_together_are_retained_in_slices() {
    const KEYS: usize = 60_000;
    let world = World::without_mongodb(|setup| setup);
    world.register("k:", "keys", "");
    let ends = dirty_until(&world.redis, KEYS, Duration::from_secs(12));
    assert!(Instant::now() < ends - Duration::from_secs(2), "the machine is too slow");
    let longest = longest_ping(&world.redis, ends);
    let in_one = without_slices(KEYS);
    println!("longest latency {longest:?}, all values without slices {in_one:?}");
    wait_until("the keys expire", SOON, || world.redis.run::<i64>(&["DBSIZE"]) == 0);
    let status = world.redis.status();
    assert_eq!((status.int("dirty_keys"), status.int("lost_total")), (KEYS as i64, 0));
    assert!(longest < in_one * 3 / 4, "longest latency {longest:?}, all values {in_one:?}");
}
