//! Clients that write, delete and flush while documents are loaded.

use std::time::Duration;

use testkit::comparison::Mapping;
use testkit::redis_server::command;
use testkit::wait::became;

use super::*;

const MANY: usize = 20_000;

#[test]
fn what_clients_write_and_delete_meanwhile_wins() {
    let world = World::with(|setup| setup.setting("read-slice-us", "20"));
    world.register("k:", "keys", "TYPE STRING INTERVAL 0");
    let keys = world.database.collection("keys");
    keys.insert_many(numbered(MANY));
    for options in [&[][..], &["REPLACE"]] {
        world.redis.cmd(&[&["WB.LOAD", "k:"], options].concat());
        let mut random = fastrand::Rng::with_seed(testkit::seed());
        became(Duration::from_secs(60), || {
            let mut pipeline = redis::pipe();
            for _ in 0..50 {
                let key = format!("k:{}", random.usize(..MANY));
                let value = format!("written-{}", random.u32(..));
                match random.u8(..3) {
                    0 => pipeline.add_command(command(&["DEL", &key])).ignore(),
                    // Created and deleted: the document is deleted, too.
                    1 => {
                        pipeline.add_command(command(&["SET", &key, &value])).ignore();
                        pipeline.add_command(command(&["DEL", &key])).ignore()
                    }
                    _ => pipeline.add_command(command(&["SET", &key, &value])).ignore(),
                };
            }
            pipeline.query::<()>(&mut world.redis.connection()).expect("writes");
            world.redis.status_of("k:").int("load_pending") == 0
        });
        ended(&world.redis);
        // No key is older than its document, and no deleted document came back as a key.
        Mapping::by_id("k:").holds(&world.redis, &keys);
        let loaded = world.redis.status_of("k:").int("load_loaded");
        assert!(loaded > 1_000, "{loaded}");
        let expected = world.redis.run::<u64>(&["DBSIZE"]);
        assert_eq!(keys.count(), expected);
        world.redis.cmd(&["FLUSHALL"]);
    }
}
