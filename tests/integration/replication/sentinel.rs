//! The configuration of docs/FAILOVER.md for Sentinel: the master is killed under load, a replica is promoted,
//! and the old master comes back.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use redis::Connection;
use testkit::comparison::Mapping;
use testkit::mongod::Mongod;
use testkit::redis_server::reply::Fields;
use testkit::redis_server::sentinel::Sentinels;
use testkit::redis_server::{Redis, Setup, command};
use testkit::wait::{SOON, wait_until};

/// A Sentinel sends a PING a second. With a second here, on a busy machine the new master counted as down
/// before its first reply, and was replaced by the old one.
const DOWN_AFTER_MS: u64 = 5000;

fn server(uri: &str) -> Redis {
    let setup = Setup::new(uri).config("repl-diskless-sync-delay 0");
    setup.config("appendonly yes").config("appendfsync everysec").start()
}

fn write(connection: &mut Connection, number: u64, turn: u64) -> bool {
    let (key, value) = (format!("k:{}", number % 500), format!("{turn} {number}"));
    let write = match number % 20 {
        0 => command(&["DEL", &key]),
        _ => command(&["HSET", &key, "value", &value, "turn", &turn.to_string()]),
    };
    write.query::<i64>(connection).is_ok()
}

/// The server's role. A sentinel closes the connections of clients when it changes.
fn role(redis: &Redis) -> Option<String> {
    let mut connection = redis.try_connect("").ok()?;
    let status: Fields = command(&["WB.STATUS"]).query(&mut connection).ok()?;
    Some(status.text("role"))
}

#[test]
fn a_killed_master_is_replaced_under_load_and_overwrites_nothing_when_it_comes_back() {
    let database = Mongod::shared().database();
    let uri = Mongod::shared().uri();
    let (mut old, new) = (server(&uri), server(&uri));
    let namespace = database.namespace("keys");
    old.cmd(&["WB.REGISTER", "k:", &namespace, "INTERVAL", "1000", "TYPE", "HASH"]);
    new.follow(&old);
    let sentinels = Sentinels::of(&old, 3, DOWN_AFTER_MS);
    let (ends, count) = (AtomicBool::new(false), AtomicU64::new(0));
    let old_port = old.port();
    let mut writer = old.connect();
    while count.fetch_add(1, Ordering::Relaxed) < 5_000 {
        assert!(write(&mut writer, count.load(Ordering::Relaxed), 1));
    }
    assert!(old.status().int("dirty_keys") > 0, "keys are dirty at the kill");
    old.kill();
    wait_until("a replica is promoted", SOON, || sentinels.master() == Some(new.port()));
    wait_until("it is the master", SOON, || role(&new).as_deref() == Some("master"));
    new.reconnect();
    std::thread::scope(|scope| {
        let ends = &ends;
        let count = &count;
        // A connection to the new master, as a client of Sentinel has.
        let port = new.port();
        scope.spawn(move || {
            let client = redis::Client::open(("127.0.0.1", port)).expect("address");
            let mut connection = client.get_connection().expect("connection");
            while !ends.load(Ordering::Relaxed) {
                let number = count.fetch_add(1, Ordering::Relaxed);
                assert!(write(&mut connection, number, 2));
            }
        });
        wait_until("it writes", SOON, || new.status().int("written_total") > 100);
        // The dirty keys are in the AOF of the old master, which is a master at first.
        old.restart();
        assert_eq!(old.port(), old_port);
        old.flush_with_error(&["TIMEOUT", "500"]);
        // A Sentinel takes 10 s at the least.
        wait_until("the old master is a replica", 3 * SOON, || {
            role(&old).as_deref() == Some("replica")
        });
        old.reconnect();
        wait_until("it is linked", SOON, || old.is_linked());
        ends.store(true, Ordering::Relaxed);
    });
    Mapping::by_id("k:").holds(&new, &database.collection("keys"));
    // It learns of it by the stream.
    wait_until("the replica knows that all is written", SOON, || {
        old.status().int("dirty_keys") == 0
    });
}
