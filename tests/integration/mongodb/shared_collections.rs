//! Two registrations of one collection: refused if their keys could map to the same document,
//! unless the operator declares with SHARED that they do not.

use mongodb::bson::doc;

use testkit::fixture::World;
use testkit::mongod::{Mongod, unreachable_uri};
use testkit::redis_server::{Redis, Setup, command};
use testkit::wait::{SOON, wait_until};

/// The error of `WB.REGISTER prefix <this database>.keys options` in that logical database.
#[track_caller]
fn refused(world: &World, db: i64, prefix: &str, options: &str) -> String {
    let namespace = world.database.namespace("keys");
    let options: Vec<&str> = options.split_whitespace().collect();
    let words = [&["WB.REGISTER", prefix, &namespace], options.as_slice()].concat();
    let reply = command(&words).query::<redis::Value>(&mut world.redis.connect_db(db));
    reply.expect_err("a refusal").to_string()
}

fn accepted(world: &World, db: i64, prefix: &str, options: &str) {
    let namespace = world.database.namespace("keys");
    let options: Vec<&str> = options.split_whitespace().collect();
    let words = [&["WB.REGISTER", prefix, &namespace], options.as_slice()].concat();
    command(&words).exec(&mut world.redis.connect_db(db)).expect(prefix);
}

#[test]
fn a_second_prefix_or_database_of_a_collection_is_refused_and_the_first_is_named() {
    let world = World::new();
    world.register("a:", "keys", "");
    for (db, prefix, options) in
        [(0, "b:", ""), (1, "a:", ""), (0, "a:longer:", "AS"), (0, "b:", "KEY _id WHOLE")]
    {
        let options = if options == "AS" { "KEY _id AS INT64" } else { options };
        let error = refused(&world, db, prefix, options);
        let named = error.contains("prefix 'a:' of database 0") && error.contains("SHARED");
        assert!(named && error.contains(&world.database.namespace("keys")), "{error}");
    }
    // Nothing has changed.
    assert_eq!(world.redis.status().int("registrations"), 1);
    world.redis.cmd(&["MSET", "a:1", "x", "b:1", "y"]);
    world.redis.flush();
    assert_eq!(world.database.collection("keys").all(), [doc! { "_id": "1", "value": "x" }]);
    // The same prefix may always be registered again.
    world.register("a:", "keys", "INTERVAL 0");
    assert_eq!(world.redis.status().text("warning").matches("share").count(), 0);
}

#[test]
fn other_key_fields_other_collections_and_whole_keys_do_not_conflict() {
    let world = World::new();
    accepted(&world, 0, "a:", "KEY _id WHOLE");
    accepted(&world, 0, "b:", "KEY _id AS STRING WHOLE");
    accepted(&world, 0, "c:", "KEY cid");
    world.register("d:", "others", "");
    assert!(refused(&world, 1, "a:", "KEY _id WHOLE").contains("prefix 'a:' of database 0"));
    world.redis.cmd(&["MSET", "a:1", "x", "b:1", "y", "c:1", "z"]);
    assert_eq!(world.redis.flush().failed, 0);
    let keys = world.database.collection("keys");
    assert_eq!(keys.document("a:1"), doc! { "_id": "a:1", "value": "x" });
    assert_eq!(keys.document("b:1"), doc! { "_id": "b:1", "value": "y" });
    assert_eq!(keys.count_of(doc! { "cid": "1" }), 1);
    world.redis.cmd(&["DEL", "a:1"]);
    world.redis.flush();
    assert_eq!((keys.count(), keys.by_id("b:1").is_some()), (2, true));
    let status = world.redis.status_of("a:");
    assert_eq!((status.int("whole"), status.int("shared")), (1, 0));
}

#[test]
fn shared_is_remembered_for_the_pair_over_restart_failover_and_rewrite() {
    let quick = |setup: Setup| setup.durable().config("repl-diskless-sync-delay 0");
    let mut world = World::with(quick);
    accepted(&world, 0, "first:", "");
    accepted(&world, 3, "second:", "SHARED");
    let holds = |world: &World| {
        for (db, prefix) in [(0, "first:"), (3, "second:")] {
            accepted(world, db, prefix, "INTERVAL 5");
        }
        assert!(refused(world, 0, "third:", "").contains("prefix 'first:' of database 0"));
        assert_eq!(world.redis.status().text("warning").matches("share").count(), 0);
    };
    holds(&world);
    let mut three = world.redis.connect_db(3);
    let shared: Vec<redis::Value> =
        command(&["WB.STATUS", "second:"]).query(&mut three).expect("WB.STATUS");
    assert!(format!("{shared:?}").contains("shared"));
    drop(three);
    world.redis.kill();
    world.redis.restart();
    holds(&world);
    world.redis.cmd(&["BGREWRITEAOF"]);
    wait_until("the AOF is rewritten", SOON, || {
        world.redis.info("persistence", "aof_rewrite_in_progress").as_deref() == Some("0")
    });
    world.redis.kill();
    world.redis.restart();
    holds(&world);
    world.redis.cmd(&["DEBUG", "RELOAD"]);
    holds(&world);
    // On a replica: from the RDB of the full synchronization, and from the stream.
    let replica = quick(Setup::new(&Mongod::shared().uri())).start();
    replica.follow(&world.redis);
    accepted(&world, 0, "third:", "SHARED");
    replica.wait_until_in_sync_with(&world.redis);
    replica.promote();
    let namespace = world.database.namespace("keys");
    for prefix in ["first:", "third:"] {
        replica.cmd(&["WB.REGISTER", prefix, &namespace]);
    }
    let error = replica.error(&["WB.REGISTER", "fourth:", &namespace]);
    assert!(error.contains("prefix 'first:' of database 0"), "{error}");
}

