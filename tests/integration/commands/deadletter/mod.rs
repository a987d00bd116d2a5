//! WB.DEADLETTER: rejected changes are listed with their reason, retried and dropped.

mod persistence;

use mongodb::bson::doc;
use redis::Value;

use testkit::fixture::World;
use testkit::redis_server::reply::Fields;
use testkit::redis_server::{Redis, command};
use testkit::wait::{SOON, wait_until};

/// `WB.DEADLETTER LIST` with arguments.
#[track_caller]
fn list(redis: &Redis, arguments: &[&str]) -> Vec<Fields> {
    redis.run(&[&["WB.DEADLETTER", "LIST"], arguments].concat())
}

#[track_caller]
fn keys(redis: &Redis, arguments: &[&str]) -> Vec<String> {
    list(redis, arguments).iter().map(|row| row.text("key")).collect()
}

#[track_caller]
fn retry(redis: &Redis, arguments: &[&str]) -> i64 {
    redis.run(&[&["WB.DEADLETTER", "RETRY"], arguments].concat())
}

/// Makes `n:word` a dead letter: its suffix is no number.
fn refused(world: &World, words: &[&str]) {
    world.register("n:", "numbers", "KEY number AS INT64");
    world.redis.cmd(words);
    assert_eq!(world.redis.flush().failed, 1);
}

/// Registers `n:` again, so that `n:word` can be written.
fn make_writable(world: &World) {
    world.register("n:", "numbers", "");
}

/// Creates one dead letter of each kind.
fn poison(world: &World) {
    let database = &world.database;
    let index = doc! { "key": { "email": 1 }, "name": "email", "unique": true };
    database.run(doc! { "createIndexes": "unique", "indexes": [index] });
    database.run(doc! { "create": "valid" });
    database
        .run(doc! { "collMod": "valid", "validator": { "$jsonSchema": { "required": ["name"] } } });
    world.register("b:", "big", "");
    world.register("n:", "numbers", "KEY number AS INT64");
    world.register("u:", "unique", "");
    world.register("v:", "valid", "");
    world.redis.cmd(&["HSET", "u:1", "email", "ann@example.test"]);
    world.redis.flush();
    world.redis.cmd(&["HSET", "u:2", "email", "ann@example.test"]);
    world.redis.cmd(&["HSET", "v:1", "other", "x"]);
    world.redis.cmd(&["HSET", "b:1", "field", &"x".repeat(17 << 20)]);
    world.redis.cmd(&["SET", "n:word", "x"]);
    let flushed = world.redis.flush();
    assert_eq!((flushed.failed, flushed.pending), (4, 0));
}

#[test]
fn every_dead_letter_is_listed_with_its_code_and_reason() {
    let world = World::new();
    poison(&world);
    for mut connection in [world.redis.connect(), world.redis.connect_resp3()] {
        let reply: Vec<Value> =
            command(&["WB.DEADLETTER", "LIST"]).query(&mut connection).expect("rows");
        let resp3 = reply.iter().filter(|row| matches!(row, Value::Map(_))).count();
        assert!(resp3 == 0 || resp3 == 4, "{reply:?}");
        let rows: Vec<Fields> = redis::from_redis_value(Value::Array(reply)).expect("maps");
        for (row, (key, code, reason)) in rows.iter().zip([
            ("b:1", 0, "larger"),
            ("n:word", 0, "suffix"),
            ("u:2", 11000, "email"),
            ("v:1", 121, "validation"),
        ]) {
            assert_eq!((row.text("key"), row.int("code")), (key.to_owned(), code));
            assert!(row.text("reason").contains(reason), "{row:?}");
            assert_eq!((row.text("prefix"), row.int("db")), (key[..2].to_owned(), 0));
            assert_eq!(row.int("attempts"), 1);
            assert!(row.int("unix_ms") > 1_700_000_000_000);
            assert!(!format!("{row:?}").contains("ann@example.test"), "{row:?}");
        }
    }
    assert!(matches!(
        command(&["WB.DEADLETTER", "LIST"]).query(&mut world.redis.connect_resp3()),
        Ok(Value::Array(rows)) if matches!(rows[0], Value::Map(_))
    ));
}

