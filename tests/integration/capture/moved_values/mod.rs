//! Values of a unique index that move between documents: in whatever order the keys changed in
//! Redis, MongoDB ends with the final state.

mod dead_letters;
mod random;

use std::time::{Duration, Instant};

use mongodb::bson::{Document, doc};

use testkit::comparison::Mapping;
use testkit::fixture::World;
use testkit::mongod::{Mongod, TestDatabase};
use testkit::redis_server::{Redis, Setup};
use testkit::wait::{SOON, repeat_for, wait_until};

/// Creates a unique index of `accounts`.
fn unique(database: &TestDatabase, key: Document, sparse: bool) {
    let index = doc! { "key": key, "name": "moving", "unique": true, "sparse": sparse };
    database.run(doc! { "createIndexes": "accounts", "indexes": [index] });
}

/// `u:` in a collection whose emails are unique.
fn accounts(options: &str) -> World {
    let world = World::new();
    unique(&world.database, doc! { "email": 1 }, false);
    world.register("u:", "accounts", options);
    world
}

fn set(redis: &Redis, key: &str, email: &str) {
    redis.cmd(&["HSET", key, "email", email]);
}

/// Accounts from `first` to `last`, each with the email of its number.
fn fill(redis: &Redis, first: usize, last: usize) {
    (first..=last).for_each(|n| set(redis, &format!("u:{n:04}"), &format!("e{n:04}")));
    assert_eq!(redis.flush().failed, 0);
}

/// MongoDB has the same accounts as Redis, and there are no dead letters.
#[track_caller]
fn holds(world: &World) {
    Mapping::by_id("u:").holds(&world.redis, &world.database.collection("accounts"));
    assert_eq!(world.redis.status().int("dead_letters"), 0);
}

#[test]
fn a_key_takes_the_value_of_a_deleted_or_renamed_key() {
    for options in ["", "BATCH 1", "WRITE MERGE", "INTERVAL 0"] {
        let world = accounts(options);
        set(&world.redis, "u:1", "ann");
        set(&world.redis, "u:3", "bob");
        world.redis.flush();
        world.redis.cmd(&["MULTI"]);
        world.redis.cmd(&["DEL", "u:1"]);
        set(&world.redis, "u:2", "ann");
        world.redis.cmd(&["RENAME", "u:3", "u:4"]);
        world.redis.cmd(&["EXEC"]);
        holds(&world);
        set(&world.redis, "u:0", "ann");
        world.redis.cmd(&["DEL", "u:2"]);
        holds(&world);
    }
}

#[test]
fn values_move_along_chains_of_keys_over_any_number_of_batches() {
    for (options, count) in [("", 1500), ("BATCH 7", 60), ("BATCH 1 INTERVAL 0", 20)] {
        let world = accounts(options);
        fill(&world.redis, 1, count);
        // Each account gets the email of the next, the last one a new email; then the reverse.
        world.redis.cmd(&["MULTI"]);
        (1..=count)
            .for_each(|n| set(&world.redis, &format!("u:{n:04}"), &format!("e{:04}", n + 1)));
        world.redis.cmd(&["EXEC"]);
        holds(&world);
        world.redis.cmd(&["MULTI"]);
        (1..=count).for_each(|n| set(&world.redis, &format!("u:{n:04}"), &format!("e{n:04}")));
        world.redis.cmd(&["EXEC"]);
        holds(&world);
    }
}

#[test]
fn keys_exchange_their_values_in_pairs_and_longer_cycles() {
    for (options, count) in
        [("", 2), ("", 3), ("BATCH 1", 2), ("BATCH 7", 60), ("", 1500), ("WRITE MERGE", 5)]
    {
        let world = accounts(options);
        fill(&world.redis, 1, count);
        (1..=count).for_each(|n| {
            set(&world.redis, &format!("u:{n:04}"), &format!("e{:04}", n % count + 1));
        });
        holds(&world);
    }
}

#[test]
fn a_swap_keeps_fields_of_other_applications_and_deletes_nothing() {
    let world = accounts("WRITE MERGE");
    fill(&world.redis, 1, 2);
    let accounts = world.database.collection("accounts");
    // A third document has no email, so the index allows no other document without one.
    accounts.insert(doc! { "_id": "none" });
    for id in ["0001", "0002"] {
        accounts.update(doc! { "_id": id }, doc! { "$set": { "others": id } });
    }
    world.redis.cmd(&["MULTI"]);
    set(&world.redis, "u:0001", "e0002");
    set(&world.redis, "u:0002", "e0001");
    world.redis.cmd(&["EXEC"]);
    assert_eq!(world.redis.flush().failed, 0);
    for (id, email) in [("0001", "e0002"), ("0002", "e0001")] {
        let expected = doc! { "_id": id, "email": email, "others": id };
        assert_eq!(accounts.document(id), expected);
    }
}

