//! Clients in all states: in MULTI, subscribed, tracking, with few rights, gone.

use std::time::Instant;

use redis::Value;
use testkit::redis_server::{Setup, command};

use super::*;

#[test]
fn multi_is_behind_or_refused() {
    let world = World::new();
    through(&world, "INTERVAL 60000");
    let redis = &world.redis;
    let mut client = raw(&world);
    client.reply(&["MULTI"]);
    assert_eq!(client.text(&["SET", "k:1", "a"]), "+QUEUED\r\n");
    client.reply(&["INCR", "k:2"]);
    assert_eq!(client.text(&["EXEC"]), "*2\r\n+OK\r\n:1\r\n");
    assert_eq!(figure(redis, "dirty_keys"), 2);
    assert_eq!(figure(redis, "through_unheld_total"), 2);
    let refuse = ["CONFIG", "SET", "writebehind.through-multi", "refuse"];
    if redis.is_redis_7_0() {
        let error = redis.error(&refuse);
        assert!(error.contains("through-multi refuse needs Redis 7.2 or newer"), "{error}");
        return;
    }
    redis.cmd(&refuse);
    client.reply(&["MULTI"]);
    let error = client.text(&["SET", "k:1", "secret"]);
    assert!(error.contains("MODE THROUGH does not wait in MULTI"), "{error}");
    assert!(!error.contains("secret"), "{error}");
    assert_eq!(client.text(&["GET", "k:1"]), "+QUEUED\r\n");
    assert!(client.text(&["EXEC"]).starts_with("-EXECABORT"));
    assert_eq!(client.text(&["GET", "k:1"]), "$1\r\na\r\n");
    client.reply(&["MULTI"]);
    assert_eq!(client.text(&["SET", "other", "b"]), "+QUEUED\r\n");
    assert_eq!(client.text(&["EXEC"]), "*1\r\n+OK\r\n");
    // Outside of MULTI it waits.
    assert_eq!(client.text(&["SET", "k:1", "b"]), "+OK\r\n");
    world.holds("keys", "1", "b");
}

#[test]
fn blocking_commands_block_and_are_behind() {
    let world = World::new();
    through(&world, "");
    let mut client = raw(&world);
    client.send(&["BLPOP", "k:l", "0"]).unwrap();
    wait_until("it blocks", SOON, || {
        world.redis.info("clients", "blocked_clients").as_deref() == Some("1")
    });
    assert_eq!(raw(&world).text(&["RPUSH", "k:l", "a"]), ":1\r\n");
    assert_eq!(client.read().unwrap(), b"*2\r\n$3\r\nk:l\r\n$1\r\na\r\n");
    is_free(&world.redis);
    world.redis.flush();
    assert!(world.database.collection("keys").by_id("l").is_none());
}

#[test]
fn clients_that_are_unblocked_killed_or_disconnected_leave_nothing() {
    let world = World::new();
    through(&world, "TIMEOUT 60000");
    let redis = &world.redis;
    redis.cmd(&["WB.PAUSE"]);
    let mut clients: Vec<RawClient> = (0..4).map(|_| raw(&world)).collect();
    let ids: Vec<String> = clients
        .iter_mut()
        .map(|client| client.text(&["CLIENT", "ID"]).trim_matches([':', '\r', '\n']).to_owned())
        .collect();
    for (number, client) in clients.iter_mut().enumerate() {
        client.send(&["SET", &format!("k:{number}"), "a"]).unwrap();
    }
    wait_for_writers(redis, 4);
    assert_eq!(redis.run::<i64>(&["CLIENT", "UNBLOCK", &ids[0]]), 1);
    let reply = String::from_utf8(clients[0].read().unwrap()).unwrap();
    assert!(reply.starts_with("-WBTIMEOUT "), "{reply}");
    assert_eq!(clients[0].text(&["PING"]), "+PONG\r\n");
    assert_eq!(redis.run::<i64>(&["CLIENT", "UNBLOCK", &ids[1], "ERROR"]), 1);
    let reply = String::from_utf8(clients[1].read().unwrap()).unwrap();
    assert!(reply.starts_with("-UNBLOCKED "), "{reply}");
    assert_eq!(clients[1].text(&["PING"]), "+PONG\r\n");
    redis.cmd(&["CLIENT", "KILL", "ID", &ids[2]]);
    drop(clients.pop());
    is_free(redis);
    redis.cmd(&["WB.RESUME"]);
    redis.flush();
    assert_eq!(world.database.collection("keys").count(), 4, "all are written");
}