#[test]
fn an_unregistered_prefix_no_longer_owns_the_collection() {
    let world = World::new();
    accepted(&world, 0, "a:", "");
    accepted(&world, 0, "b:", "SHARED");
    world.redis.cmd(&["WB.UNREGISTER", "a:"]);
    assert!(refused(&world, 0, "a:", "").contains("prefix 'b:' of database 0"));
    world.redis.cmd(&["WB.UNREGISTER", "b:"]);
    accepted(&world, 0, "c:", "");
}

/// A server that is started with those lines in its registrations-file, or the log if it ended.
fn from_file(lines: &str, change: impl FnOnce(Setup) -> Setup) -> Result<Redis, String> {
    let folder = tempfile::tempdir().expect("folder");
    let file = folder.path().join("registrations");
    std::fs::write(&file, lines).expect("file");
    let path = file.to_str().expect("path");
    change(Setup::new(&unreachable_uri()).setting("registrations-file", path)).try_start()
}

#[test]
fn the_rule_applies_to_the_registrations_file() {
    let lines = "WB.REGISTER a: d.keys\nWB.REGISTER b: d.keys\n";
    let log = from_file(lines, |setup| setup).err().expect("no server");
    assert!(log.contains("line 2") && log.contains("prefix 'a:' of database 0"), "{log}");
    let redis = from_file(&format!("{} SHARED\n", lines.trim_end()), |setup| setup);
    let redis = redis.expect("a server");
    assert_eq!(redis.status().int("registrations"), 2);
    assert!(!redis.status().text("warning").contains("share"));
}

#[test]
fn conflicting_registrations_from_the_aof_and_the_stream_are_loaded_with_a_warning() {
    // An AOF as written by an older version of the module.
    let replica = Setup::new(&unreachable_uri()).config("repl-diskless-sync-delay 0").start();
    let mut aof = String::new();
    for words in [["WB.REGISTER", "a:", "d.keys"], ["WB.REGISTER", "b:", "d.keys"]] {
        aof += "*3\r\n";
        words.iter().for_each(|word| aof += &format!("${}\r\n{word}\r\n", word.len()));
    }
    let dir = tempfile::tempdir().expect("folder");
    let append = dir.path().join("appendonlydir");
    std::fs::create_dir(&append).expect("folder");
    std::fs::write(append.join("appendonly.aof.1.incr.aof"), aof).expect("AOF");
    let manifest = "file appendonly.aof.1.incr.aof seq 1 type i\n";
    std::fs::write(append.join("appendonly.aof.manifest"), manifest).expect("manifest");
    let at = format!("dir {}", dir.path().display());
    let loaded = Setup::new(&unreachable_uri()).config("appendonly yes").config(&at);
    let loaded = loaded.config("repl-diskless-sync-delay 0").start();
    let warned = |redis: &Redis| {
        assert_eq!(redis.status().int("registrations"), 2);
        let warning = redis.status().text("warning");
        let named = ["d.keys", "prefix 'a:' of database 0", "prefix 'b:' of database 0", "SHARED"];
        assert!(named.iter().all(|part| warning.contains(part)), "{warning}");
        assert!(redis.log().contains("registrations share a collection"));
    };
    warned(&loaded);
    replica.follow(&loaded);
    warned(&replica);
    // Also from an RDB.
    replica.cmd(&["DEBUG", "RELOAD"]);
    warned(&replica);
    loaded.cmd(&["WB.REGISTER", "b:", "d.keys", "SHARED"]);
    assert!(!loaded.status().text("warning").contains("share a collection"));
    replica.wait_until_in_sync_with(&loaded);
    assert!(!replica.status().text("warning").contains("share a collection"));
}

#[test]
fn a_changed_key_option_is_in_the_warning_until_the_prefix_is_registered_again() {
    let world = World::new();
    world.register("k:", "keys", "");
    world.redis.cmd(&["SET", "k:1", "x"]);
    world.redis.flush();
    let warned = || world.redis.status().text("warning").contains("another KEY");
    world.register("k:", "keys", "INTERVAL 5");
    assert!(!warned());
    world.register("k:", "keys", "KEY id SYNC");
    let warning = world.redis.status().text("warning");
    assert!(warning.contains("'k:'") && warning.contains("KEY _id AS STRING"), "{warning}");
    let log = world.redis.log();
    assert_eq!(log.matches("was registered again with another KEY").count(), 1, "{log}");
    // The procedure in the documentation.
    wait_until("the sync ends", SOON, || world.redis.status().int("syncs_pending") == 0);
    world.redis.flush();
    let keys = world.database.collection("keys");
    assert_eq!(keys.count(), 2);
    assert_eq!(keys.count_of(doc! { "id": { "$exists": false } }), 1);
    world.register("k:", "keys", "KEY id");
    assert!(!warned());
    // A new collection has no documents of the old KEY.
    world.register("k:", "others", "KEY oid");
    assert!(!warned());
    world.register("k:", "others", "KEY oid WHOLE");
    assert!(warned());
}
