//! `WB.METRICS`: Prometheus' text format, and the same histograms in INFO.

use std::collections::BTreeMap;

use mongodb::bson::doc;
use redis::Value;

use testkit::fixture::World;
use testkit::mongod::unreachable_uri;
use testkit::redis_server::{Redis, command};
use testkit::wait::{SOON, wait_until};

/// Samples by name and labels as they are printed; a line that breaks the format ends the test.
fn metrics(redis: &Redis) -> BTreeMap<String, f64> {
    metrics_of(redis, &[])
}

/// The same with arguments.
fn metrics_of(redis: &Redis, arguments: &[&str]) -> BTreeMap<String, f64> {
    let text: String = redis.run(&[&["WB.METRICS"], arguments].concat());
    assert!(text.ends_with('\n'));
    let (mut samples, mut family, mut seen) = (BTreeMap::new(), String::new(), Vec::new());
    for line in text.lines() {
        if let Some(help) = line.strip_prefix("# HELP ") {
            let (name, sentence) = help.split_once(' ').expect("a sentence");
            assert!(sentence.ends_with('.'), "{line}");
            assert!(!seen.contains(&name), "two families of {name}");
            seen.push(name);
            name.clone_into(&mut family);
        } else if let Some(kind) = line.strip_prefix("# TYPE ") {
            let (name, kind) = kind.split_once(' ').expect("a type");
            assert_eq!(name, family);
            assert_eq!(kind == "counter", name.ends_with("_total"), "{line}");
        } else {
            let (series, value) = line.rsplit_once(' ').expect("a value");
            let name = series.split('{').next().expect("a name");
            let own = [name, name.rsplit_once('_').expect("words").0];
            assert!(own.contains(&family.as_str()), "{line} is not of {family}");
            let value = value.parse().unwrap_or_else(|_| panic!("{line}"));
            let twice = samples.insert(series.to_owned(), value);
            assert_eq!(twice, None, "two samples of {series}");
        }
    }
    samples
}

/// The metric's name for a figure, and how many of the figure's units are one of the metric's.
fn metric(figure: &str) -> (String, f64) {
    let (stem, total) = match figure.strip_suffix("_total") {
        Some(stem) => (stem, "_total"),
        None => (figure, ""),
    };
    let units = [
        ("_unix_ms", "_timestamp_seconds", 1e3),
        ("_ms", "_seconds", 1e3),
        ("_us", "_seconds", 1e6),
    ];
    for (suffix, seconds, scale) in units {
        if let Some(stem) = stem.strip_suffix(suffix) {
            return (format!("{stem}{seconds}{total}"), scale);
        }
    }
    (figure.to_owned(), 1.0)
}

fn write_three(world: &World) {
    world.register("k:", "keys", "");
    world.redis.cmd(&["MSET", "k:1", "a", "k:2", "b", "k:3", "c"]);
    world.redis.flush();
    // Times are reported after the acknowledgement, all in one report.
    let measured = || metrics(&world.redis)["writebehind_lag_seconds_count"];
    wait_until("the lag is known", SOON, || measured() == 3.0);
}

#[test]
fn every_number_of_status_is_a_metric() {
    let world = World::new();
    write_three(&world);
    let found = metrics(&world.redis);
    let prefix = world.redis.status_of("k:");
    for (status, scope, labels) in
        [(world.redis.status(), "", ""), (prefix, "prefix_", "{db=\"0\",prefix=\"k:\"}")]
    {
        let is_number = |name: &&str| matches!(status.value(name), Value::Int(_));
        let options = ["db", "whole", "shared", "unwrap", "sync_percent"];
        let figures = status.names().into_iter().filter(is_number);
        let figures: Vec<&str> = figures.filter(|name| !options.contains(name)).collect();
        assert!(figures.len() >= 18, "{figures:?}");
        for figure in figures {
            let (name, scale) = metric(figure);
            let series = format!("writebehind_{scope}{name}{labels}");
            let value = *found.get(&series).unwrap_or_else(|| panic!("no {series} in {found:?}"));
            if !["memory_bytes", "slice_max_us"].contains(&figure) {
                assert_eq!(value, status.int(figure) as f64 / scale, "{figure}");
            }
        }
    }
    assert_eq!(found["writebehind_written_total"], 3.0);
    assert_eq!((found["writebehind_link_up"], found["writebehind_broken"]), (1.0, 0.0));
    let version = env!("CARGO_PKG_VERSION");
    assert_eq!(found[&format!("writebehind_info{{version=\"{version}\",role=\"master\"}}")], 1.0);
}

