//! Redis is killed while a transaction of the module is open in MongoDB, which keeps its documents
//! locked for a minute unless the next process aborts it.

use std::time::{Duration, Instant};

use testkit::comparison::Mapping;
use testkit::mongod::Mongod;
use testkit::redis_server::Setup;
use testkit::wait::{SOON, repeat_for, wait_until};

/// `transactionLifetimeLimitSeconds` is 60; a write that conflicts times out after
/// `write-timeout-ms`.
const LIMIT: Duration = Duration::from_secs(8);
const KEYS: u64 = 2000;

#[test]
fn open_transactions_of_a_killed_server_do_not_block_it_after_its_restart() {
    let mongod = Mongod::replica_set();
    let database = mongod.named_database("abandoned");
    // With `everysec` Redis itself may lose writes that it postpones while a busy disk is synced.
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
        repeat_for(Duration::from_millis(200), |turn| {
            let mut pipeline = redis::pipe();
            for key in 0..KEYS {
                let value = format!("{round}.{turn}");
                pipeline.cmd("HSET").arg(format!("k:{key}")).arg("v").arg(value).ignore();
            }
            pipeline.query::<()>(&mut redis.connection()).expect("writes");
        });
        // Between a transaction's first statement and its commit.
        wait_until("a transaction is open", SOON, || {
            redis.cmd(&["HSET", &format!("k:{}", round % KEYS), "w", &round.to_string()]);
            open() > 0 || redis.status().int("in_flight_keys") > 100
        });
        redis.kill();
        left_open += open();
        redis.restart();
        let start = Instant::now();
        Mapping::by_id("k:").holds(&redis, &database.collection("keys"));
        let took = start.elapsed();
        assert!(took < LIMIT, "round {round}: {took:?}");
    }
    println!("{left_open} transactions were left open");
}
