//! SHUTDOWN while clients are held.

use redis::Value;
use testkit::redis_server::Setup;

use super::*;

/// Replies of all types; to RESP2 the server tells them in its own way.
const ALL_TYPES: &str = "redis.setresp(3) redis.call('set', KEYS[1], ARGV[1]) return {1, -7, 'a', '', true, false, \
                         {double=3.5}, {double=-1e300}, {map={a={}}}, {set={b=true}}, {big_number='123456789012345678901234567890'}, \
                         {verbatim_string={format='txt', string='hi'}}, {ok='FINE'}, {err='ERR own'}, {{{1}}}}";
const WRITES: [&[&str]; 7] = [
    &["SET", "k:1", "a"],
    &["INCR", "k:2"],
    &["SET", "k:3", "b", "GET"],
    &["EVAL", ALL_TYPES, "1", "k:4", "x"],
    &["HINCRBYFLOAT", "h:1", "f", "1.5"],
    &["ZADD", "z:1", "INCR", "1.5", "m"],
    &["SPOP", "s:1", "1"],
];

/// A server whose MongoDB is reached, and stands still when the function is called. The server sends replies at its end only
/// if the module's context is older than that threshold.
fn start(mongod: &Mongod, drain_ms: &str, change: impl FnOnce(Setup) -> Setup) -> Redis {
    let setup = Setup::new(&mongod.uri())
        .setting("shutdown-drain-ms", drain_ms)
        .setting("through-timeout-ms", "60000")
        .config("busy-reply-threshold 1");
    let redis = change(setup).start();
    let prefixes = [("k:", "STRING"), ("h:", "HASH"), ("z:", "ZSET"), ("s:", "SET")];
    for (prefix, of) in prefixes {
        let collection = format!("writes.{of}");
        let words =
            ["WB.REGISTER", prefix, &collection, "TYPE", of, "MODE", "THROUGH", "READTHROUGH"];
        redis.cmd(&words);
    }
    redis
}

/// What the commands need.
fn prepare(redis: &Redis) {
    redis.cmd(&["SET", "k:2", "41"]);
    redis.cmd(&["SET", "k:3", "old"]);
    redis.cmd(&["SADD", "s:1", "one"]);
}

/// Clients that wait, one for each command.
fn waiting(redis: &Redis, protocol: &str) -> Vec<RawClient> {
    let clients = WRITES.iter().map(|words| {
        let mut client = RawClient::new(redis.port(), protocol);
        client.send(words).unwrap();
        client
    });
    clients.collect()
}

fn text(client: &mut RawClient) -> String {
    String::from_utf8_lossy(&client.read().expect("a reply")).into_owned()
}

#[test]
fn a_client_whose_write_mongodb_has_gets_its_reply() {
    for (protocol, config) in [("2", "appendonly yes"), ("3", "io-threads 4")] {
        let mongod = Mongod::pooled();
        let mut redis = start(&mongod, "30000", |setup| setup.config(config));
        let plain = Setup::without_module().start();
        prepare(&plain);
        prepare(&redis);
        // So that no key is missing.
        for words in WRITES {
            redis.run::<Value>(&["EXISTS", words.iter().find(|word| word.contains(':')).unwrap()]);
        }
        let mut own = RawClient::new(plain.port(), protocol);
        let expected = WRITES.map(|words| own.reply(words));
        mongod.freeze();
        let mut clients = waiting(&redis, protocol);
        wait_for_writers(&redis, clients.len() as i64);
        let [mut operator, mut other, mut second] = [(); 3].map(|()| raw_of(&redis));
        operator.send(&["SHUTDOWN", "NOSAVE"]).unwrap();
        wait_until("the server shuts down", SOON, || {
            redis.log().contains("User requested shutdown")
        });
        // The server handles these at its end only.
        other.send(&["SET", "other", "x"]).unwrap();
        second.send(&["SHUTDOWN", "NOSAVE"]).unwrap();
        mongod.thaw();
        for ((client, words), expected) in clients.iter_mut().zip(WRITES).zip(expected) {
            let reply = client.read().expect("a reply");
            let texts = [&reply, &expected].map(|bytes| String::from_utf8_lossy(bytes));
            assert_eq!(texts[0], texts[1], "{words:?}");
        }
        assert!(redis.wait_for_end().success());
        let stored = mongod.named_database("writes").collection("STRING");
        assert_eq!(stored.text("1", "value"), "a");
    }
}

