//! The sources of the connection string, and its change while there is a backlog.

use std::time::{Duration, Instant};

use testkit::comparison::Mapping;
use testkit::mongod::{Mongod, unreachable_uri};
use testkit::redis_server::{Redis, Setup};
use testkit::wait::{SOON, became, wait_until};

fn write(redis: &Redis, keys: std::ops::Range<u32>, value: &str) {
    let script = "for i = ARGV[1], ARGV[2] - 1 do redis.call('SET', 'k:' .. i, ARGV[3]) end";
    let (from, to) = (keys.start.to_string(), keys.end.to_string());
    redis.cmd(&["EVAL", script, "0", &from, &to, value]);
}

fn set_uri(redis: &Redis, uri: &str) {
    redis.cmd(&["CONFIG", "SET", "writebehind.mongodb-uri", uri]);
}

#[test]
fn a_new_server_gets_everything_that_the_old_one_did_not_acknowledge() {
    let (old, new) = (Mongod::replica_set(), Mongod::pooled());
    let redis = Setup::new(&old.uri()).setting("retry-backoff-max-ms", "500").start();
    let collection = |mongod: &Mongod| mongod.named_database("moved").collection("keys");
    redis.cmd(&["WB.REGISTER", "k:", &old.named_database("moved").namespace("keys")]);
    write(&redis, 0..1000, "acknowledged");
    redis.flush();
    // When the URI changes, some keys are in flight and some are dirty.
    old.freeze();
    write(&redis, 500..10_000, "backlog");
    wait_until("in flight", SOON, || redis.status().int("in_flight_keys") > 0);
    set_uri(&redis, &new.uri());
    write(&redis, 9_000..11_000, "later");
    let flushed = redis.flush_with(&["TIMEOUT", "15000"]);
    assert_eq!((flushed.failed, flushed.pending), (0, 0), "{flushed:?}");
    // Keys that the old server had acknowledged are clean and not sent again.
    assert_eq!(collection(&new).count(), 10_500);
    for (id, value) in [("0", None), ("500", Some("backlog")), ("10999", Some("later"))] {
        let found = collection(&new).by_id(id);
        let found = found.map(|document| document.get_str("value").expect("value").to_owned());
        assert_eq!(found.as_deref(), value, "{id}");
    }
    old.thaw();
    assert_eq!(redis.status().int("dead_letters"), 0);
}

#[test]
fn switching_the_uri_back_and_forth_with_a_backlog_loses_nothing() {
    let mongod = Mongod::pooled();
    let redis = Setup::new(&mongod.uri()).setting("retry-backoff-max-ms", "200").start();
    let database = mongod.named_database("moved");
    redis.cmd(&["WB.REGISTER", "k:", &database.namespace("keys"), "INTERVAL", "0"]);
    for turn in 0..10 {
        write(&redis, 0..2000, &turn.to_string());
        set_uri(&redis, &if turn % 2 == 0 { unreachable_uri() } else { mongod.uri() });
    }
    Mapping::by_id("k:").holds(&redis, &database.collection("keys"));
}

#[test]
fn an_srv_name_without_a_record_is_reported_soon() {
    let redis = Redis::start("mongodb+srv://cluster0.nowhere.invalid");
    redis.cmd(&["WB.REGISTER", "k:", "db.keys"]);
    let start = Instant::now();
    redis.cmd(&["SET", "k:1", "x"]);
    let is_down = became(SOON, || redis.status().text("link") == "down");
    let error = redis.status().text("link_error");
    assert!(is_down && start.elapsed() < Duration::from_secs(10), "{:?} {error}", start.elapsed());
    assert!(error.contains("mongodb+srv"), "{error}");
    assert_eq!(redis.status().int("dirty_keys"), 1);
}

/// Sets a connection string that must be refused, and returns the error. The module must keep
/// working.
#[track_caller]
fn refusal(redis: &Redis, uri: &str) -> String {
    let error = redis.error(&["CONFIG", "SET", "writebehind.mongodb-uri", uri]);
    assert_eq!(redis.info("writebehind", "writebehind_broken").as_deref(), Some("0"), "{uri}");
    error
}

#[test]
fn an_invalid_option_is_refused_with_its_name_when_it_is_set() {
    let redis = Redis::start(&unreachable_uri());
    for (options, words) in [
        ("maxPoolSize=0", "its option maxPoolSize takes a whole number from 1"),
        ("heartbeatFrequencyMS=100", "its option heartbeatFrequencyMS takes milliseconds, a whole"),
        ("tz_aware=true", "no option tz_aware that MongoDB knows"),
        ("loadBalanced=true&replicaSet=rs", "loadBalanced=true takes no replicaSet"),
        ("serverSelectionTimeoutMS=0", "its option serverSelectionTimeoutMS takes milliseconds"),
        ("connectTimeoutMS=99999999999999", "its option connectTimeoutMS takes milliseconds"),
    ] {
        let error = refusal(&redis, &format!("mongodb://127.0.0.1:27017/?{options}"));
        assert!(error.contains(words), "{error}");
    }
    let error = refusal(&redis, "mongodb://127.0.0.1:99999");
    assert!(error.contains("the port of a host is no number from 1 to 65535"), "{error}");
    let error = refusal(&redis, "mongodb://ann:%aünter@h");
    assert!(error.contains("percent-encoded"), "{error}");
}

#[test]
fn an_option_without_effect_is_accepted_and_logged() {
    let options =
        "socketTimeoutMS=30000&compressors=zstd&readPreference=secondaryPreferred&timeoutMS=1";
    let redis = Redis::start(&unreachable_uri());
    set_uri(&redis, &format!("{}&{options}", Mongod::shared().uri()));
    let database = Mongod::shared().database();
    redis.cmd(&["WB.REGISTER", "k:", &database.namespace("keys")]);
    write(&redis, 0..10, "x");
    assert_eq!(redis.flush_with(&["TIMEOUT", "15000"]).pending, 0);
    let log = redis.log();
    for name in ["socketTimeoutMS", "compressors", "readPreference", "timeoutMS"] {
        let note = format!("the option {name} of the connection string has no effect: ");
        assert!(log.contains(&note), "{log}");
    }
}

#[test]
fn a_wrong_load_balancer_and_a_missing_file_are_reported_with_their_option() {
    let redis = Redis::start(&format!(
        "mongodb://127.0.0.1:{}/?loadBalanced=true",
        Mongod::shared().port()
    ));
    redis.cmd(&["WB.REGISTER", "k:", "db.keys"]);
    write(&redis, 0..1, "x");
    let reports = |words: &str| redis.status().text("link_error").contains(words);
    wait_until("the option is named", SOON, || reports("loadBalanced=true"));
    set_uri(&redis, "mongodb://127.0.0.1/?tls=true&tlsCAFile=/nonexistent/ca");
    wait_until("the option is named", SOON, || reports("option tlsCAFile names cannot be read"));
}
