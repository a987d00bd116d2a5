//! What is done for many keys at once is done in slices: no answer takes as long as all of it.

use std::time::{Duration, Instant};

use testkit::fixture::World;
use testkit::mongod::nowhere;
use testkit::redis_server::{Redis, Setup};
use testkit::wait::{SOON, wait_until};

/// So many dirty keys that expire at the same moment, after this time.
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

/// The longest time that an answer took, as often as asked until then.
fn longest_ping(redis: &Redis, until: Instant) -> Duration {
    let mut connection = redis.connect();
    let mut longest = Duration::ZERO;
    while Instant::now() < until {
        let asked = Instant::now();
        redis::cmd("PING").query::<String>(&mut connection).expect("PONG");
        longest = longest.max(asked.elapsed());
    }
    longest
}

/// What it takes to copy the values of so many dirty keys at a stretch.
fn at_a_stretch(keys: usize) -> Duration {
    let redis = Setup::new(&nowhere()).start();
    redis.cmd(&["WB.REGISTER", "k:", "db.keys"]);
    dirty_until(&redis, keys, Duration::from_secs(3600));
    let began = Instant::now();
    redis.cmd(&["SWAPDB", "0", "1"]);
    began.elapsed()
}

#[test]
fn values_of_keys_that_expire_together_are_copied_in_slices() {
    const KEYS: usize = 60_000;
    let world = World::away(|setup| setup);
    world.register("k:", "keys", "");
    let ends = dirty_until(&world.redis, KEYS, Duration::from_secs(12));
    assert!(Instant::now() < ends - Duration::from_secs(2), "the machine is too slow");
    let longest = longest_ping(&world.redis, ends);
    let stretch = at_a_stretch(KEYS);
    println!("{longest:?} is the longest answer, {stretch:?} what all take at a stretch");
    wait_until("they expire", SOON, || world.redis.run::<i64>(&["DBSIZE"]) == 0);
    let status = world.redis.status();
    assert_eq!((status.int("dirty_keys"), status.int("lost_total")), (KEYS as i64, 0));
    assert!(longest < stretch * 3 / 4, "an answer took {longest:?}, all values {stretch:?}");
}