#[test]
fn a_list_can_be_limited_to_a_prefix_and_a_count() {
    let world = World::new();
    world.register("n:", "numbers", "KEY number AS INT64");
    world.register("m:", "more", "KEY number AS INT64");
    for key in ["n:a", "n:b", "n:c", "m:a"] {
        world.redis.cmd(&["SET", key, "x"]);
    }
    world.redis.cmd(&["SELECT", "2"]);
    world.register("n:", "second", "KEY number AS INT64");
    world.redis.cmd(&["SET", "n:d", "x"]);
    assert_eq!(world.redis.flush().failed, 5);
    assert_eq!(keys(&world.redis, &[]), ["m:a", "n:a", "n:b", "n:c", "n:d"]);
    assert_eq!(list(&world.redis, &[])[4].int("db"), 2);
    assert_eq!(keys(&world.redis, &["n:"]), ["n:d"]);
    world.redis.cmd(&["SELECT", "0"]);
    assert_eq!(keys(&world.redis, &["n:"]), ["n:a", "n:b", "n:c"]);
    assert_eq!(keys(&world.redis, &["n:", "count", "2"]), ["n:a", "n:b"]);
    assert_eq!(keys(&world.redis, &["COUNT", "1"]), ["m:a"]);
    assert_eq!(keys(&world.redis, &["COUNT", "100"]).len(), 5);
    for subcommand in ["LIST", "RETRY", "DROP"] {
        let error = world.redis.error(&["WB.DEADLETTER", subcommand, "unknown:"]);
        assert!(error.contains("no registration of prefix 'unknown:'"), "{error}");
    }
}

#[test]
fn a_retry_writes_keys_that_can_now_be_written() {
    let world = World::new();
    poison(&world);
    let attempts = |key: &str| {
        let rows = list(&world.redis, &[]);
        rows.iter().find(|row| row.text("key") == key).map(|row| row.int("attempts"))
    };
    assert_eq!(retry(&world.redis, &["KEY", "v:1"]), 1);
    assert_eq!(world.redis.flush().failed, 4);
    assert_eq!((attempts("v:1"), attempts("u:2")), (Some(2), Some(1)));

    world.database.run(doc! { "collMod": "valid", "validator": {} });
    assert_eq!(retry(&world.redis, &["v:"]), 1);
    assert_eq!(world.redis.flush_with(&["v:"]).failed, 0);
    assert_eq!(world.database.collection("valid").count(), 1);
    assert_eq!(attempts("v:1"), None);

    world.database.run(doc! { "dropIndexes": "unique", "index": "email" });
    make_writable(&world);
    assert_eq!(retry(&world.redis, &[]), 3);
    wait_until("they are due at once", SOON, || world.redis.status().int("dead_letters") == 1);
    world.redis.flush();
    assert_eq!(keys(&world.redis, &[]), ["b:1"]);
    assert_eq!(attempts("b:1"), Some(2));
    assert_eq!(world.database.collection("unique").count(), 2);
    world.holds("numbers", "word", "x");
    assert_eq!(retry(&world.redis, &["KEY", "v:1"]), 0);
}

#[test]
fn a_later_successful_write_or_deletion_resolves_the_dead_letter() {
    let world = World::new();
    world.register("v:", "valid", "");
    world.register("keep:", "valid", "ONDEL KEEP SHARED");
    world.database.run(doc! { "create": "valid", "validator": { "name": { "$exists": true } } });
    for key in ["v:1", "v:2", "keep:3"] {
        world.redis.cmd(&["HSET", key, "other", "x"]);
    }
    assert_eq!(world.redis.flush().failed, 3);
    world.redis.cmd(&["HSET", "v:1", "name", "Ann"]);
    world.redis.cmd(&["DEL", "v:2", "keep:3"]);
    assert_eq!(world.redis.flush().failed, 0);
    assert!(list(&world.redis, &[]).is_empty());
    assert_eq!(world.database.collection("valid").count(), 1);
}

#[test]
fn a_refused_deletion_is_retried_as_a_deletion() {
    let world = World::new();
    world.database.collection("numbers").insert(doc! { "_id": "word", "value": "old" });
    refused(&world, &["SET", "n:word", "x"]);
    world.redis.cmd(&["DEL", "n:word"]);
    assert_eq!(world.redis.flush().failed, 1);
    make_writable(&world);
    assert_eq!(retry(&world.redis, &["KEY", "n:word"]), 1);
    assert_eq!(world.redis.flush().failed, 0);
    assert_eq!(world.database.collection("numbers").count(), 0);
}

