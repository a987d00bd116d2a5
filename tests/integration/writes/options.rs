//! The option, the settings and the figures.

use super::*;

#[test]
fn the_option_is_kept_and_shown() {
    let mut world = World::new();
    through(&world, "TIMEOUT 250");
    let redis = &world.redis;
    assert_eq!(redis.status_of("k:").text("mode"), "THROUGH TIMEOUT 250");
    register(&world, "u:", "others", "MODE THROUGH");
    assert_eq!(redis.status_of("u:").text("mode"), "THROUGH");
    register(&world, "b:", "behind", "MODE BEHIND");
    assert_eq!(redis.status_of("b:").text("mode"), "BEHIND");
    let lines: Vec<String> = redis.run(&["WB.LIST"]);
    assert!(lines.iter().any(|line| line.contains("MODE THROUGH TIMEOUT 250")), "{lines:?}");
    redis.cmd(&["SAVE"]);
    world.redis.restart();
    assert_eq!(world.redis.status_of("k:").text("mode"), "THROUGH TIMEOUT 250");
    wait_until("MongoDB is reached", SOON, || {
        world.redis.cmd(&["SET", "k:1", "a"]);
        world.redis.status().text("link") == "up"
    });
    assert_eq!(world.redis.run::<String>(&["SET", "k:1", "b"]), "OK");
    world.holds("keys", "1", "b");
}

#[test]
fn without_the_option_nothing_is_held() {
    let world = World::new();
    through(&world, "");
    register(&world, "k:", "keys", "INTERVAL 60000");
    assert_eq!(world.redis.run::<String>(&["SET", "k:1", "a"]), "OK");
    assert_eq!(figure(&world.redis, "through_writes_total"), 0);
    assert_eq!(figure(&world.redis, "dirty_keys"), 1);
    let stats: String = world.redis.run(&["INFO", "commandstats"]);
    assert!(!stats.contains("cmdstat_wb.write"), "the filter is gone: {stats}");
}

#[test]
fn the_times_of_waiting_are_known() {
    let world = World::new();
    through(&world, "");
    let lock = lock(&world, &["1"]);
    let mut client = raw(&world);
    client.send(&["SET", "k:1", "a"]).unwrap();
    wait_for_writers(&world.redis, 1);
    assert!(!client.has_reply(A_WHILE));
    lock.end();
    client.read().unwrap();
    let status = world.redis.status_of("k:");
    let (p50_us, p99_us) = (status.int("through_p50_us"), status.int("through_p99_us"));
    assert!(p50_us > 0 && p99_us >= 300_000, "{p50_us} {p99_us}");
}
