//! A key whose unique value belongs to another document is a dead letter until the value is free.

use super::*;
use testkit::redis_server::Setup as Server;
use testkit::redis_server::reply::Fields;

fn dead_letters(redis: &Redis) -> Vec<Fields> {
    redis.run(&["WB.DEADLETTER", "LIST"])
}

fn attempts(redis: &Redis) -> i64 {
    let dead_letters = dead_letters(redis);
    assert_eq!(dead_letters.len(), 1);
    dead_letters[0].int("attempts")
}

#[test]
fn a_real_duplicate_is_a_dead_letter_and_does_not_block_other_keys() {
    let world = accounts("");
    fill(&world.redis, 1, 50);
    set(&world.redis, "u:twice", "e0001");
    let flushed = world.redis.flush();
    assert_eq!((flushed.failed, flushed.pending), (1, 0));
    assert_eq!((dead_letters(&world.redis)[0].int("code"), attempts(&world.redis)), (11000, 1));
    let before = world.redis.status().int("batches_total");
    repeat_for(Duration::from_millis(1500), |_| {
        assert_eq!(attempts(&world.redis), 1, "not retried while nothing else is written");
    });
    assert_eq!(world.redis.status().int("batches_total"), before);
    // While other keys are written, it is retried about once a second.
    let start = Instant::now();
    repeat_for(Duration::from_secs(3), |n| {
        set(&world.redis, "u:other", &n.to_string());
        world.redis.flush();
    });
    let most = start.elapsed().as_secs() as i64 + 2;
    assert!((2..=1 + most).contains(&attempts(&world.redis)), "{}", attempts(&world.redis));
    assert_eq!(world.redis.status().int("failed_total"), 1, "it is counted once");
}

#[test]
fn a_duplicate_among_keys_that_keep_changing_becomes_a_dead_letter() {
    let world = accounts("INTERVAL 0");
    fill(&world.redis, 1, 1);
    set(&world.redis, "u:twice", "e0001");
    let start = Instant::now();
    wait_until("it is a dead letter", SOON, || {
        (0..100).for_each(|n| {
            set(&world.redis, &format!("u:n{n}"), &format!("{n} {:?}", start.elapsed()))
        });
        world.redis.status().int("dead_letters") == 1
    });
    assert!(attempts(&world.redis) <= 16 + 2 + start.elapsed().as_secs() as i64);
}

#[test]
fn a_dead_letter_is_written_automatically_once_the_value_is_free() {
    for free in [&["HSET", "u:0001", "email", "free"][..], &["DEL", "u:0001"]] {
        let world = accounts("");
        fill(&world.redis, 1, 1);
        set(&world.redis, "u:next", "e0001");
        assert_eq!(world.redis.flush().failed, 1);
        world.redis.cmd(free);
        wait_until("the dead letter is resolved", SOON, || {
            world.redis.status().int("dead_letters") == 0
        });
        holds(&world);
    }
}

#[test]
fn a_swap_is_written_although_its_first_half_became_a_dead_letter() {
    let world = accounts("");
    fill(&world.redis, 1, 2);
    set(&world.redis, "u:0001", "e0002");
    assert_eq!(world.redis.flush().failed, 1);
    set(&world.redis, "u:0002", "e0001");
    let flushed = world.redis.flush_with(&["KEYS", "1", "u:0002"]);
    assert_eq!((flushed.persisted, flushed.failed, flushed.pending), (1, 0, 0));
    holds(&world);
}

#[test]
fn automatic_retries_of_dead_letters_are_in_the_aof_and_on_replicas() {
    let quick = |server: Server| server.durable().config("repl-diskless-sync-delay 0");
    let mut world = World::with(quick);
    unique(&world.database, doc! { "email": 1 }, false);
    world.register("u:", "accounts", "");
    let replica = quick(Server::new(&Mongod::shared().uri())).start();
    replica.follow(&world.redis);
    fill(&world.redis, 1, 2);
    // The key has expired, so its value is no longer in Redis.
    world.redis.cmd(&["WB.PAUSE"]);
    set(&world.redis, "u:next", "e0001");
    world.redis.cmd(&["PEXPIRE", "u:next", "20"]);
    wait_until("the key expires", SOON, || world.redis.run::<i64>(&["DBSIZE"]) == 2);
    world.redis.cmd(&["WB.RESUME"]);
    assert_eq!(world.redis.flush().failed, 1);
    for _ in 0..2 {
        let before = attempts(&world.redis);
        wait_until("it is retried", SOON, || {
            set(&world.redis, "u:0002", &format!("x{before}"));
            world.redis.flush();
            attempts(&world.redis) > before
        });
        wait_until("the replica has the same dead letters", SOON, || {
            dead_letters(&replica) == dead_letters(&world.redis)
                && replica.digest() == world.redis.digest()
        });
    }
    world.redis.kill();
    world.redis.restart();
    assert_eq!(dead_letters(&replica), dead_letters(&world.redis), "loaded from the AOF");
    set(&world.redis, "u:0001", "free");
    wait_until("the dead letter is resolved", SOON, || {
        world.redis.status().int("dead_letters") == 0
    });
    assert_eq!(email(&world, doc! { "_id": "next" }), "e0001");
    wait_until("the replica has no dead letter either", SOON, || dead_letters(&replica).is_empty());
    world.redis.kill();
    replica.promote();
    assert_eq!((replica.flush().failed, replica.status().int("dirty_keys")), (0, 0));
    assert_eq!(email(&world, doc! { "_id": "next" }), "e0001");
}
