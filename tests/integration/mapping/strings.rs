//! Short strings are read many at a time, without side effects on the keys.

use testkit::comparison::Mapping;
use testkit::fixture::World;
use testkit::redis_server::command;
use testkit::wait::{SOON, wait_until};

/// More keys than one MGET reads, and not a multiple of that.
const KEYS: usize = 70;

/// Dirty keys that are integers, embedded strings, raw strings and long strings.
fn fill(world: &World) {
    world.register("k:", "keys", "INTERVAL 3600000");
    for n in 0..KEYS {
        let key = format!("k:{n}");
        match n % 5 {
            0 => world.redis.cmd(&["SET", &key, &n.to_string()]),
            1 => world.redis.cmd(&["SET", &key, &format!("text {n}")]),
            2 => world.redis.cmd(&["APPEND", &key, &format!("raw {n}")]),
            3 => world.redis.cmd(&["SET", &key, &"long".repeat(100 + n)]),
            _ => world.redis.cmd(&["SET", &key, ""]),
        };
    }
}

fn all_written(world: &World) {
    let written = world.redis.flush();
    assert_eq!((written.persisted, written.pending), (KEYS as i64, 0));
    all_stored(world);
}

fn of_each<T: redis::FromRedisValue>(world: &World, subcommand: &str) -> Vec<T> {
    (0..KEYS).map(|n| world.redis.run(&["OBJECT", subcommand, &format!("k:{n}")])).collect()
}

#[test]
fn strings_are_read_many_at_a_time_and_stay_encoded_as_they_are() {
    let world = World::new();
    fill(&world);
    let before: Vec<String> = of_each(&world, "ENCODING");
    world.redis.flush();
    let commands: String = world.redis.run(&["INFO", "commandstats"]);
    let line = commands.lines().find(|line| line.starts_with("cmdstat_mget:"));
    let calls = line.and_then(|line| line.split([':', '=', ',']).nth(2)?.parse().ok());
    let short = KEYS - KEYS / 5;
    // A read slice may end after every sixteenth key, whatever its type.
    let fits = short.div_ceil(16)..=KEYS.div_ceil(16);
    assert!(calls.is_some_and(|calls: usize| fits.contains(&calls)), "{commands}");
    assert!(!commands.contains("cmdstat_get:"), "{commands}");
    assert_eq!(of_each::<String>(&world, "ENCODING"), before);
    all_stored(&world);
}

fn all_stored(world: &World) {
    let keys = world.database.collection("keys");
    Mapping::by_id("k:").holds(&world.redis, &keys);
    assert_eq!(keys.count(), KEYS as u64);
}

#[test]
fn reading_strings_does_not_change_their_idle_time() {
    let world = World::new();
    fill(&world);
    restore_each(&world, "IDLETIME", "1000");
    world.redis.flush();
    let idle: Vec<i64> = of_each(&world, "IDLETIME");
    assert!(idle.iter().all(|seconds| *seconds >= 1000), "{idle:?}");
    all_stored(&world);
}

#[test]
fn reading_strings_does_not_change_their_access_frequency() {
    let world = World::with(|setup| setup.config("maxmemory-policy allkeys-lfu"));
    fill(&world);
    restore_each(&world, "FREQ", "3");
    world.redis.flush();
    let frequencies: Vec<i64> = of_each(&world, "FREQ");
    assert!(frequencies.iter().all(|frequency| *frequency == 3), "{frequencies:?}");
    all_stored(&world);
}

/// Restores every key with that IDLETIME or FREQ.
fn restore_each(world: &World, kind: &str, age: &str) {
    for n in 0..KEYS {
        let key = format!("k:{n}");
        let dump: Vec<u8> = world.redis.run(&["DUMP", &key]);
        let mut restore = command(&["RESTORE", &key, "0"]);
        restore.arg(dump).arg("REPLACE").arg(kind).arg(age);
        restore.exec(&mut world.redis.connection()).expect("RESTORE");
    }
}

#[test]
fn strings_are_written_if_the_commands_that_read_them_are_renamed() {
    for commands in [&["MGET"][..], &["MGET", "GET"]] {
        let world = World::with(|setup| {
            let line = |name| format!("rename-command {name} other-{name}");
            commands.iter().fold(setup, |setup, name| setup.config(&line(name)))
        });
        fill(&world);
        let written = world.redis.flush();
        assert_eq!((written.persisted, written.pending), (KEYS as i64, 0));
        world.holds("keys", "11", "text 11");
        world.holds("keys", "12", "raw 12");
    }
}

#[test]
fn strings_in_a_cluster_are_written_although_mget_of_several_slots_fails() {
    let world = World::with(|setup| setup.config("cluster-enabled yes"));
    world.redis.cmd(&["CLUSTER", "ADDSLOTSRANGE", "0", "16383"]);
    let is_up = || world.redis.run::<String>(&["CLUSTER", "INFO"]).contains("cluster_state:ok");
    wait_until("the cluster is up", SOON, is_up);
    fill(&world);
    all_written(&world);
    let commands: String = world.redis.run(&["INFO", "commandstats"]);
    assert!(!commands.contains("cmdstat_mget"), "{commands}");
}

#[test]
fn strings_that_expire_among_others_are_written_with_their_last_value() {
    let world = World::new();
    fill(&world);
    let own: Vec<String> = (0..KEYS).map(|n| format!("own {n}")).collect();
    world.redis.cmd(&["DEBUG", "SET-ACTIVE-EXPIRE", "0"]);
    for (n, value) in own.iter().enumerate() {
        let seconds = if n % 3 == 0 { ["PX", "1"] } else { ["EX", "1000"] };
        world.redis.cmd(&[&["SET", &format!("k:{n}"), value][..], &seconds].concat());
    }
    std::thread::sleep(std::time::Duration::from_millis(20));
    world.redis.flush();
    for (n, value) in own.iter().enumerate() {
        world.holds("keys", &n.to_string(), value);
    }
}