#[test]
fn histograms_count_every_written_key_and_every_batch() {
    let world = World::new();
    write_three(&world);
    let found = metrics(&world.redis);
    let batches = found["writebehind_batches_total"];
    for (name, count) in [("writebehind_lag_seconds", 3.0), ("writebehind_batch_seconds", batches)]
    {
        assert_eq!(found[&format!("{name}_count")], count, "{name}");
        assert_eq!(found[&format!("{name}_bucket{{le=\"+Inf\"}}")], count, "{name}");
        assert_eq!(found[&format!("{name}_bucket{{le=\"3600\"}}")], count, "{name}");
        let sum = found[&format!("{name}_sum")];
        assert!(sum > 0.0 && sum < 3600.0, "{name}: {sum}");
        let below = |bound: &str| found[&format!("{name}_bucket{{le=\"{bound}\"}}")];
        let bounds = ["0.001", "0.0025", "0.005", "0.01", "0.1", "0.25", "1", "60", "3600"];
        assert!(bounds.map(below).is_sorted(), "{name}");
    }
    let info: String = world.redis.run(&["INFO", "writebehind"]);
    let lag = info.lines().find(|line| line.starts_with("writebehind_lag_us:le_1000="));
    assert!(lag.is_some_and(|lag| lag.trim().ends_with(",count=3")), "{info}");
}

#[test]
fn dead_letters_are_counted_by_code() {
    let world = World::new();
    world.database.run(doc! { "create": "valid", "validator": { "name": { "$exists": true } } });
    world.register("n:", "numbers", "KEY number AS INT64");
    world.register("v:", "valid", "");
    world.redis.cmd(&["SET", "n:word", "x"]);
    world.redis.cmd(&["HSET", "v:1", "other", "x"]);
    world.redis.cmd(&["HSET", "v:2", "other", "x"]);
    assert_eq!(world.redis.flush().failed, 3);
    let found = metrics(&world.redis);
    let of = |code: &str| found[&format!("writebehind_dead_letters_by_code{{code=\"{code}\"}}")];
    assert_eq!((of("0"), of("121")), (1.0, 2.0));
    let codes = world.redis.info("writebehind", "writebehind_dead_letter_codes");
    assert_eq!(codes.as_deref(), Some("0=1,121=2"));
    world.redis.cmd(&["HSET", "v:1", "name", "x"]);
    world.redis.flush();
    let found = metrics(&world.redis);
    assert_eq!(found["writebehind_dead_letters_by_code{code=\"121\"}"], 1.0);
}

#[test]
fn the_time_without_mongodb_is_added_up() {
    let redis = Redis::start(&unreachable_uri());
    redis.cmd(&["WB.REGISTER", "k:", "db.keys"]);
    wait_until("the link is down", SOON, || metrics(&redis)["writebehind_link_down"] == 1.0);
    let down = || metrics(&redis)["writebehind_link_down_seconds_total"];
    let before = down();
    wait_until("a tenth of a second passes", SOON, || down() >= before + 0.1);
}

#[test]
fn any_prefix_is_a_label() {
    let redis = Redis::start(&unreachable_uri());
    let prefixes: [&[u8]; 5] = [b"\xff:", b"\\xff:", b"a\"b\n", "Fältet:".as_bytes(), b""];
    for (number, prefix) in prefixes.into_iter().enumerate() {
        let mut register = command(&["WB.REGISTER"]);
        register.arg(prefix).arg(format!("db.c{number}"));
        register.exec(&mut redis.connect()).expect("OK");
    }
    let found = metrics(&redis);
    for label in ["\\\\xff:", "\\\\\\\\xff:", "a\\\"b\\n", "Fältet:", ""] {
        let series = format!("writebehind_prefix_dirty_keys{{db=\"0\",prefix=\"{label}\"}}");
        assert!(found.contains_key(&series), "{series} in {found:?}");
    }
}

#[test]
fn so_many_prefixes_have_metrics_and_the_rest_is_counted() {
    let redis = Redis::start(&unreachable_uri());
    for number in 0..144 {
        redis.cmd(&["WB.REGISTER", &format!("tenant:{number}:"), &format!("db.tenant{number}")]);
    }
    for (arguments, most) in [(&[][..], 100), (&["PREFIXES", "3"], 3), (&["PREFIXES", "200"], 144)]
    {
        let found = metrics_of(&redis, arguments);
        let own = found.keys().filter(|series| series.starts_with("writebehind_prefix_info{"));
        assert_eq!(own.count(), most);
        assert_eq!(found["writebehind_prefixes_omitted"], (144 - most) as f64);
        assert_eq!(found["writebehind_registrations"], 144.0);
    }
    let error = redis.error(&["WB.METRICS", "PREFIXES", "many"]);
    assert!(error.contains("PREFIXES takes a whole number from 0 to 1000"), "{error}");
}

#[test]
fn a_replica_says_that_it_is_one() {
    let master = Redis::start(&unreachable_uri());
    let replica = Redis::start(&unreachable_uri());
    replica.follow(&master);
    replica.wait_until_in_sync_with(&master);
    let version = env!("CARGO_PKG_VERSION");
    let series = format!("writebehind_info{{version=\"{version}\",role=\"replica\"}}");
    assert_eq!(metrics(&replica).get(&series), Some(&1.0));
}
