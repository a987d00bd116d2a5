//! WB.VERIFY: finds what differs between Redis and MongoDB, and nothing else.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use mongodb::bson::{Document, doc};
use testkit::fixture::World;
use testkit::mongod::major_version;
use testkit::redis_server::reply::Fields;
use testkit::redis_server::{Redis, Setup, command};
use testkit::wait::{SOON, wait_until};

/// Runs WB.VERIFY of `k:` with these options; returns its figures when it has ended.
#[track_caller]
fn verify(redis: &Redis, options: &[&str]) -> Fields {
    verify_prefix(redis, "k:", options)
}

#[track_caller]
fn verify_prefix(redis: &Redis, prefix: &str, options: &[&str]) -> Fields {
    let status = redis.verify(prefix, options);
    assert_eq!(status.text("verify_error"), "");
    status
}

/// Keys compared, missing, different, extra and repaired.
fn counts(figures: &Fields) -> [i64; 5] {
    let names = ["checked", "missing", "different", "extra", "repaired"];
    names.map(|name| figures.int(&format!("verify_{name}")))
}

fn sorted(figures: &Fields, name: &str) -> Vec<String> {
    let mut keys = figures.texts(name);
    keys.sort();
    keys
}

#[test]
fn it_finds_what_was_broken_by_hand_and_repairs_it() {
    let world = World::new();
    world.register("k:", "keys", "TYPE HASH SCHEMA n INT64");
    let redis = &world.redis;
    for id in 0..2_500 {
        redis.cmd(&["HSET", &format!("k:{id}"), "n", &id.to_string(), "text", "x"]);
    }
    redis.cmd(&["SET", "other:1", "x"]);
    redis.flush();
    assert_eq!(counts(&verify(redis, &["FULL"])), [2_500, 0, 0, 0, 0]);
    let keys = world.database.collection("keys");
    let set = |id: &str, change: Document| keys.update(doc! { "_id": id }, doc! { "$set": change });
    set("7", doc! { "text": "changed" });
    set("8", doc! { "n": "8" });
    set("9", doc! { "n": 9_i32 });
    set("10", doc! { "added": 1 });
    keys.update(doc! { "_id": "11" }, doc! { "$unset": { "text": "" } });
    world
        .database
        .run(doc! { "delete": "keys", "deletes": [{ "q": { "_id": "12" }, "limit": 1 }] });
    keys.insert(doc! { "_id": "stray", "n": 1_i64 });
    let found = verify(redis, &[]);
    assert_eq!(counts(&found), [2_500, 1, 5, 0, 0], "documents without keys are not looked for");
    let found = verify(redis, &["FULL"]);
    assert_eq!(counts(&found), [2_500, 1, 5, 1, 0]);
    assert_eq!(found.texts("verify_missing_keys"), ["k:12"]);
    assert_eq!(sorted(&found, "verify_different_keys"), ["k:10", "k:11", "k:7", "k:8", "k:9"]);
    assert_eq!(found.texts("verify_extra_keys"), ["k:stray"]);
    assert_eq!(redis.status().int("dirty_keys"), 0, "nothing is marked");
    assert_eq!(counts(&verify(redis, &["REPAIR", "FULL"])), [2_500, 1, 5, 1, 6]);
    redis.flush();
    assert_eq!(counts(&verify(redis, &["FULL"])), [2_500, 0, 0, 1, 0], "an extra one stays");
    assert_eq!(keys.find(doc! { "_id": "9" }), Some(doc! { "_id": "9", "n": 9_i64, "text": "x" }));
    assert_eq!(redis.status().int("different_total"), 18);
    let info = redis.info("writebehind", "writebehind_verified_total");
    assert_eq!(info.as_deref(), Some("12500"));
}

