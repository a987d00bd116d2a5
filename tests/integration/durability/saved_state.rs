//! Registrations and dirty keys are restored with the data: from the RDB, from the AOF, after a
//! rewrite, after DEBUG RELOAD.

use testkit::comparison::Mapping;
use testkit::fixture::World;
use testkit::mongod::unreachable_uri;
use testkit::redis_server::Setup;
use testkit::wait::{SOON, wait_until};

/// A world in which MongoDB is down, and since then keys of two databases were changed, some in a
/// transaction, and one was deleted.
fn backlog(change: impl FnOnce(Setup) -> Setup) -> World {
    let world = World::without_mongodb(change);
    world.register("s:", "strings", "TYPE STRING INTERVAL 50");
    world.register("h:", "hashes", "ONEXPIRE DELETE BATCH 7");
    world.redis.cmd(&["SELECT", "2"]);
    world.register("s:", "second", "");
    world.redis.cmd(&["SELECT", "0"]);
    world.connect_mongodb();
    world.redis.cmd(&["MSET", "s:gone", "x", "s:1", "old", "s:kept", "as it was"]);
    world.disconnect_mongodb();

    world.redis.cmd(&["DEL", "s:gone"]);
    world.redis.cmd(&["SET", "s:1", "new"]);
    let mut transaction = redis::pipe();
    transaction.atomic().cmd("HSET").arg(&["h:1", "field", "value"]).ignore();
    transaction.cmd("HSET").arg(&["h:2", "field", "value"]).ignore();
    transaction.cmd("SELECT").arg(2).ignore().cmd("SET").arg(&["s:1", "second"]).ignore();
    transaction.cmd("SELECT").arg(0).ignore();
    transaction.query::<()>(&mut world.redis.connection()).expect("EXEC");
    assert_eq!(world.redis.status().int("dirty_keys"), 5);
    world
}

/// Nothing is lost, and all of it is written once MongoDB is reachable.
#[track_caller]
fn is_written(world: &World, registrations: i64) {
    assert_eq!(world.redis.status().int("registrations"), registrations);
    assert_eq!(world.redis.status().int("dirty_keys"), 5);
    world.connect_mongodb();
    Mapping::by_id("s:").holds(&world.redis, &world.database.collection("strings"));
    Mapping::by_id("h:").holds(&world.redis, &world.database.collection("hashes"));
    let second = world.database.collection("second");
    let differences = Mapping::by_id("s:").differences(&mut world.redis.connect_db(2), &second);
    assert!(differences.is_empty(), "{differences:?}");
    assert_eq!(second.count(), 1);
}

#[test]
fn the_rdb_restores_everything_after_a_crash() {
    let mut world = backlog(|setup| setup);
    let before = world.redis.digest();
    world.redis.cmd(&["SAVE"]);
    world.redis.kill();
    world.redis.restart();
    assert_eq!(world.redis.digest(), before);
    is_written(&world, 3);
}

#[test]
fn a_background_save_restores_everything_after_a_crash() {
    let mut world = backlog(|setup| setup);
    world.redis.cmd(&["BGSAVE"]);
    wait_until("BGSAVE ends", SOON, || {
        world.redis.info("persistence", "rdb_bgsave_in_progress").as_deref() == Some("0")
    });
    world.redis.kill();
    world.redis.restart();
    is_written(&world, 3);
}

#[test]
fn shutdown_saves_keys_that_were_not_written_in_time() {
    let mut world = backlog(|setup| setup.setting("shutdown-drain-ms", "0"));
    let before = world.redis.digest();
    assert!(world.redis.shutdown(&["SAVE"]).success(), "{}", world.redis.log());
    world.redis.restart();
    assert_eq!(world.redis.digest(), before);
    is_written(&world, 3);
}

#[test]
fn the_aof_restores_everything_after_a_crash() {
    let mut world = backlog(Setup::durable);
    let before = world.redis.digest();
    world.redis.kill();
    world.redis.restart();
    assert_eq!(world.redis.digest(), before);
    is_written(&world, 3);
}

#[test]
fn a_rewritten_aof_restores_everything_after_a_crash() {
    let mut world = backlog(Setup::durable);
    rewrite(&world);
    let before = world.redis.digest();
    world.redis.kill();
    world.redis.restart();
    assert_eq!(world.redis.digest(), before);
    is_written(&world, 3);
}

#[test]
fn acknowledgements_after_a_rewrite_are_in_the_aof() {
    let mut world = backlog(Setup::durable);
    rewrite(&world);
    world.connect_mongodb();
    world.redis.flush();
    world.disconnect_mongodb();
    world.redis.cmd(&["SET", "s:2", "after"]);
    world.redis.kill();
    world.redis.restart();
    assert_eq!(world.redis.status().int("dirty_keys"), 1);
    world.connect_mongodb();
    Mapping::by_id("s:").holds(&world.redis, &world.database.collection("strings"));
}

#[test]
fn debug_reload_keeps_everything() {
    let world = backlog(|setup| setup);
    let before = world.redis.digest();
    world.redis.cmd(&["DEBUG", "RELOAD"]);
    assert_eq!(world.redis.digest(), before);
    is_written(&world, 3);
}

#[test]
fn debug_loadaof_keeps_everything() {
    let world = backlog(Setup::durable);
    let before = world.redis.digest();
    world.redis.cmd(&["DEBUG", "LOADAOF"]);
    assert_eq!(world.redis.digest(), before);
    is_written(&world, 3);
}