#[test]
fn a_reply_that_the_client_does_not_want_is_not_sent() {
    let world = World::new();
    through(&world, "");
    let mut client = raw(&world);
    client.send(&["CLIENT", "REPLY", "SKIP"]).unwrap();
    client.send(&["SET", "k:1", "a"]).unwrap();
    assert_eq!(client.text(&["SET", "k:2", "b"]), "+OK\r\n");
    client.send(&["CLIENT", "REPLY", "OFF"]).unwrap();
    client.send(&["SET", "k:3", "c"]).unwrap();
    assert_eq!(client.text(&["CLIENT", "REPLY", "ON"]), "+OK\r\n");
    assert_eq!(client.text(&["GET", "k:3"]), "$1\r\nc\r\n");
    world.holds("keys", "3", "c");
}

#[test]
fn a_subscribed_client_of_resp3_is_held_or_counted() {
    let world = World::new();
    through(&world, "INTERVAL 60000");
    let mut client = world.redis.connect_resp3();
    client.subscribe_resp3("channel").expect("subscribe");
    let is_valkey = world.redis.info("server", "server_name").as_deref() == Some("valkey");
    let reply: String = command(&["SET", "k:1", "a"]).query(&mut client).unwrap();
    assert_eq!(reply, "OK");
    assert_eq!(figure(&world.redis, "through_unheld_total"), i64::from(is_valkey));
    if !is_valkey {
        world.holds("keys", "1", "a");
    }
}

#[test]
fn a_client_that_tracks_keys_learns_of_its_own_change_before_the_reply() {
    let world = World::new();
    through(&world, "");
    let mut client = RawClient::new(world.redis.port(), "3");
    client.reply(&["CLIENT", "TRACKING", "ON"]);
    world.redis.cmd(&["SET", "k:1", "a"]);
    assert_eq!(client.text(&["GET", "k:1"]), "$1\r\na\r\n");
    client.send(&["SET", "k:1", "b"]).unwrap();
    let push = String::from_utf8(client.read().unwrap()).unwrap();
    assert!(push.starts_with(">2\r\n$10\r\ninvalidate"), "{push}");
    assert_eq!(client.read().unwrap(), b"+OK\r\n");
    world.holds("keys", "1", "b");
}

#[test]
fn a_user_needs_the_rights_of_the_command_and_of_the_keys() {
    let world = World::new();
    through(&world, "");
    let redis = &world.redis;
    redis.cmd(&["ACL", "SETUSER", "writer", "on", "nopass", "~k:*", "+set", "+wb.write"]);
    redis.cmd(&["ACL", "SETUSER", "other", "on", "nopass", "~x:*", "+@all"]);
    redis.cmd(&["ACL", "SETUSER", "all", "on", "nopass", "~*", "+@write", "+auth"]);
    let as_user = |user: &str, words: &[&str]| {
        let mut client = raw(&world);
        client.reply(&["AUTH", user, "x"]);
        client.text(words)
    };
    assert_eq!(as_user("writer", &["SET", "k:1", "a"]), "+OK\r\n");
    world.holds("keys", "1", "a");
    for (user, words) in [
        ("writer", &["APPEND", "k:1", "x"][..]),
        ("other", &["SET", "k:1", "x"]),
        ("writer", &["WB.WRITEX", "DEL", "k:1"]),
    ] {
        let error = as_user(user, words);
        assert!(error.starts_with("-NOPERM") || error.contains("acl"), "{user} {words:?}: {error}");
    }
    assert_eq!(redis.run::<String>(&["GET", "k:1"]), "a");
    if !redis.is_redis_7_0() {
        assert_eq!(as_user("all", &["SET", "k:1", "b"]), "+OK\r\n", "with @write alone");
    }
}

#[test]
fn monitor_slowlog_and_command_getkeys_show_the_command_itself() {
    let world = World::new();
    through(&world, "");
    let redis = &world.redis;
    redis.cmd(&["CONFIG", "SET", "slowlog-log-slower-than", "0"]);
    let mut monitor = raw(&world);
    monitor.reply(&["MONITOR"]);
    redis.cmd(&["SET", "k:1", "a"]);
    let line = |monitor: &mut RawClient| String::from_utf8(monitor.read().unwrap()).unwrap();
    let shown = line(&mut monitor);
    assert!(
        shown.to_lowercase().contains("\"set\" \"k:1\" \"a\"") && !shown.contains("WB."),
        "{shown}"
    );
    let slow: Value = redis.cmd(&["SLOWLOG", "GET", "-1"]);
    let slow = format!("{slow:?}").to_lowercase();
    assert!(slow.contains("k:1") && !slow.contains("wb.write"), "{slow}");
    let keys: Vec<String> =
        redis.run(&["COMMAND", "GETKEYS", "WB.WRITE", "MSET", "k:1", "a", "k:2", "b"]);
    assert_eq!(keys, ["k:1", "k:2"]);
}

