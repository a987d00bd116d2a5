//! TTL, JITTER, TTLFIELD, eviction, and what is refused.

use mongodb::bson::DateTime;

use super::*;

#[test]
fn loaded_keys_expire_at_different_times_and_come_back() {
    let world = World::new();
    strings(&world, "TTL 100 JITTER 20", 50);
    let redis = &world.redis;
    let ttls: Vec<i64> = (0..50)
        .map(|id| {
            let key = format!("k:{id}");
            assert!(get(redis, &key).is_some());
            redis.run::<i64>(&["PTTL", &key])
        })
        .collect();
    let (least, most) = (ttls.iter().min().unwrap(), ttls.iter().max().unwrap());
    assert!(*least >= 79_000 && *most <= 120_000 && most - least > 5_000, "{least} {most}");
    redis.cmd(&["PEXPIRE", "k:0", "1"]);
    wait_until("it is expired", SOON, || redis.run::<i64>(&["DBSIZE"]) < 50);
    assert_eq!(get(redis, "k:0").as_deref(), Some("value-0"));
    redis.flush();
    assert_eq!(world.database.collection("keys").count(), 50);
}

#[test]
fn an_expired_document_is_absent_and_its_time_is_that_of_the_key() {
    let world = World::new();
    register(&world, "k:", "keys", "TYPE STRING READTHROUGH TTLFIELD at");
    let at = |ms: i64| DateTime::from_millis(DateTime::now().timestamp_millis() + ms);
    world.database.collection("keys").insert_many([
        doc! { "_id": "1", "value": "one", "at": at(-1_000) },
        doc! { "_id": "2", "value": "two", "at": at(60_000) },
    ]);
    assert_eq!(get(&world.redis, "k:1"), None);
    assert_eq!(get(&world.redis, "k:2").as_deref(), Some("two"));
    let ttl_ms: i64 = world.redis.run(&["PTTL", "k:2"]);
    assert!((50_000..=60_000).contains(&ttl_ms), "{ttl_ms}");
    is_untouched(&world.redis);
}

#[test]
fn an_evicted_key_comes_back_also_if_it_was_not_written_yet() {
    let world = World::with(|setup| {
        setup.config("maxmemory 16mb").config("maxmemory-policy allkeys-lru").config("save ''")
    });
    register(&world, "k:", "keys", "TYPE STRING READTHROUGH");
    let redis = &world.redis;
    let value = |id: usize| format!("{id}-").repeat(200);
    for id in 0..40_000 {
        redis.cmd(&["SET", &format!("k:{id}"), &value(id)]);
    }
    assert!(redis.run::<usize>(&["DBSIZE"]) < 30_000, "keys were evicted");
    assert!(figure(redis, "evicted_total") > 10_000);
    for id in (0..40_000).step_by(97) {
        assert_eq!(get(redis, &format!("k:{id}")), Some(value(id)), "{id}");
    }
    let misses = figure(redis, "read_misses_total");
    assert!(misses > 50, "{misses}");
    redis.flush();
    assert_eq!(world.database.collection("keys").count(), 40_000);
}

#[test]
fn without_memory_nothing_is_loaded_and_the_error_says_so() {
    let world = World::new();
    strings(&world, "", 2);
    let redis = &world.redis;
    redis.cmd(&["CONFIG", "SET", "maxmemory", "100kb"]);
    let error = redis.error(&["GET", "k:0"]);
    assert!(error.contains("OOM"), "{error}");
    redis.cmd(&["CONFIG", "SET", "maxmemory", "0"]);
    assert_eq!(get(redis, "k:0").as_deref(), Some("value-0"));
}

#[test]
fn other_keys_types_and_forms_of_keys() {
    let world = World::new();
    register(
        &world,
        "id:",
        "ids",
        "TYPE HASH KEY number AS INT64 READTHROUGH EXCLUDE 1 x* SCHEMA n INT64 AS amount",
    );
    world.database.collection("ids").insert_many([
        doc! { "_id": 1, "number": 7_i64, "amount": 5_i64, "a": "x" },
        doc! { "_id": 2, "number": 8_i64, "amount": 6_i64 },
    ]);
    let redis = &world.redis;
    assert_eq!(redis.run::<String>(&["HGET", "id:7", "n"]), "5");
    assert_eq!(redis.run::<String>(&["HGET", "id:7", "a"]), "x");
    for key in ["id:07", "id:x1", "id:other", "id:9"] {
        assert_eq!(redis.run::<i64>(&["EXISTS", key]), 0, "{key}");
    }
    assert_eq!(redis.run::<i64>(&["DBSIZE"]), 1);
    is_untouched(redis);
}

#[test]
fn it_is_in_the_list_the_rdb_and_the_status_and_ends_with_the_registration() {
    let mut world = World::with(|setup| setup.durable());
    strings(&world, "TTL 60 JITTER 5 ABSENT 7", 3);
    assert!(get(&world.redis, "k:0").is_some());
    let lines: Vec<String> = world.redis.run(&["WB.LIST"]);
    assert!(lines[0].contains("READTHROUGH TTL 60 JITTER 5 ABSENT 7"), "{lines:?}");
    assert_eq!(world.redis.status_of("k:").text("readthrough"), "TTL 60 JITTER 5 ABSENT 7");
    world.redis.restart();
    wait_until("MongoDB is reached", SOON, || world.redis.status().text("link") == "up");
    assert_eq!(world.redis.run::<i64>(&["DBSIZE"]), 1, "a loaded key is in the AOF");
    is_untouched(&world.redis);
    assert!(get(&world.redis, "k:1").is_some());
    world.register("k:", "keys", "TYPE STRING");
    assert_eq!(get(&world.redis, "k:2"), None);
    strings(&world, "", 0);
    assert!(get(&world.redis, "k:2").is_some());
    world.redis.cmd(&["WB.UNREGISTER", "k:"]);
    world.redis.cmd(&["FLUSHALL"]);
    assert_eq!(get(&world.redis, "k:2"), None);
}