#[test]
fn clean_keys_are_not_written_again_after_a_restart() {
    for setup in [Setup::durable as fn(Setup) -> Setup, |setup| setup] {
        let mut world = backlog(setup);
        world.connect_mongodb();
        world.redis.flush();
        if world.redis.info("persistence", "aof_enabled").as_deref() == Some("0") {
            world.redis.cmd(&["SAVE"]);
        }
        world.redis.kill();
        world.redis.restart();
        assert_eq!(world.redis.status().int("dirty_keys"), 0);
        assert_eq!(world.redis.status().int("registrations"), 3);
    }
}

#[test]
fn a_registration_is_restored_with_every_option() {
    let mut world = World::without_mongodb(Setup::durable);
    let options = "TYPE HASH KEY number AS INT64 WRITE MERGE ONDEL KEEP ONEXPIRE DELETE \
                   ONEVICT DELETE INTERVAL 1234 BATCH 77";
    world.register("all:", "all", options);
    world.register("", "none", "");
    let before = ["all:", ""].map(|prefix| world.redis.status_of(prefix));
    for restart in ["AOF", "rewritten AOF", "reload"] {
        match restart {
            "AOF" => world.redis.restart(),
            "rewritten AOF" => {
                rewrite(&world);
                world.redis.restart();
            }
            _ => drop(world.redis.cmd(&["DEBUG", "RELOAD"])),
        }
        let after = ["all:", ""].map(|prefix| world.redis.status_of(prefix));
        assert_eq!(before, after, "{restart}");
    }
}

#[test]
fn an_unregistered_prefix_stays_unregistered_and_its_backlog_is_written() {
    let mut world = backlog(Setup::durable);
    assert_eq!(world.redis.run::<i64>(&["WB.UNREGISTER", "h:"]), 2);
    world.redis.kill();
    world.redis.restart();
    world.redis.cmd(&["HSET", "h:3", "field", "too late"]);
    assert_eq!(world.redis.status().int("registrations"), 2);
    world.connect_mongodb();
    world.redis.flush();
    assert_eq!(world.database.collection("hashes").count(), 2);
}

#[test]
fn discarded_keys_stay_discarded_after_a_restart() {
    let mut world = backlog(Setup::durable);
    assert_eq!(world.redis.run::<i64>(&["WB.UNREGISTER", "h:", "DISCARD"]), 2);
    world.redis.kill();
    world.redis.restart();
    assert_eq!(world.redis.status().int("dirty_keys"), 3);
}

#[test]
fn keys_that_a_sync_marked_are_dirty_after_a_restart() {
    let mut world = World::without_mongodb(Setup::durable);
    world.redis.cmd(&["EVAL", "for i = 1, 5000 do redis.call('SET', 'k:' .. i, i) end", "0"]);
    world.register("k:", "keys", "SYNC");
    wait_until("all are marked", SOON, || world.redis.status().int("dirty_keys") == 5000);
    let before = world.redis.digest();
    world.redis.kill();
    world.redis.restart();
    wait_until("all are marked again", SOON, || world.redis.digest() == before);
    world.connect_mongodb();
    Mapping::by_id("k:").holds(&world.redis, &world.database.collection("keys"));
}

#[test]
fn a_dead_letter_survives_a_restart() {
    let mut world = World::with(Setup::durable);
    world.register("k:", "keys", "TYPE STRING KEY number AS INT64");
    world.redis.cmd(&["SET", "k:word", "x"]);
    assert_eq!(world.redis.flush().failed, 1);
    for rewritten in [false, true] {
        if rewritten {
            rewrite(&world);
        }
        world.redis.kill();
        world.redis.restart();
        world.redis.flush();
        assert_eq!(world.redis.status().int("dead_letters"), 1, "rewritten: {rewritten}");
    }
}

/// Runs BGREWRITEAOF and waits for its end.
fn rewrite(world: &World) {
    let persistence = |field| world.redis.info("persistence", field);
    world.redis.cmd(&["BGREWRITEAOF"]);
    wait_until("the AOF is rewritten", SOON, || {
        persistence("aof_rewrite_in_progress").as_deref() == Some("0")
            && persistence("aof_rewrite_scheduled").as_deref() == Some("0")
    });
    assert_eq!(persistence("aof_last_bgrewrite_status").as_deref(), Some("ok"));
}

#[test]
fn a_registration_that_an_older_version_accepted_is_loaded_from_its_aof() {
    let mut redis = Setup::new(&unreachable_uri()).durable().start();
    redis.cmd(&["WB.REGISTER", "k:", "db.keys"]);
    redis.kill();
    let folder = std::fs::read_dir(redis.dir().join("appendonlydir")).expect("folder");
    let mut paths = folder.map(|entry| entry.expect("entry").path());
    let aof = paths.find(|path| path.to_string_lossy().ends_with(".incr.aof")).expect("AOF");
    let old = ["WB.REGISTER", "old:", "admin.keys", "KEY", "a", "KEY", "b"];
    let words = old.map(|word| format!("${}\r\n{word}\r\n", word.len()));
    let text = format!("*{}\r\n{}", old.len(), words.concat());
    let mut bytes = std::fs::read(&aof).expect("AOF");
    bytes.extend_from_slice(text.as_bytes());
    std::fs::write(&aof, bytes).expect("AOF");
    redis.restart();
    assert_eq!(redis.status_of("old:").text("key"), "b");
}
