//! Timeouts, refusals, and a MongoDB that is away.

use mongodb::bson::doc;
use testkit::redis_server::Setup;

use super::*;

#[test]
fn at_the_timeout_there_is_an_error_and_the_write_comes_later() {
    let world = World::new();
    through(&world, "TIMEOUT 200");
    let lock = lock(&world, &["1"]);
    let mut client = raw(&world);
    let reply = client.text(&["SET", "k:1", "new"]);
    assert!(
        reply.starts_with("-WBTIMEOUT MongoDB has not acknowledged the write in time"),
        "{reply}"
    );
    assert_eq!(client.text(&["GET", "k:1"]), "$3\r\nnew\r\n", "Redis has it, and one reply only");
    lock.end();
    wait_until("it is written", SOON, || {
        world.database.collection("keys").text("1", "value") == "new"
    });
    assert_eq!(client.text(&["SET", "k:1", "newer"]), "+OK\r\n");
    assert_eq!(figure(&world.redis, "through_timeouts_total"), 1);
    is_free(&world.redis);
}

#[test]
fn a_refused_document_is_an_error_with_the_reason() {
    let world = World::new();
    through(&world, "TYPE HASH ATOMIC NONE");
    world.database.run(doc! {
        "create": "keys", "validator": { "n": { "$ne": "bad" } },
    });
    let mut client = raw(&world);
    assert_eq!(client.text(&["HSET", "k:1", "n", "good"]), ":1\r\n");
    let reply = client.text(&["HSET", "k:1", "n", "bad"]);
    assert!(
        reply.starts_with("-WBREFUSED MongoDB has refused the write, which Redis keeps: "),
        "{reply}"
    );
    assert!(reply.contains("validation"), "{reply}");
    assert_eq!(client.text(&["HGET", "k:1", "n"]), "$3\r\nbad\r\n");
    assert_eq!(world.redis.status().int("dead_letters"), 1);
    assert_eq!(client.text(&["HSET", "k:1", "n", "better"]), ":0\r\n");
    assert_eq!(world.redis.status().int("dead_letters"), 0);
    assert_eq!(world.database.collection("keys").text("1", "n"), "better");
    assert_eq!(figure(&world.redis, "through_refused_total"), 1);
}

#[test]
fn a_key_of_another_type_is_not_waited_for_in_vain() {
    let world = World::new();
    through(&world, "TYPE HASH");
    assert_eq!(raw(&world).text(&["SET", "k:1", "text"]), "+OK\r\n");
    is_free(&world.redis);
}

#[test]
fn while_mongodb_is_down_clients_wait_or_fail_at_once() {
    let world = World::without_mongodb(|setup| setup.setting("through-timeout-ms", "300"));
    world.register("k:", "keys", "MODE THROUGH");
    let redis = &world.redis;
    wait_until("it is known", SOON, || redis.status().text("link") == "down");
    let mut client = raw(&world);
    let reply = client.text(&["SET", "k:1", "a"]);
    assert!(reply.starts_with("-WBTIMEOUT "), "{reply}");
    redis.cmd(&["CONFIG", "SET", "writebehind.through-timeout-ms", "60000"]);
    let mut waiting = raw(&world);
    waiting.send(&["SET", "k:2", "b"]).unwrap();
    wait_for_writers(redis, 1);
    redis.cmd(&["CONFIG", "SET", "writebehind.through-when-down", "fail"]);
    let reply = client.text(&["SET", "k:1", "c"]);
    assert!(reply.starts_with("-WBDOWN MongoDB is not reached; Redis has the write"), "{reply}");
    assert_eq!(client.text(&["GET", "k:1"]), "$1\r\nc\r\n");
    world.connect_mongodb();
    let reply = waiting.read().unwrap();
    assert!([&b"+OK\r\n"[..], b"-WBD"].iter().any(|start| reply.starts_with(start)));
    wait_until("it is back", SOON, || client.text(&["SET", "k:1", "d"]) == "+OK\r\n");
    world.holds("keys", "1", "d");
    is_free(redis);
}

