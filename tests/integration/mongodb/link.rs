//! The state of the link to MongoDB: since when, and its log lines.

use std::time::{Duration, Instant};

use testkit::fixture::World;
use testkit::mongod::{Mongod, unreachable_uri};
use testkit::network::renaming::Renaming;
use testkit::redis_server::Redis;
use testkit::wait::{SOON, became, wait_until};

/// Milliseconds since 1970, as in WB.STATUS.
fn now_ms() -> i64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("time");
    i64::try_from(now.as_millis()).expect("milliseconds")
}

/// Waits for the state and returns `link_since_unix_ms`.
#[track_caller]
fn since(world: &World, state: &str) -> i64 {
    wait_until("the link's state", SOON, || world.redis.status().text("link") == state);
    world.redis.status().int("link_since_unix_ms")
}

#[test]
fn the_status_reports_since_when_the_link_is_up_or_down() {
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
    assert_eq!(since(&world, "up"), up, "it was up all the time");
    world.disconnect_mongodb();
    world.redis.cmd(&["SET", "k:1", "z"]);
    let down = since(&world, "down");
    assert!((up..=now_ms()).contains(&down), "{down}");
    let shown = world.redis.info("writebehind", "writebehind_link_since_unix_ms");
    assert_eq!(shown, Some(down.to_string()));
    world.connect_mongodb();
    assert!(since(&world, "up") >= down);
}

#[test]
fn a_flapping_link_is_logged_once_a_minute() {
    let world = World::without_mongodb(|setup| setup.setting("flush-interval-ms", "0"));
    world.register("k:", "keys", "");
    for turn in 0..3 {
        set_uri(&world.redis, &unreachable_uri());
        world.redis.cmd(&["SET", "k:1", &turn.to_string()]);
        since(&world, "down");
        world.connect_mongodb();
        since(&world, "up");
    }
    world.redis.flush();
    let log = world.redis.log();
    let lines = |text: &str| log.lines().filter(|line| line.contains(text)).count();
    assert_eq!(lines("MongoDB is not reached, writes are kept: "), 1, "{log}");
    assert_eq!(lines("MongoDB is reached again, after "), 1, "{log}");
    assert_eq!(lines("MongoDB is reached"), 1, "{log}");
}

/// The limits in docs/OUTAGES.md.
const CLOSED_WITHIN: Duration = Duration::from_millis(1500);
const FROZEN_WITHIN: Duration = Duration::from_secs(4);

/// Waits for the state without any write, and returns the time that it took.
#[track_caller]
fn becomes(redis: &Redis, state: &str, within: Duration) -> Duration {
    let start = Instant::now();
    let is_so = became(SOON, || redis.status().text("link") == state);
    let took = start.elapsed();
    assert!(
        is_so && took <= within,
        "{state} after {took:?}: {}",
        redis.status().text("link_error")
    );
    took
}

fn set_uri(redis: &Redis, uri: &str) {
    redis.cmd(&["CONFIG", "SET", "writebehind.mongodb-uri", uri]);
}

#[test]
fn the_link_is_opened_with_the_first_registration_and_closed_with_the_last() {
    let world = World::new();
    set_uri(&world.redis, &Mongod::shared().uri());
    world.redis.cmd(&["SET", "k:0", "x"]);
    assert_eq!(since(&world, "idle"), 0, "there is no registration");
    world.register("k:", "keys", "");
    becomes(&world.redis, "up", SOON);
    assert_eq!(world.redis.status().int("captured_total"), 0);
    world.redis.cmd(&["SET", "k:1", "x"]);
    world.redis.cmd(&["WB.UNREGISTER", "k:"]);
    becomes(&world.redis, "idle", SOON);
    world.holds("keys", "1", "x");
}