#[test]
fn a_client_whose_write_mongodb_does_not_have_gets_an_error() {
    let mongod = Mongod::pooled();
    let mut redis = start(&mongod, "200", |setup| setup);
    assert_eq!(redis.run::<String>(&["SET", "k:1", "a"]), "OK");
    mongod.freeze();
    let mut writer = raw_of(&redis);
    writer.send(&["SET", "k:1", "b"]).unwrap();
    let mut reader = raw_of(&redis);
    reader.send(&["GET", "k:none"]).unwrap();
    wait_for_writers(&redis, 1);
    wait_until("the reader waits", SOON, || redis.status().int("readers_waiting") == 1);
    redis.terminate();
    let error = text(&mut writer);
    assert!(error.starts_with("-WBTIMEOUT the server has shut down before MongoDB had"), "{error}");
    let error = text(&mut reader);
    assert!(
        error.starts_with("-WBTIMEOUT the server has shut down before the document"),
        "{error}"
    );
    assert!(redis.wait_for_end().success());
    mongod.thaw();
}

#[test]
fn a_client_is_answered_although_mongodb_does_not_write_the_key_of_another_one() {
    let mongod = Mongod::pooled();
    let mut redis = start(&mongod, "30000", |setup| setup);
    assert_eq!(redis.run::<String>(&["SET", "k:1", "a"]), "OK");
    prepare(&redis);
    let lock = Transaction::hold(&mongod, "writes", "STRING", &["1"]);
    mongod.freeze();
    let (mut slow, mut fast) = (raw_of(&redis), raw_of(&redis));
    slow.send(&["SET", "k:1", "b"]).unwrap();
    fast.send(&["SADD", "s:1", "two"]).unwrap();
    wait_for_writers(&redis, 2);
    redis.terminate();
    wait_until("the server shuts down", SOON, || redis.log().contains("User requested shutdown"));
    mongod.thaw();
    assert!(fast.has_reply(SOON));
    assert_eq!(text(&mut fast), ":1\r\n");
    assert!(!slow.has_reply(A_WHILE));
    assert!(redis.ended().is_none());
    lock.end();
    assert_eq!(text(&mut slow), "+OK\r\n");
    assert!(redis.wait_for_end().success());
}

#[test]
fn a_reply_that_is_too_long_to_be_kept_is_an_error_that_says_so() {
    let mongod = Mongod::pooled();
    let mut redis = start(&mongod, "30000", |setup| setup);
    let long = "x".repeat(70_000);
    assert_eq!(redis.run::<String>(&["SET", "k:1", &long]), "OK");
    mongod.freeze();
    let before = redis.status().int("memory_bytes");
    let mut client = raw_of(&redis);
    client.send(&["SET", "k:1", "b", "GET"]).unwrap();
    wait_for_writers(&redis, 1);
    assert!(redis.status().int("memory_bytes") - before > 70_000, "the server has it all the same");
    redis.terminate();
    wait_until("the server shuts down", SOON, || redis.log().contains("User requested shutdown"));
    mongod.thaw();
    let error = text(&mut client);
    assert!(
        error.starts_with("-WBTIMEOUT the server has shut down; MongoDB has the write"),
        "{error}"
    );
    assert!(redis.wait_for_end().success());
    assert_eq!(mongod.named_database("writes").collection("STRING").text("1", "value"), "b");
}

fn raw_of(redis: &Redis) -> RawClient {
    RawClient::new(redis.port(), "2")
}