#[test]
fn clients_that_wait_when_mongodb_goes_away_get_an_error_if_so_set() {
    let mut mongod = Mongod::standalone();
    let redis = Setup::new(&mongod.uri())
        .setting("through-timeout-ms", "60000")
        .setting("through-when-down", "fail")
        .start();
    redis.cmd(&["WB.REGISTER", "k:", "writes.keys", "MODE", "THROUGH"]);
    assert_eq!(redis.run::<String>(&["SET", "k:1", "a"]), "OK");
    mongod.freeze();
    let mut client = RawClient::new(redis.port(), "2");
    client.send(&["SET", "k:1", "b"]).unwrap();
    wait_for_writers(&redis, 1);
    mongod.kill();
    let reply = String::from_utf8(client.read().unwrap()).unwrap();
    assert!(reply.starts_with("-WBDOWN "), "{reply}");
    is_free(&redis);
}

#[test]
fn a_paused_prefix_is_waited_for_until_the_timeout() {
    let world = World::new();
    through(&world, "TIMEOUT 60000");
    world.redis.cmd(&["WB.PAUSE", "k:"]);
    let mut client = raw(&world);
    client.send(&["SET", "k:1", "a"]).unwrap();
    wait_for_writers(&world.redis, 1);
    assert!(!client.has_reply(A_WHILE));
    world.redis.cmd(&["WB.RESUME", "k:"]);
    assert_eq!(client.read().unwrap(), b"+OK\r\n");
    world.holds("keys", "1", "a");
}

#[test]
fn unregister_ends_the_waiting() {
    let world = World::new();
    through(&world, "TIMEOUT 60000");
    world.redis.cmd(&["WB.PAUSE"]);
    let mut client = raw(&world);
    client.send(&["SET", "k:1", "a"]).unwrap();
    wait_for_writers(&world.redis, 1);
    world.redis.cmd(&["WB.UNREGISTER", "k:", "DISCARD"]);
    let reply = String::from_utf8(client.read().unwrap()).unwrap();
    assert!(reply.starts_with("-WBREFUSED the prefix was unregistered with DISCARD"), "{reply}");
    world.redis.cmd(&["WB.RESUME"]);
    through(&world, "TIMEOUT 60000");
    let lock = lock(&world, &["2"]);
    client.send(&["SET", "k:2", "b"]).unwrap();
    wait_for_writers(&world.redis, 1);
    world.redis.cmd(&["WB.UNREGISTER", "k:"]);
    assert!(!client.has_reply(A_WHILE), "it is written still");
    lock.end();
    assert_eq!(client.read().unwrap(), b"+OK\r\n");
    // Without the registration nothing waits.
    world.redis.cmd(&["WB.PAUSE"]);
    assert_eq!(client.text(&["SET", "k:2", "c"]), "+OK\r\n");
    is_free(&world.redis);
}

#[test]
fn another_role_and_other_data_end_the_waiting() {
    let world = World::new();
    through(&world, "TIMEOUT 60000");
    world.redis.cmd(&["WB.PAUSE"]);
    let mut client = raw(&world);
    client.send(&["SET", "k:1", "a"]).unwrap();
    wait_for_writers(&world.redis, 1);
    world.redis.cmd(&["DEBUG", "RELOAD"]);
    let reply = String::from_utf8(client.read().unwrap()).unwrap();
    assert!(reply.starts_with("-WBDOWN the server has loaded other data"), "{reply}");
    client.send(&["SET", "k:1", "b"]).unwrap();
    wait_for_writers(&world.redis, 1);
    let master = Setup::new(&Mongod::shared().uri()).start();
    world.redis.follow(&master);
    let reply = client.read().map(|reply| String::from_utf8(reply).unwrap());
    assert!(reply.as_ref().is_ok_and(|reply| reply.starts_with("-UNBLOCKED ")), "{reply:?}");
    is_free(&world.redis);
}