#[test]
fn documents_of_every_type_and_option_are_as_they_would_be_written() {
    let world = World::json();
    let redis = &world.redis;
    for (prefix, options) in [
        ("any:", "TYPE ANY"),
        ("hash:", "TYPE HASH SCHEMA n INT64 AS number * AUTO"),
        ("merge:", "TYPE HASH WRITE MERGE TTLFIELD at"),
        ("json:", "TYPE JSON KEY id AS INT64"),
        ("unwrap:", "TYPE STRING UNWRAP"),
        ("set:", "TYPE SET"),
        ("zset:", "TYPE ZSET"),
        ("stream:", "TYPE STREAM"),
        ("ttl:", "TYPE STRING TTLFIELD at KEY key WHOLE"),
    ] {
        world.register(prefix, prefix.trim_end_matches(':'), options);
    }
    // Before 5.0 MongoDB takes no such names.
    let (dotted, dollar) = if major_version() < 5 { ("b", "d") } else { ("b.c", "$d") };
    let lines: [&[&str]; 15] = [
        &["HSET", "any:1", "a", "1", dotted, "x", dollar, "y"],
        &["SET", "any:2", "text"],
        &["RPUSH", "any:3", "a", "b"],
        &["HSET", "hash:1", "n", "5", "x", "1.5", "y", "text"],
        &["HSET", "merge:1", "a", "1"],
        &["EXPIRE", "merge:1", "1000"],
        &["HSET", "merge:2", "a", "1"],
        &["JSON.SET", "json:7", "$", r#"{"a":{"b":[1,2.5,null,true]},"c":"x"}"#],
        &["SET", "unwrap:1", r#"{"a":1}"#],
        &["SET", "unwrap:2", "no object"],
        &["SADD", "set:1", "b", "a", "c"],
        &["ZADD", "zset:1", "1", "b", "1", "a", "0.5", "c"],
        &["XADD", "stream:1", "1-1", "a", "b"],
        &["SET", "ttl:1", "x", "EX", "1000"],
        &["SET", "ttl:2", "x"],
    ];
    lines.iter().for_each(|line| drop(redis.cmd(line)));
    redis.flush();
    world.database.collection("merge").update(doc! { "_id": "1" }, doc! { "$set": { "other": 1 } });
    for (prefix, keys) in [
        ("any:", 3),
        ("hash:", 1),
        ("merge:", 2),
        ("json:", 1),
        ("unwrap:", 2),
        ("set:", 1),
        ("zset:", 1),
        ("stream:", 1),
        ("ttl:", 2),
    ] {
        let found = verify_prefix(redis, prefix, &["FULL"]);
        assert_eq!(counts(&found), [keys, 0, 0, 0, 0], "{prefix}");
        assert_eq!(found.int("verify_skipped"), 0, "{prefix}");
    }
    let at = doc! { "$set": { "at": mongodb::bson::DateTime::now() } };
    world.database.collection("merge").update(doc! { "_id": "2" }, at);
    assert_eq!(counts(&verify_prefix(redis, "merge:", &[]))[2], 1, "the key does not expire");
}

#[test]
fn large_values_are_compared_in_steps_and_whole() {
    let world = World::with(|setup| setup.setting("read-slice-us", "100"));
    world.register("k:", "keys", "TYPE LIST");
    let redis = &world.redis;
    for list in 0..3 {
        for first in (0..60_000).step_by(1_000) {
            let items: Vec<String> = (first..first + 1_000).map(|n| format!("item-{n}")).collect();
            let mut words = vec!["RPUSH".to_owned(), format!("k:{list}")];
            words.extend(items);
            redis.cmd(&words);
        }
    }
    redis.flush();
    assert_eq!(counts(&verify(redis, &[])), [3, 0, 0, 0, 0]);
    let keys = world.database.collection("keys");
    keys.update(doc! { "_id": "1" }, doc! { "$set": { "value.59999": "other" } });
    let found = verify(redis, &["REPAIR"]);
    assert_eq!(counts(&found), [3, 0, 1, 0, 1]);
    redis.flush();
    assert_eq!(counts(&verify(redis, &[])), [3, 0, 0, 0, 0]);
}

#[test]
fn writes_meanwhile_raise_no_false_alarm() {
    let world = World::new();
    world.register("k:", "keys", "TYPE HASH INTERVAL 10 ONEXPIRE DELETE");
    let redis = &world.redis;
    let stop = AtomicBool::new(false);
    let (mut checked, mut runs) = (0, 0);
    std::thread::scope(|scope| {
        for writer in 0..4 {
            let (stop, mut client) = (&stop, redis.connect());
            let mut random = fastrand::Rng::with_seed(testkit::seed() + writer);
            scope.spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    let mut pipeline = redis::pipe();
                    for _ in 0..50 {
                        let key = format!("k:{}", random.usize(..3_000));
                        match random.u8(..8) {
                            0 => pipeline.cmd("DEL").arg(&key).ignore(),
                            1 => pipeline.cmd("PEXPIRE").arg(&key).arg(20).ignore(),
                            _ => {
                                pipeline.cmd("HSET").arg(&key).arg("n").arg(random.u32(..)).ignore()
                            }
                        };
                    }
                    pipeline.query::<()>(&mut client).expect("writes");
                    std::thread::sleep(Duration::from_millis(2));
                }
            });
        }
        let began = std::time::Instant::now();
        let is_short = || began.elapsed() < Duration::from_secs(6);
        // On a busy machine most keys are dirty, and then not compared.
        let is_long = || began.elapsed() > Duration::from_secs(60);
        while is_short() || (runs < 3 || checked <= 3_000) && !is_long() {
            let found = verify(redis, &["FULL"]);
            assert_eq!(counts(&found)[1..], [0, 0, 0, 0], "{found:?}");
            checked += counts(&found)[0];
            runs += 1;
        }
        stop.store(true, Ordering::Relaxed);
    });
    assert!(checked > 3_000, "{checked} in {runs} runs");
    redis.flush();
    let found = verify(redis, &["FULL"]);
    assert_eq!(counts(&found)[1..], [0, 0, 0, 0]);
    assert_eq!(found.int("verify_skipped"), 0);
}

