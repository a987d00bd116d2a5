//! The state of the link to MongoDB: since when, and what the log tells of it.

use crate::support::mongod::{Mongod, nowhere};
use crate::support::wait::{SOON, wait_until};
use crate::world::World;

/// Milliseconds since 1970, as the server's status counts them.
fn now_ms() -> i64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("time");
    i64::try_from(now.as_millis()).expect("milliseconds")
}

/// Waits for the state and returns since when it is so.
#[track_caller]
fn since(world: &World, state: &str) -> i64 {
    wait_until("the link's state", SOON, || world.redis.status().text("link") == state);
    world.redis.status().int("link_since_unix_ms")
}

#[test]
fn the_status_tells_since_when_the_link_is_up_or_down() {
    let world = World::new();
    assert_eq!(since(&world, "idle"), 0);
    let start = now_ms();
    world.register("k:", "keys", "");
    world.redis.cmd(&["SET", "k:1", "x"]);
    world.redis.flush();
    let up = since(&world, "up");
    assert!((start..=now_ms()).contains(&up), "{up}");
    world.redis.cmd(&["SET", "k:1", "y"]);
    world.redis.flush();
    assert_eq!(since(&world, "up"), up, "it is up all the time");
    world.lose_mongodb();
    world.redis.cmd(&["SET", "k:1", "z"]);
    let down = since(&world, "down");
    assert!((up..=now_ms()).contains(&down), "{down}");
    let shown = world.redis.info("writebehind", "writebehind_link_since_unix_ms");
    assert_eq!(shown, Some(down.to_string()));
    world.find_mongodb();
    assert!(since(&world, "up") >= down);
}

#[test]
fn a_link_that_comes_and_goes_is_logged_once_a_minute() {
    let world = World::away(|setup| setup.setting("flush-interval-ms", "0"));
    world.register("k:", "keys", "");
    for turn in 0..3 {
        world.redis.cmd(&["CONFIG", "SET", "writebehind.mongodb-uri", &nowhere()]);
        world.redis.cmd(&["SET", "k:1", &turn.to_string()]);
        since(&world, "down");
        world.redis.cmd(&["CONFIG", "SET", "writebehind.mongodb-uri", &Mongod::shared().uri()]);
        since(&world, "up");
    }
    world.redis.flush();
    let log = world.redis.log();
    let lines = |text: &str| log.lines().filter(|line| line.contains(text)).count();
    assert_eq!(lines("MongoDB is not reached, writes are kept: "), 1, "{log}");
    assert_eq!(lines("MongoDB is reached again, after "), 1, "{log}");
    assert_eq!(lines("MongoDB is reached"), 1, "{log}");
}
