//! A server without clients wakes up in time for due keys.

use std::time::{Duration, Instant};

use testkit::fixture::World;
use testkit::mongod::unreachable_uri;
use testkit::redis_server::Setup;
use testkit::wait::{SOON, wait_until};

#[test]
fn an_idle_server_wakes_up_in_time_for_a_flush_and_an_interval() {
    // The server's own cron runs only once a second.
    let world = World::with(|setup| setup.config("hz 1").config("dynamic-hz no"));
    world.register("k:", "keys", "INTERVAL 60000");
    world.register("i:", "intervals", "INTERVAL 5");
    for keys in [1, 100, 2_000] {
        let mut took: Vec<Duration> = (0..5)
            .map(|turn| {
                let fill = "for i = 1, ARGV[1] do redis.call('HSET', 'k:' .. i, 'a', ARGV[2]) end";
                world.redis.cmd(&["EVAL", fill, "0", &keys.to_string(), &turn.to_string()]);
                let start = Instant::now();
                assert_eq!(world.redis.flush().persisted, keys);
                start.elapsed()
            })
            .collect();
        took.sort();
        assert!(took[2] < Duration::from_millis(300), "{keys} keys: {took:?}");
    }
    let intervals = world.database.collection("intervals");
    let mut took: Vec<Duration> = (0..5)
        .map(|turn| {
            let value = turn.to_string();
            world.redis.cmd(&["SET", "i:1", &value]);
            let start = Instant::now();
            wait_until("it is written", SOON, || {
                intervals
                    .by_id("1")
                    .is_some_and(|found| found.get_str("value").ok() == Some(&value))
            });
            start.elapsed()
        })
        .collect();
    took.sort();
    assert!(took[2] < Duration::from_millis(300), "{took:?}");
}

#[test]
fn an_idle_server_wakes_up_in_time_for_a_timeout() {
    // The server's own cron runs only once a second.
    let redis = Setup::new(&unreachable_uri()).config("hz 1").config("dynamic-hz no").start();
    redis.cmd(&["WB.REGISTER", "k:", "db.keys"]);
    redis.cmd(&["SET", "k:1", "a"]);
    let mut took: Vec<Duration> = (0..5)
        .map(|_| {
            let start = Instant::now();
            assert_eq!(redis.flush_with(&["TIMEOUT", "30"]).pending, 1);
            start.elapsed()
        })
        .collect();
    took.sort();
    assert!(took[2] < Duration::from_millis(300), "{took:?}");
}
