//! Many registrations: their cost for other commands, and the time to create and to load them.

use std::time::{Duration, Instant};

use testkit::fixture::World;
use testkit::mongod::unreachable_uri;
use testkit::redis_server::{Redis, Setup, command};

const MANY: usize = 20_000;

/// Registers `count` prefixes.
fn register(redis: &Redis, count: usize) {
    let mut connection = redis.connect();
    for start in (0..count).step_by(500) {
        let mut pipeline = redis::pipe();
        for number in start..start + 500 {
            let (prefix, namespace) = (format!("tenant:{number}:"), format!("db.tenant{number}"));
            pipeline.add_command(command(&["WB.REGISTER", &prefix, &namespace])).ignore();
        }
        pipeline.query::<()>(&mut connection).expect("every prefix is registered");
    }
}

/// Processor time of the server's main thread.
fn cpu(redis: &Redis) -> Duration {
    let path = format!("/proc/{0}/task/{0}/schedstat", redis.pid());
    let figures = std::fs::read_to_string(path).expect("schedstat");
    let ns = figures.split_whitespace().next().expect("time on the processor");
    Duration::from_nanos(ns.parse().expect("nanoseconds"))
}

/// Processor time of the server's main thread for `count` commands, one after the other.
fn cost(redis: &Redis, count: usize) -> Duration {
    let mut connection = redis.connect();
    let before = cpu(redis);
    for number in 0..count {
        let key = format!("key:{:012}", number % 1_000);
        command(&["SET", &key, "value"]).exec(&mut connection).expect("OK");
    }
    cpu(redis) - before
}

/// The ratio of the costs of a command on both servers. Takes the minimum of some rounds, because
/// other load on the machine only adds to the cost.
fn ratio(of: &Redis, to: &Redis) -> f64 {
    let mut least = [f64::INFINITY; 2];
    for _ in 0..9 {
        for (least, redis) in least.iter_mut().zip([of, to]) {
            *least = least.min(cost(redis, 2_000).as_secs_f64());
        }
    }
    least[0] / least[1]
}

#[test]
fn commands_on_unregistered_keys_cost_no_more_with_many_registrations() {
    let many = Setup::new(&unreachable_uri()).start();
    let one = Setup::new(&unreachable_uri()).start();
    register(&many, MANY);
    one.cmd(&["WB.REGISTER", "tenant:0:", "db.tenant0"]);
    let ratio = ratio(&many, &one);
    println!(
        "a command on an unregistered key costs {ratio:.3} times as much with {MANY} registrations"
    );
    assert!(ratio < 3.0, "{ratio}");
}

#[test]
fn commands_on_registered_keys_cost_no_more_with_many_registrations() {
    let world = |count: usize| {
        let redis = Setup::new(&unreachable_uri()).start();
        register(&redis, count);
        redis.cmd(&["WB.REGISTER", "key:", "db.keys"]);
        redis
    };
    let ratio = ratio(&world(MANY), &world(500));
    println!(
        "a command on a registered key costs {ratio:.3} times as much with {MANY} registrations"
    );
    assert!(ratio < 3.0, "{ratio}");
}

#[test]
fn creating_and_loading_registrations_takes_linear_time() {
    let redis = Setup::new(&unreachable_uri()).start();
    let begun = cpu(&redis);
    register(&redis, MANY / 10);
    let few = cpu(&redis) - begun;
    redis.cmd(&["DEBUG", "RELOAD"]);
    let few_loaded = cpu(&redis) - begun - few;
    redis.cmd(&["FLUSHALL"]);
    let begun = cpu(&redis);
    register(&redis, MANY);
    let many = cpu(&redis) - begun;
    redis.cmd(&["DEBUG", "RELOAD"]);
    let many_loaded = cpu(&redis) - begun - many;
    assert_eq!(redis.status().int("registrations"), MANY as i64);
    println!("{} are created in {few:?} and loaded in {few_loaded:?},", MANY / 10);
    println!("{MANY} are created in {many:?} and loaded in {many_loaded:?}");
    // Ten times as many registrations; quadratic time would be a hundred times as long.
    assert!(many < few * 30, "{many:?}, and a tenth of them {few:?}");
    assert!(many_loaded < few_loaded * 30, "{many_loaded:?}, and a tenth of them {few_loaded:?}");
}

#[test]
fn keys_of_many_prefixes_are_all_written() {
    const PREFIXES: usize = 2_000;
    let world = World::new();
    for number in 0..PREFIXES {
        let namespace = world.database.namespace(&format!("c{}", number % 3));
        let prefix = format!("tenant:{number}:");
        world.redis.cmd(&["WB.REGISTER", &prefix, &namespace, "INTERVAL", "0", "SHARED"]);
    }
    let began = Instant::now();
    for number in 0..PREFIXES {
        world.redis.cmd(&["SET", &format!("tenant:{number}:{number}"), "value"]);
    }
    let flushed = world.redis.flush();
    println!("{PREFIXES} prefixes were written in {:?}", began.elapsed());
    assert_eq!((flushed.failed, flushed.pending), (0, 0));
    let count = |name: &str| world.database.collection(name).count();
    assert_eq!(count("c0") + count("c1") + count("c2"), PREFIXES as u64);
}
