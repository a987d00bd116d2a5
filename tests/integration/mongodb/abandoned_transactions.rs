//! Redis is killed in the middle of a transaction in MongoDB, which keeps the documents locked for
//! a minute unless somebody ends it.

use std::time::{Duration, Instant};

use testkit::comparison::Mapping;
use testkit::mongod::Mongod;
use testkit::redis_server::Setup;
use testkit::wait::{SOON, keep_on_for, wait_until};

/// MongoDB's own limit is 60 s; a write that conflicts is given up after `write-timeout-ms`.
const AT_ONCE: Duration = Duration::from_secs(8);
const KEYS: u64 = 2000;

#[test]
fn what_a_killed_server_left_open_holds_up_nobody_after_its_restart() {
    let mongod = Mongod::replica_set();
    let database = mongod.named_database("orphans");
    // With `everysec` Redis itself loses what it does not write while a busy disk is synced.
    let setup = Setup::new(&mongod.uri()).config("appendonly yes").config("appendfsync no");
    let mut redis = setup.start();
    redis.cmd(&["WB.REGISTER", "k:", &database.namespace("keys"), "INTERVAL", "0"]);
    let open = || {
        let status = mongod.admin(mongodb::bson::doc! { "serverStatus": 1 });
        let transactions = status.get_document("transactions").expect("transactions");
        transactions.get_i64("currentOpen").expect("currentOpen")
    };
    let mut left_open = 0;
    for round in 0..8u64 {
        keep_on_for(Duration::from_millis(200), |turn| {
            let mut pipeline = redis::pipe();
            for key in 0..KEYS {
                let value = format!("{round}.{turn}");
                pipeline.cmd("HSET").arg(format!("k:{key}")).arg("v").arg(value).ignore();
            }
            pipeline.query::<()>(&mut redis.connection()).expect("writes");
        });
        // Between a transaction's first statement and its end.
        wait_until("a transaction is open", SOON, || {
            redis.cmd(&["HSET", &format!("k:{}", round % KEYS), "w", &round.to_string()]);
            open() > 0 || redis.status().int("in_flight_keys") > 100
        });
        redis.kill();
        left_open += open();
        redis.start_again();
        let start = Instant::now();
        Mapping::by_id("k:").holds(&redis, &database.collection("keys"));
        let took = start.elapsed();
        assert!(took < AT_ONCE, "round {round}: {took:?}");
    }
    println!("{left_open} transactions were left open");
}
