//! Commands that other modules run.

use testkit::redis_server::command;

use super::*;

/// `k:` with MODE THROUGH, `r:` with READTHROUGH, and the other module.
fn world() -> World {
    let world = World::with(|setup| setup.caller());
    through(&world, "INTERVAL 60000");
    world.database.collection("others").insert(doc! { "_id": "1", "value": "old" });
    register(&world, "r:", "others", "TYPE STRING READTHROUGH");
    world
}

#[test]
fn a_command_that_another_module_runs_does_not_wait() {
    let world = world();
    let redis = &world.redis;
    // From now on the module asks the server what each client does.
    let mut subscribed = raw(&world);
    subscribed.reply(&["SUBSCRIBE", "channel"]);
    assert_eq!(redis.run::<String>(&["CALLER.CALL", "SET", "k:1", "a"]), "OK");
    assert_eq!(redis.run::<i64>(&["CALLER.CALL", "INCR", "k:2"]), 1);
    assert_eq!(
        redis.run::<String>(&[
            "CALLER.CALL",
            "EVAL",
            "return redis.call('set', KEYS[1], 'c')",
            "1",
            "k:3"
        ]),
        "OK"
    );
    assert_eq!(redis.run::<Option<String>>(&["CALLER.CALL", "GET", "r:1"]), None);
    assert_eq!(figure(redis, "dirty_keys"), 3);
    assert_eq!(figure(redis, "through_unheld_total"), 3);
    assert_eq!(redis.status_of("r:").int("read_unloaded_total"), 1);
    redis.flush();
    world.holds("keys", "1", "a");
    world.holds("keys", "2", "1");
    world.holds("keys", "3", "c");
    // A client loads the key that the module has not found.
    assert_eq!(redis.run::<String>(&["GET", "r:1"]), "old");
}

#[test]
fn a_command_that_another_module_runs_in_a_timer_is_written() {
    let world = world();
    let redis = &world.redis;
    redis.cmd(&["CALLER.LATER", "SET", "k:1", "a"]);
    wait_until("the timer has rung", SOON, || figure(redis, "through_unheld_total") == 1);
    redis.flush();
    world.holds("keys", "1", "a");
    redis.cmd(&["CALLER.LATER", "APPEND", "r:1", "x"]);
    let is_unloaded = || redis.status_of("r:").int("read_unloaded_total") == 1;
    wait_until("the timer has rung", SOON, is_unloaded);
    assert_eq!(redis.run::<String>(&["GET", "r:1"]), "x", "what was there is not loaded");
    is_free(redis);
}

#[test]
fn a_command_that_may_block_does_not_for_another_module() {
    let world = world();
    let mut connection = world.redis.connect();
    let mut ask = |words: &[&str]| command(words).query::<Option<String>>(&mut connection);
    // Redis 7.0 does not know such calls.
    let reply = ask(&["CALLER.ASYNC", "SET", "k:1", "a"]);
    if world.redis.is_redis_7_0() {
        assert!(reply.is_err());
        return;
    }
    assert_eq!(reply.unwrap().as_deref(), Some("OK"));
    assert_eq!(ask(&["CALLER.ASYNC", "GET", "r:1"]).unwrap(), None);
    // The module that holds a promise for it gets its reply later; here it is not interested.
    assert_eq!(
        ask(&["CALLER.ASYNC", "WB.FLUSH", "TIMEOUT", "1"]).unwrap().as_deref(),
        Some("PROMISE")
    );
    is_free(&world.redis);
    world.redis.flush();
    world.holds("keys", "1", "a");
}

#[test]
fn a_command_of_another_module_waits_if_the_server_knows_its_key() {
    let world = world();
    assert_eq!(world.redis.run::<String>(&["CALLER.SET", "k:1", "a"]), "SET");
    world.holds("keys", "1", "a");
    assert_eq!(figure(&world.redis, "through_writes_total"), 1);
    assert_eq!(figure(&world.redis, "through_unheld_total"), 0);
}