#[test]
fn values_of_compound_indexes_move_also_in_json_and_with_other_key_fields() {
    for (options, key_field) in
        [("KEY number", "number"), ("", "_id"), ("KEY number WRITE MERGE", "number")]
    {
        let world = World::json();
        unique(&world.database, doc! { "who.tenant": 1, "who.email": 1 }, true);
        world.register("u:", "accounts", options);
        let set = |key: &str, email: &str| {
            let value = format!(r#"{{"who":{{"tenant":7,"email":"{email}"}}}}"#);
            world.redis.cmd(&["JSON.SET", key, "$", &value]);
        };
        let mapping = Mapping::by_field("u:", key_field);
        let accounts = world.database.collection("accounts");
        ["a", "b", "c"].iter().for_each(|name| set(&format!("u:{name}"), name));
        mapping.holds(&world.redis, &accounts);
        world.redis.cmd(&["MULTI"]);
        [("a", "b"), ("b", "c"), ("c", "a")].iter().for_each(|(k, e)| set(&format!("u:{k}"), e));
        world.redis.cmd(&["EXEC"]);
        mapping.holds(&world.redis, &accounts);
        world.redis.cmd(&["MULTI"]);
        set("u:a", "a");
        set("u:new", "b");
        world.redis.cmd(&["DEL", "u:c"]);
        world.redis.cmd(&["EXEC"]);
        mapping.holds(&world.redis, &accounts);
    }
}

/// Replaces 200 accounts by others with the same emails, one every 10 ms; calls `at` before each.
fn replace(redis: &Redis, mut at: impl FnMut(usize)) {
    for n in 1..=200 {
        at(n);
        let next = Instant::now() + Duration::from_millis(10);
        redis.cmd(&["DEL", &format!("u:{n:04}")]);
        set(redis, &format!("u:{:04}", n + 1000), &format!("e{n:04}"));
        std::thread::sleep(next.saturating_duration_since(Instant::now()));
    }
}

#[test]
fn accounts_that_are_replaced_one_by_one_are_all_written() {
    let world = accounts("");
    fill(&world.redis, 1, 200);
    replace(&world.redis, |_| ());
    holds(&world);
    assert_eq!(world.database.collection("accounts").count(), 200);
}

#[test]
fn accounts_that_are_replaced_during_an_outage_are_all_written() {
    let mut mongod = Mongod::replica_set();
    let redis = Redis::start(&mongod.uri());
    let database = mongod.named_database("moved");
    unique(&database, doc! { "email": 1 }, false);
    redis.cmd(&["WB.REGISTER", "u:", &database.namespace("accounts")]);
    fill(&redis, 1, 200);
    let mut stopped = Instant::now();
    replace(&redis, |n| match n {
        50 => {
            mongod.stop();
            stopped = Instant::now();
        }
        150 => {
            std::thread::sleep(Duration::from_secs(2).saturating_sub(stopped.elapsed()));
            mongod.restart();
        }
        _ => {}
    });
    let accounts = mongod.named_database("moved").collection("accounts");
    Mapping::by_id("u:").holds(&redis, &accounts);
    assert_eq!((accounts.count(), redis.status().int("dead_letters")), (200, 0));
}

/// Two registrations of one collection: `u:` is written at once, `m:` when it is flushed.
fn two_registrations(world: &World) {
    unique(&world.database, doc! { "email": 1 }, false);
    world.register("u:", "accounts", "INTERVAL 0");
    world.register("m:", "accounts", "KEY member INTERVAL 3600000");
    world.redis.cmd(&["HSET", "u:0", "email", "zero", "member", "u0"]);
    set(&world.redis, "m:1", "ann");
    assert_eq!(world.redis.flush().failed, 0);
    // Dirty for an hour, unless a write of another key needs its value.
    set(&world.redis, "m:1", "moved");
}

fn email(world: &World, filter: Document) -> String {
    let account = world.database.collection("accounts").find(filter);
    account.map(|account| account.get_str("email").expect("email").to_owned()).unwrap_or_default()
}

#[test]
fn a_value_moves_between_two_registrations_of_a_collection() {
    let world = World::new();
    two_registrations(&world);
    world.redis.cmd(&["HSET", "u:1", "email", "ann", "member", "u1"]);
    wait_until("both are written without a flush", SOON, || {
        email(&world, doc! { "_id": "1" }) == "ann"
            && email(&world, doc! { "member": "1" }) == "moved"
    });
    assert_eq!(world.redis.status().int("dead_letters"), 0);
    set(&world.redis, "m:2", "other");
    assert_eq!(world.redis.flush_with(&["KEYS", "1", "m:2"]).persisted, 1);
    world.redis.cmd(&["DEL", "m:2"]);
    world.redis.cmd(&["HSET", "u:2", "email", "other", "member", "u2"]);
    let flushed = world.redis.flush_with(&["KEYS", "1", "u:2"]);
    assert_eq!((flushed.persisted, flushed.failed, flushed.pending), (1, 0, 0));
    assert_eq!(email(&world, doc! { "_id": "2" }), "other");
}

#[test]
fn paused_keys_are_not_waited_for_and_the_dead_letter_is_retried_after_their_write() {
    let world = World::new();
    two_registrations(&world);
    world.redis.cmd(&["WB.PAUSE", "m:"]);
    world.redis.cmd(&["HSET", "u:1", "email", "ann", "member", "u1"]);
    let flushed = world.redis.flush_with(&["KEYS", "1", "u:1"]);
    assert_eq!((flushed.persisted, flushed.failed), (0, 1), "paused keys are not waited for");
    world.redis.cmd(&["WB.RESUME", "m:"]);
    let flushed = world.redis.flush_with(&["KEYS", "1", "m:1"]);
    assert_eq!((flushed.persisted, flushed.pending), (1, 0));
    wait_until("the dead letter is retried without a command", SOON, || {
        world.redis.status().int("dead_letters") == 0 && email(&world, doc! { "_id": "1" }) == "ann"
    });
    assert_eq!(world.redis.flush().failed, 0);
}

#[test]
fn nothing_is_lost_when_the_server_is_killed_while_values_move() {
    let mongod = Mongod::pooled();
    let mut redis = Setup::new(&mongod.uri()).durable().start();
    let database = mongod.named_database("moved");
    unique(&database, doc! { "email": 1 }, true);
    redis.cmd(&[
        "WB.REGISTER",
        "u:",
        &database.namespace("accounts"),
        "BATCH",
        "3",
        "INTERVAL",
        "0",
    ]);
    fill(&redis, 1, 100);
    for round in 0..3 {
        let shift = 17 * (round + 1);
        for n in 1..=100 {
            let email = (n + shift - 1) % 100 + 1;
            set(&redis, &format!("u:{n:04}"), &format!("e{email:04}"));
            if n == 60 {
                redis.kill();
                redis.restart();
            }
        }
        redis.kill();
        redis.restart();
        redis.flush();
        wait_until("no dead letter is left", SOON, || redis.status().int("dead_letters") == 0);
        Mapping::by_id("u:").holds(&redis, &database.collection("accounts"));
    }
}

#[test]
fn a_standalone_server_takes_all_moves_but_cycles() {
    let mongod = Mongod::standalone();
    let redis = Redis::start(&mongod.uri());
    let world = World { redis, database: mongod.named_database("moved") };
    unique(&world.database, doc! { "email": 1 }, false);
    world.register("u:", "accounts", "");
    fill(&world.redis, 1, 4);
    world.redis.cmd(&["MULTI"]);
    [(1, "e0002"), (2, "e0003"), (3, "new")]
        .iter()
        .for_each(|(n, email)| set(&world.redis, &format!("u:{n:04}"), email));
    world.redis.cmd(&["EXEC"]);
    holds(&world);
    world.redis.cmd(&["MULTI"]);
    set(&world.redis, "u:0001", "e0003");
    set(&world.redis, "u:0002", "e0002");
    world.redis.cmd(&["EXEC"]);
    assert_eq!(world.redis.flush().failed, 2);
    assert_eq!(world.database.collection("accounts").count(), 4, "nothing is deleted");
    // A cycle that goes through a third value is possible.
    set(&world.redis, "u:0001", "third");
    wait_until("the dead letter is resolved", SOON, || {
        world.redis.status().int("dead_letters") == 0
    });
    holds(&world);
    set(&world.redis, "u:0001", "e0003");
    holds(&world);
}