#[test]
fn what_is_to_be_written_or_was_refused_is_left_out() {
    let world = World::new();
    world.register("k:", "keys", "TYPE HASH SCHEMA n INT64");
    let redis = &world.redis;
    redis.cmd(&["HSET", "k:1", "n", "1"]);
    redis.cmd(&["HSET", "k:2", "n", "no number"]);
    redis.cmd(&["SET", "k:3", "of another type"]);
    redis.flush();
    redis.cmd(&["WB.PAUSE"]);
    redis.cmd(&["HSET", "k:1", "n", "2"]);
    let found = verify(redis, &[]);
    assert_eq!((counts(&found)[0], found.int("verify_skipped")), (0, 3));
    redis.cmd(&["WB.RESUME"]);
    redis.flush();
    let found = verify(redis, &[]);
    assert_eq!((counts(&found)[0], found.int("verify_skipped")), (1, 2));
}

#[test]
fn every_verifies_again_and_again_also_after_a_restart_and_on_a_promoted_replica() {
    let mut world = World::with(Setup::durable);
    world.register("k:", "keys", "TYPE STRING");
    for id in 0..100 {
        world.redis.cmd(&["SET", &format!("k:{id}"), "x"]);
    }
    world.redis.flush();
    world.redis.cmd(&["WB.VERIFY", "k:", "EVERY", "1"]);
    let verifies = |redis: &Redis| {
        wait_until("two rounds", 5 * SOON, || redis.status_of("k:").int("verified_total") >= 200);
        let status = redis.status_of("k:");
        assert_eq!((status.int("different_total"), status.int("verify_every")), (0, 1));
        wait_until("a whole round", SOON, || redis.status_of("k:").int("verify_age_ms") > 0);
    };
    verifies(&world.redis);
    let keys = world.database.collection("keys");
    keys.update(doc! { "_id": "5" }, doc! { "$set": { "value": "other" } });
    wait_until("it is found", 3 * SOON, || world.redis.status_of("k:").int("different_total") > 0);
    world.redis.cmd(&["WB.VERIFY", "k:", "REPAIR"]);
    wait_until("it is repaired", SOON, || world.redis.status_of("k:").int("verify_pending") == 0);
    world.redis.flush();
    world.redis.restart();
    verifies(&world.redis);
    let replica = Setup::new(&testkit::mongod::Mongod::shared().uri()).start();
    replica.follow(&world.redis);
    replica.wait_until_in_sync_with(&world.redis);
    assert_eq!(replica.status_of("k:").int("verify_every"), 1);
    let error = replica.error(&["WB.VERIFY", "k:"]);
    assert!(error.to_lowercase().contains("readonly"), "{error}");
    world.redis.cmd(&["WB.VERIFY", "k:", "EVERY", "0"]);
    replica.wait_until_in_sync_with(&world.redis);
    assert_eq!(replica.status_of("k:").int("verify_every"), 0);
    world.redis.cmd(&["WB.VERIFY", "k:", "EVERY", "1"]);
    replica.wait_until_in_sync_with(&world.redis);
    replica.promote();
    verifies(&replica);
}

#[test]
fn it_can_be_cancelled_and_an_outage_ends_it_with_the_reason() {
    let world = World::with(|setup| setup.setting("read-slice-us", "10"));
    world.register("k:", "keys", "TYPE STRING");
    let redis = &world.redis;
    for first in (0..50_000).step_by(1_000) {
        let mut pipeline = redis::pipe();
        (first..first + 1_000).for_each(|id| {
            pipeline.add_command(command(&["SET", &format!("k:{id}"), "x"])).ignore();
        });
        pipeline.query::<()>(&mut redis.connection()).expect("writes");
    }
    redis.flush();
    redis.cmd(&["WB.VERIFY", "k:"]);
    assert_eq!(redis.run::<i64>(&["WB.CANCEL", "k:"]), 1);
    let status = redis.status_of("k:");
    assert_eq!(status.text("verify_error"), "the verification was cancelled");
    assert_eq!(status.int("verify_pending"), 0);
    assert_eq!(redis.run::<i64>(&["WB.CANCEL", "k:"]), 0);
    redis.cmd(&["WB.VERIFY", "k:"]);
    world.disconnect_mongodb();
    wait_until("it has ended or waits", 3 * SOON, || {
        redis.status_of("k:").int("verify_pending") == 0 || redis.status().text("link") == "down"
    });
    world.connect_mongodb();
    wait_until("it has ended", 3 * SOON, || redis.status_of("k:").int("verify_pending") == 0);
    assert_eq!(counts(&verify(redis, &[]))[..3], [50_000, 0, 0]);
}

#[test]
fn bad_arguments_are_named() {
    let world = World::new();
    world.register("k:", "keys", "TYPE STRING");
    for (words, named) in [
        (&["WB.VERIFY", "k:", "EVERY"][..], "EVERY takes a whole number from 0 to 31536000"),
        (&["WB.VERIFY", "k:", "EVERY", "5", "FULL"], "WB.VERIFY takes <prefix>"),
        (&["WB.VERIFY", "k:", "ALL"], "WB.VERIFY takes <prefix>"),
        (&["WB.VERIFY", "none:"], "no registration of prefix 'none:'"),
    ] {
        let error = world.redis.error(words);
        assert!(error.contains(named), "{words:?}: {error}");
    }
}