#[test]
fn dropped_dead_letters_are_removed_and_others_stay() {
    let world = World::new();
    world.register("n:", "numbers", "KEY number AS INT64");
    world.register("m:", "more", "KEY number AS INT64");
    for key in ["n:a", "n:b", "m:a", "m:b"] {
        world.redis.cmd(&["SET", key, "x"]);
    }
    assert_eq!(world.redis.flush().failed, 4);
    let drop = |arguments: &[&str]| -> i64 {
        world.redis.run(&[&["WB.DEADLETTER", "DROP"], arguments].concat())
    };
    assert_eq!((drop(&["key", "n:a"]), drop(&["KEY", "n:a"]), drop(&["KEY", "m:"])), (1, 0, 0));
    assert_eq!(keys(&world.redis, &[]), ["m:a", "m:b", "n:b"]);
    assert_eq!(drop(&["m:"]), 2);
    assert_eq!(keys(&world.redis, &[]), ["n:b"]);
    assert_eq!(world.redis.status_of("m:").int("dead_letters"), 0);
    assert_eq!(world.redis.flush_with(&["n:"]).failed, 1);
    assert_eq!(drop(&[]), 1);
    assert_eq!((drop(&[]), world.redis.flush().failed), (0, 0));
}

#[test]
fn command_getkeys_finds_the_key_of_a_subcommand() {
    let world = World::new();
    for subcommand in ["RETRY", "DROP"] {
        let keys: Vec<String> =
            world.redis.run(&["COMMAND", "GETKEYS", "WB.DEADLETTER", subcommand, "KEY", "k:1"]);
        assert_eq!(keys, ["k:1"]);
    }
    for name in ["LIST", "RETRY", "DROP", "HELP"] {
        let name = format!("wb.deadletter|{name}");
        let docs = format!("{:?}", world.redis.cmd(&["COMMAND", "DOCS", &name]));
        assert!(docs.contains("summary") && docs.contains("complexity"), "{docs}");
    }
    assert!(world.redis.run::<Vec<String>>(&["WB.DEADLETTER", "HELP"]).len() > 3);
}

#[test]
fn only_administrators_may_use_dead_letter_and_pause_commands() {
    let world = World::new();
    let commands: [&[&str]; 5] = [
        &["WB.DEADLETTER", "LIST"],
        &["WB.DEADLETTER", "RETRY"],
        &["WB.DEADLETTER", "DROP"],
        &["WB.PAUSE"],
        &["WB.RESUME"],
    ];
    // Redis 7.0 gives the commands of a module no categories.
    let rules: &[&[&str]] = match world.redis.is_redis_7_0() {
        true => &[&["-wb.deadletter", "-wb.pause", "-wb.resume"]],
        false => &[&["-@admin"], &["-@dangerous"]],
    };
    let mut ann = world.redis.connect();
    for rules in rules {
        let user = ["ACL", "SETUSER", "ann", "reset", "on", "nopass", "allkeys", "+@all"];
        world.redis.cmd(&[&user, *rules].concat());
        command(&["AUTH", "ann", "x"]).exec(&mut ann).expect("AUTH");
        for words in commands {
            let error = command(words).query::<Value>(&mut ann).expect_err("no permission");
            assert!(error.to_string().to_uppercase().contains("NOPERM"), "{words:?}: {error}");
        }
    }
    world.redis.cmd(&["ACL", "SETUSER", "ann", "+wb.deadletter|list"]);
    command(&["WB.DEADLETTER", "LIST"]).exec(&mut ann).expect("LIST");
    command(&["WB.DEADLETTER", "DROP"]).exec(&mut ann).expect_err("DROP");
}

#[test]
fn many_dead_letters_are_listed_and_retried_together() {
    let world = World::new();
    world.register("n:", "numbers", "KEY number AS INT64");
    let script = "for i = 1, 20000 do redis.call('SET', 'n:x' .. i, i) end";
    world.redis.cmd(&["EVAL", script, "0"]);
    assert_eq!(world.redis.flush().failed, 20000);
    let used = world.redis.status().int("memory_bytes");
    assert_eq!(list(&world.redis, &["n:"]).len(), 20000);
    make_writable(&world);
    assert_eq!(retry(&world.redis, &["n:"]), 20000);
    assert_eq!(world.redis.flush().failed, 0);
    assert_eq!(world.database.collection("numbers").count(), 20000);
    assert!(world.redis.status().int("memory_bytes") < used / 2);
}
