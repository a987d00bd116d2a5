//! Scripts and functions, which may write or not.

use testkit::redis_server::Setup;

use super::*;

#[test]
fn scripts_wait_for_what_they_change_if_they_declare_a_key() {
    let world = World::new();
    through(&world, "INTERVAL 60000");
    let redis = &world.redis;
    let script = "redis.call('set', KEYS[1], 'a') return redis.call('set', 'k:2', 'b')";
    let sha: String = redis.run(&["SCRIPT", "LOAD", script]);
    assert_eq!(redis.run::<String>(&["EVALSHA", &sha, "1", "k:1"]), "OK");
    world.holds("keys", "1", "a");
    world.holds("keys", "2", "b");
    let library = "#!lua name=lib\nredis.register_function('put', function(keys, args) \
                   return redis.call('set', keys[1], args[1]) end)";
    redis.cmd(&["FUNCTION", "LOAD", library]);
    assert_eq!(redis.run::<String>(&["FCALL", "put", "1", "k:3", "c"]), "OK");
    world.holds("keys", "3", "c");
    assert_eq!(figure(redis, "through_unheld_total"), 0);
    redis.cmd(&["EVAL", "return redis.call('set', ARGV[1], 'd')", "0", "k:4"]);
    assert_eq!(figure(redis, "through_unheld_total"), 1);
    assert!(world.database.collection("keys").by_id("4").is_none());
}

/// The words of a script of one key that says that it does not write.
fn reads(key: &str) -> [&str; 4] {
    ["EVAL", "#!lua flags=no-writes\nreturn redis.call('get', KEYS[1])", "1", key]
}

#[test]
fn a_script_that_only_reads_runs_while_the_server_refuses_writes() {
    let world = World::new();
    through(&world, "");
    register(&world, "r:", "others", "TYPE STRING READTHROUGH");
    let redis = &world.redis;
    redis.cmd(&["SET", "k:1", "a"]);
    redis.cmd(&["SET", "r:1", "b"]);
    redis.flush();
    redis.cmd(&["CONFIG", "SET", "maxmemory-policy", "allkeys-lru"]);
    redis.cmd(&["CONFIG", "SET", "maxmemory", "1"]);
    wait_until("the keys are evicted", SOON, || redis.run::<i64>(&["DBSIZE"]) == 0);
    redis.cmd(&["CONFIG", "SET", "maxmemory", "0"]);
    redis.cmd(&["SET", "k:1", "a"]);
    redis.cmd(&["CONFIG", "SET", "min-replicas-to-write", "1"]);
    assert_eq!(redis.run::<String>(&reads("k:1")), "a");
    assert_eq!(redis.run::<String>(&reads("r:1")), "b", "which is loaded for that");
    assert_eq!(redis.run::<i64>(&["PFCOUNT", "r:none"]), 0);
    for writes in
        ["#!lua\nreturn redis.call('set', KEYS[1], 'x')", "return redis.call('set', KEYS[1], 'x')"]
    {
        let error = redis.error(&["EVAL", writes, "1", "k:1"]);
        assert!(error.to_lowercase().contains("not enough good replicas"), "{error}");
    }
    redis.cmd(&["CONFIG", "SET", "min-replicas-to-write", "0"]);
    assert_eq!(redis.run::<String>(&["GET", "k:1"]), "a");
}

#[test]
fn a_script_in_multi_runs_after_the_master_has_become_a_replica() {
    let world = World::new();
    through(&world, "");
    let master = Setup::new(&Mongod::shared().uri()).start();
    let redis = &world.redis;
    let mut client = raw(&world);
    assert_eq!(client.text(&["SET", "k:1", "a"]), "+OK\r\n");
    client.reply(&["MULTI"]);
    assert_eq!(client.text(&reads("k:none")), "+QUEUED\r\n");
    let writes = ["EVAL", "return redis.call('set', KEYS[1], 'x')", "1", "k:1"];
    assert_eq!(client.text(&writes), "+QUEUED\r\n");
    redis.follow(&master);
    let replies = client.text(&["EXEC"]);
    assert!(replies.starts_with("*2\r\n$-1\r\n-"), "{replies}");
    assert!(replies.contains("READONLY"), "{replies}");
}

#[test]
fn in_a_pause_a_script_that_writes_runs_once_after_it() {
    let world = World::new();
    through(&world, "");
    let redis = &world.redis;
    let mut client = raw(&world);
    redis.cmd(&["CLIENT", "PAUSE", "60000", "WRITE"]);
    client.send(&["EVAL", "return redis.call('incr', KEYS[1])", "1", "k:1"]).unwrap();
    assert!(!client.has_reply(A_WHILE));
    redis.cmd(&["CLIENT", "UNPAUSE"]);
    assert_eq!(client.read().unwrap(), b":1\r\n");
    world.holds("keys", "1", "1");
}

#[test]
fn the_keys_of_a_script_are_kept_for_a_client_that_tracks_them() {
    let world = World::new();
    through(&world, "");
    let mut client = RawClient::new(world.redis.port(), "3");
    assert_eq!(client.text(&["SET", "k:1", "a"]), "+OK\r\n");
    client.reply(&["CLIENT", "TRACKING", "ON"]);
    assert_eq!(client.text(&reads("k:1")), "$1\r\na\r\n");
    world.redis.cmd(&["SET", "k:1", "b"]);
    assert!(client.has_reply(SOON), "the server tells the client that the key has changed");
    let push = String::from_utf8(client.read().unwrap()).unwrap();
    assert!(push.starts_with(">2\r\n$10\r\ninvalidate"), "{push}");
}

#[test]
fn a_user_who_may_read_needs_no_other_right_for_scripts() {
    let world = World::new();
    through(&world, "");
    register(&world, "r:", "others", "TYPE STRING READTHROUGH");
    let redis = &world.redis;
    let mut rights = vec!["ACL", "SETUSER", "user", "on", "nopass", "~k:*", "~r:*"];
    rights.extend(["+@all", "-@scripting", "+eval", "-del"]);
    redis.cmd(&rights);
    let mut client = raw(&world);
    client.reply(&["AUTH", "user", "x"]);
    let script = "return redis.call('set', KEYS[1], 'a')";
    assert_eq!(client.text(&["EVAL", script, "1", "k:1"]), "+OK\r\n");
    world.holds("keys", "1", "a");
    let error = client.text(&["EVAL", "return redis.call('del', KEYS[1])", "1", "k:1"]);
    let is_denied = error.contains("permission") || error.contains("can't run this command");
    assert!(error.starts_with('-') && is_denied, "{error}");
    let error = client.text(&["EVAL", script, "1", "other"]);
    assert!(error.starts_with("-NOPERM"), "{error}");
    assert_eq!(client.text(&["PFCOUNT", "r:none"]), ":0\r\n");
}