#[test]
fn a_new_uri_is_tried_at_once() {
    let world = World::new();
    world.register("k:", "keys", "");
    becomes(&world.redis, "up", SOON);
    for (uri, words) in [
        (unreachable_uri(), "connection refused"),
        (format!("{}x", Mongod::shared().uri()), "check replicaSet"),
    ] {
        set_uri(&world.redis, &uri);
        becomes(&world.redis, "down", CLOSED_WITHIN);
        let error = world.redis.status().text("link_error");
        assert!(error.contains(words), "{error}");
        world.connect_mongodb();
        becomes(&world.redis, "up", SOON);
    }
}

#[test]
fn the_link_is_opened_at_load_also_for_registrations_from_the_rdb() {
    let mut world = World::without_mongodb(|setup| setup);
    world.register("k:", "keys", "");
    becomes(&world.redis, "down", CLOSED_WITHIN);
    world.connect_mongodb();
    becomes(&world.redis, "up", SOON);
    world.redis.cmd(&["CONFIG", "REWRITE"]);
    world.redis.cmd(&["SAVE"]);
    world.redis.restart();
    becomes(&world.redis, "up", SOON);
}

#[test]
fn the_link_of_a_replica_is_idle_until_it_is_promoted() {
    let world = World::new();
    world.register("k:", "keys", "");
    let replica = Redis::start(&Mongod::shared().uri());
    replica.follow(&world.redis);
    assert_eq!(replica.status().int("registrations"), 1);
    assert_eq!(replica.status().text("link"), "idle");
    replica.promote();
    becomes(&replica, "up", SOON);
    replica.follow(&world.redis);
    becomes(&replica, "idle", SOON);
}

#[test]
fn the_link_detects_without_a_write_that_mongodb_is_killed_and_restarted() {
    for mut mongod in [Mongod::replica_set(), Mongod::standalone()] {
        let redis = Redis::start(&mongod.uri());
        redis.cmd(&["WB.REGISTER", "k:", "db.keys"]);
        becomes(&redis, "up", SOON);
        mongod.kill();
        let down = becomes(&redis, "down", CLOSED_WITHIN);
        wait_until("the cause is reported", SOON, || {
            redis.status().text("link_error").contains("connection refused")
        });
        mongod.restart();
        let up = becomes(&redis, "up", CLOSED_WITHIN);
        println!("down after {down:?}, up after {up:?}");
    }
}

#[test]
fn the_link_detects_without_a_write_that_mongodb_is_suspended_and_resumed() {
    let mongod = Mongod::pooled();
    let redis = Redis::start(&mongod.uri());
    redis.cmd(&["WB.REGISTER", "k:", "db.keys"]);
    becomes(&redis, "up", SOON);
    mongod.freeze();
    let down = becomes(&redis, "down", FROZEN_WITHIN);
    mongod.thaw();
    let up = becomes(&redis, "up", FROZEN_WITHIN);
    println!("down after {down:?}, up after {up:?}");
}

#[test]
fn an_unknown_host_name_in_the_replica_set_configuration_is_reported_with_a_remedy() {
    let mongod = Mongod::pooled();
    let renaming = Renaming::start(mongod.port());
    let uri = format!("mongodb://127.0.0.1:{}", renaming.port());
    let redis = Redis::start(&uri);
    let database = mongod.named_database("renamed");
    redis.cmd(&["WB.REGISTER", "k:", &database.namespace("keys")]);
    wait_until("the link is down", SOON, || redis.status().text("link") == "down");
    let error = redis.status().text("link_error");
    for words in [
        "the host name a.invalid is unknown",
        "the configuration of the replica set rs,",
        "add directConnection=true",
    ] {
        assert!(error.contains(words), "{error}");
    }
    set_uri(&redis, &format!("{uri}/?directConnection=true"));
    redis.cmd(&["SET", "k:1", "x"]);
    assert_eq!(redis.flush_with(&["TIMEOUT", "15000"]).pending, 0);
    assert_eq!(database.collection("keys").text("1", "value"), "x");
    set_uri(&redis, "mongodb://b.invalid");
    wait_until("the host is named", SOON, || {
        redis
            .status()
            .text("link_error")
            .contains("the connection string's host b.invalid is unknown")
    });
}