#[test]
fn without_memory_only_what_needs_none_is_run() {
    let world = World::new();
    through(&world, "");
    let redis = &world.redis;
    redis.cmd(&["SET", "k:1", "a"]);
    redis.cmd(&["CONFIG", "SET", "maxmemory", "1"]);
    let mut client = raw(&world);
    assert!(client.text(&["SET", "k:1", "b"]).starts_with("-OOM "));
    client.reply(&["MULTI"]);
    assert!(client.text(&["SET", "k:1", "b"]).starts_with("-OOM "));
    assert!(client.text(&["EXEC"]).starts_with("-EXECABORT"));
    assert_eq!(client.text(&["DEL", "k:1"]), ":1\r\n");
    assert!(world.database.collection("keys").by_id("1").is_none());
}

#[test]
fn watch_sees_a_held_write_at_once() {
    let world = World::new();
    through(&world, "TIMEOUT 60000");
    let mut client = raw(&world);
    client.reply(&["WATCH", "k:1"]);
    let lock = lock(&world, &["2"]);
    let mut writer = raw(&world);
    writer.send(&["MSET", "k:1", "a", "k:2", "b"]).unwrap();
    wait_for_writers(&world.redis, 1);
    client.reply(&["MULTI"]);
    client.reply(&["PING"]);
    assert_eq!(client.text(&["EXEC"]), "*-1\r\n");
    lock.end();
    writer.read().unwrap();
}

#[test]
fn in_a_pause_a_write_runs_once_after_it() {
    let world = World::new();
    through(&world, "");
    let redis = &world.redis;
    redis.cmd(&["CLIENT", "PAUSE", "400", "WRITE"]);
    let began = Instant::now();
    let mut client = raw(&world);
    assert_eq!(client.text(&["INCR", "k:1"]), ":1\r\n");
    assert!(began.elapsed().as_millis() >= 300);
    world.holds("keys", "1", "1");
    assert_eq!(figure(redis, "through_writes_total"), 1);
    // A pause that begins while a client waits.
    let lock = lock(&world, &["2"]);
    client.send(&["SET", "k:2", "a"]).unwrap();
    wait_for_writers(redis, 1);
    redis.cmd(&["CLIENT", "PAUSE", "60000", "WRITE"]);
    lock.end();
    assert!(!client.has_reply(A_WHILE), "nothing is acknowledged in a pause");
    redis.cmd(&["CLIENT", "UNPAUSE"]);
    assert_eq!(client.read().unwrap(), b"+OK\r\n");
}

#[test]
fn replicas_have_the_write_before_mongodb_and_wait_counts_them() {
    let world = World::new();
    through(&world, "TIMEOUT 60000");
    let replica = Setup::new(&Mongod::shared().uri()).start();
    replica.follow(&world.redis);
    let lock = lock(&world, &["1"]);
    let mut client = raw(&world);
    client.send(&["SET", "k:1", "new"]).unwrap();
    wait_for_writers(&world.redis, 1);
    wait_until("the replica has it", SOON, || {
        replica.run::<Option<String>>(&["GET", "k:1"]).as_deref() == Some("new")
    });
    lock.end();
    assert_eq!(client.read().unwrap(), b"+OK\r\n");
    assert_eq!(client.text(&["WAIT", "1", "2000"]), ":1\r\n");
    replica.wait_until_in_sync_with(&world.redis);
    assert_eq!(replica.status().int("dirty_keys"), 0);
    assert_eq!(replica.status().int("through_unheld_total"), 0);
    // After its promotion it holds its own.
    replica.promote();
    wait_until("it writes", 3 * SOON, || {
        replica.status().text("link") == "up" && {
            let mut client = RawClient::new(replica.port(), "2");
            client.text(&["SET", "k:3", "c"]) == "+OK\r\n"
        }
    });
    world.holds("keys", "3", "c");
}

#[test]
fn the_aof_has_the_commands_themselves() {
    let mut world = World::with(|setup| setup.config("appendonly yes"));
    through(&world, "");
    for words in [&["SET", "k:1", "a"][..], &["INCRBYFLOAT", "k:2", "1.5"], &["RPUSH", "k:l", "a"]]
    {
        world.redis.cmd(words);
    }
    world.redis.kill();
    world.redis.restart();
    assert_eq!(world.redis.run::<String>(&["GET", "k:2"]), "1.5");
    assert_eq!(world.redis.run::<i64>(&["LLEN", "k:l"]), 1);
}
