//! Clients that read, write and delete while Redis evicts and is emptied.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use testkit::redis_server::command;

use super::*;

const KEYS: usize = 200;

/// Each writer has keys of its own, and knows what they hold: no reply may show anything else.
#[test]
fn no_reply_is_older_than_what_the_client_has_written() {
    let world = World::with(|setup| setup.config("appendonly yes"));
    register(&world, "k:", "keys", "TYPE STRING READTHROUGH ABSENT 50 INTERVAL 5");
    let redis = &world.redis;
    let (stop, checked) = (AtomicBool::new(false), AtomicU64::new(0));
    let models = std::thread::scope(|scope| {
        let writers: Vec<_> = (0..8)
            .map(|writer| {
                let mut client = redis.connect();
                let (stop, checked) = (&stop, &checked);
                let mut random = fastrand::Rng::with_seed(testkit::seed() + writer);
                scope.spawn(move || {
                    let mut model: Vec<Option<String>> = vec![None; KEYS];
                    while !stop.load(Ordering::Relaxed) {
                        let id = random.usize(..KEYS);
                        let key = format!("k:{writer}:{id}");
                        let known = &mut model[id];
                        match random.u8(..10) {
                            0 => {
                                let value = random.u32(..).to_string();
                                command(&["SET", &key, &value]).exec(&mut client).unwrap();
                                *known = Some(value);
                            }
                            1 => {
                                let removed: i64 =
                                    command(&["DEL", &key]).query(&mut client).unwrap();
                                assert_eq!(removed, i64::from(known.is_some()), "DEL {key}");
                                *known = None;
                            }
                            2 => {
                                let len: usize =
                                    command(&["APPEND", &key, "+"]).query(&mut client).unwrap();
                                let value = format!("{}+", known.as_deref().unwrap_or_default());
                                assert_eq!(len, value.len(), "APPEND {key}");
                                *known = Some(value);
                            }
                            3 => {
                                let stored: Option<String> = command(&["SET", &key, "new", "NX"])
                                    .query(&mut client)
                                    .unwrap();
                                assert_eq!(stored.is_some(), known.is_none(), "SET NX {key}");
                                known.get_or_insert_with(|| "new".to_owned());
                            }
                            _ => {
                                let value: Option<String> =
                                    command(&["GET", &key]).query(&mut client).unwrap();
                                assert_eq!(value, *known, "GET {key}");
                                checked.fetch_add(1, Ordering::Relaxed);
                            }
                        }
                    }
                    model
                })
            })
            .collect();
        let mut random = fastrand::Rng::with_seed(testkit::seed());
        testkit::wait::repeat_for(Duration::from_secs(8), |_| {
            if random.u8(..4) == 0 {
                redis.cmd(&["FLUSHALL"]);
            } else {
                // As eviction does: not by a command of a client.
                for _ in 0..20 {
                    let key: Option<String> = redis.run(&["RANDOMKEY"]);
                    if let Some(key) = key {
                        redis.cmd(&["PEXPIRE", &key, "30"]);
                    }
                }
            }
            std::thread::sleep(Duration::from_millis(5));
        });
        stop.store(true, Ordering::Relaxed);
        writers.into_iter().map(|writer| writer.join().expect("writer")).collect::<Vec<_>>()
    });
    assert_eq!(redis.status().int("lost_total"), 0);
    assert!(checked.load(Ordering::Relaxed) > 2_000);
    assert!(figure(redis, "read_loads_total") > 500);
    redis.flush();
    let keys = world.database.collection("keys");
    let mut documents = 0;
    for (writer, model) in models.iter().enumerate() {
        for (id, value) in model.iter().enumerate() {
            let Some(value) = value else { continue };
            world.holds("keys", &format!("{writer}:{id}"), value);
            documents += 1;
        }
    }
    assert_eq!(keys.count(), documents);
    assert_eq!(redis.status().int("readers_waiting"), 0);
    assert_eq!(redis.info("clients", "blocked_clients").as_deref(), Some("0"));
}
