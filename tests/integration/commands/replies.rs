//! The replies of each command, in RESP2 and RESP3.

use redis::{Connection, Value};

use testkit::fixture::World;
use testkit::redis_server::command;
use testkit::redis_server::reply::Fields;
use testkit::wait::{SOON, wait_until};

const STATUS: [&str; 30] = [
    "version",
    "role",
    "link",
    "link_error",
    "link_since_unix_ms",
    "paused",
    "registrations",
    "dirty_keys",
    "in_flight_keys",
    "blocked_keys",
    "dead_letters",
    "resting",
    "oldest_dirty_ms",
    "captured_total",
    "coalesced_total",
    "written_total",
    "deleted_total",
    "failed_total",
    "retries_total",
    "batches_total",
    "bytes_total",
    "lag_p50_us",
    "lag_p99_us",
    "last_error",
    "last_write_unix_ms",
    "memory_bytes",
    "prefixes",
    "lease",
    "lease_epoch",
    "shard",
];

const COMMANDS: [&str; 16] = [
    "WB.REGISTER",
    "WB.UNREGISTER",
    "WB.LIST",
    "WB.STATUS",
    "WB.METRICS",
    "WB.EXPLAIN",
    "WB.CHECK",
    "WB.FLUSH",
    "WB.SYNC",
    "WB.LOAD",
    "WB.CANCEL",
    "WB.PAUSE",
    "WB.RESUME",
    "WB.LEASE",
    "WB.DEADLETTER",
    "WB.HELP",
];

fn ask(connection: &mut Connection, words: &[&str]) -> Value {
    command(words).query(connection).unwrap_or_else(|error| panic!("{words:?}: {error}"))
}

/// Runs the test in both protocols.
fn in_both_protocols(world: &World, test: impl Fn(&mut Connection, bool)) {
    test(&mut world.redis.connect(), false);
    test(&mut world.redis.connect_resp3(), true);
}

#[test]
fn register_replies_ok() {
    let world = World::new();
    in_both_protocols(&world, |connection, _| {
        let namespace = world.database.namespace("people");
        assert_eq!(ask(connection, &["WB.REGISTER", "person:", &namespace]), Value::Okay);
        let every_option = [
            "TYPE", "HASH", "KEY", "id", "AS", "INT64", "WRITE", "MERGE", "ONDEL", "KEEP",
            "ONEXPIRE", "DELETE", "ONEVICT", "DELETE", "TTLFIELD", "until", "INTERVAL", "50",
            "BATCH", "10", "SYNC",
        ];
        let words = [&["WB.REGISTER", "all:", &namespace], every_option.as_slice()].concat();
        assert_eq!(ask(connection, &words), Value::Okay);
        let lower: Vec<String> = words.iter().map(|word| word.to_lowercase()).collect();
        let lower: Vec<&str> = lower.iter().map(String::as_str).collect();
        assert_eq!(ask(connection, &lower), Value::Okay);
    });
}

#[test]
fn unregister_replies_with_the_number_of_dirty_keys() {
    let world = World::new();
    in_both_protocols(&world, |connection, _| {
        world.register("k:", "keys", "INTERVAL 60000");
        for key in ["k:1", "k:2", "k:3", "k:1"] {
            ask(connection, &["SET", key, "x"]);
        }
        assert_eq!(ask(connection, &["WB.UNREGISTER", "k:"]), Value::Int(3));
        world.redis.flush();
    });
}

#[test]
fn status_is_a_map_of_every_field() {
    let world = World::new();
    world.register("k:", "keys", "");
    in_both_protocols(&world, |connection, resp3| {
        let reply = ask(connection, &["WB.STATUS"]);
        assert_eq!(matches!(reply, Value::Map(_)), resp3, "{reply:?}");
        let fields: Fields = redis::from_redis_value(reply).expect("a map");
        for name in STATUS {
            fields.value(name);
        }
        assert_eq!(fields.text("role"), "master");
        assert_eq!(fields.int("registrations"), 1);
        assert_eq!(fields.int("paused"), 0);
    });
}

#[test]
fn status_of_a_prefix_shows_its_options_and_its_own_counters() {
    let world = World::new();
    world.register("k:", "keys", "TYPE HASH KEY id AS INT64 WRITE MERGE INTERVAL 20 BATCH 7");
    world.register("other:", "others", "");
    world.redis.cmd(&["HSET", "k:1", "a", "b"]);
    world.redis.cmd(&["SET", "other:1", "x"]);
    world.redis.flush();
    in_both_protocols(&world, |connection, resp3| {
        let reply = ask(connection, &["WB.STATUS", "k:"]);
        assert_eq!(matches!(reply, Value::Map(_)), resp3, "{reply:?}");
        let shown = format!("{reply:?}").to_uppercase();
        let namespace = world.database.namespace("keys").to_uppercase();
        for option in [namespace.as_str(), "HASH", "INT64", "MERGE"] {
            assert!(shown.contains(option), "{option} in {shown}");
        }
        let fields: Fields = redis::from_redis_value(reply).expect("a map");
        assert_eq!(fields.int("written_total"), 1);
        assert_eq!(fields.int("captured_total"), 1);
    });
    assert!(world.redis.error(&["WB.STATUS", "unknown:"]).contains("unknown:"));
}

#[test]
fn an_acknowledged_write_is_in_the_status() {
    let world = World::new();
    assert_eq!(world.redis.status().text("link"), "idle");
    world.register("k:", "keys", "");
    world.redis.cmd(&["SET", "k:1", "x"]);
    world.redis.flush();
    // The lag is reported after the acknowledgement.
    wait_until("the lag is known", SOON, || world.redis.status().int("lag_p50_us") > 0);
    let status = world.redis.status();
    assert!(status.int("lag_p99_us") > 0);
    assert_eq!(status.text("link"), "up");
    assert_eq!(status.text("link_error"), "");
    assert!(status.int("last_write_unix_ms") > 1_700_000_000_000);
    assert!(status.int("bytes_total") > 0 && status.int("batches_total") > 0);
}

#[test]
fn the_lag_is_measured_for_each_prefix() {
    let world = World::new();
    world.register("slow:", "slow", "INTERVAL 300");
    world.register("quiet:", "quiet", "");
    world.redis.cmd(&["SET", "slow:1", "x"]);
    let lag = |prefix: &str| {
        let status: Fields = world.redis.run(&["WB.STATUS", prefix]);
        (status.int("lag_p50_us"), status.int("lag_p99_us"))
    };
    wait_until("the lag is known", SOON, || lag("slow:").0 > 0);
    // The lag is exact to 1 %.
    assert!(lag("slow:").0 >= 297_000 && lag("slow:").1 >= 297_000, "{:?}", lag("slow:"));
    assert_eq!(lag("quiet:"), (0, 0));
    // A new registration of the same prefix starts without a lag.
    world.redis.cmd(&["WB.UNREGISTER", "slow:"]);
    world.register("slow:", "slow", "");
    assert_eq!(lag("slow:"), (0, 0));
}

#[test]
fn flush_is_a_map_of_three_counts() {
    let world = World::new();
    world.register("k:", "keys", "INTERVAL 60000");
    in_both_protocols(&world, |connection, resp3| {
        ask(connection, &["MSET", "k:1", "x", "k:2", "y"]);
        let reply = ask(connection, &["WB.FLUSH"]);
        assert_eq!(matches!(reply, Value::Map(_)), resp3, "{reply:?}");
        let fields: Fields = redis::from_redis_value(reply).expect("a map");
        assert_eq!(fields.names(), ["error", "failed", "pending", "persisted"]);
        assert_eq!((fields.int("persisted"), fields.int("pending")), (2, 0));
    });
}

#[test]
fn help_names_every_command() {
    let world = World::new();
    in_both_protocols(&world, |connection, _| {
        let lines: Vec<String> =
            redis::from_redis_value(ask(connection, &["WB.HELP"])).expect("lines");
        for name in COMMANDS {
            // Without the common prefix, like the HELP of the server's own commands.
            let name = &name["WB.".len()..];
            assert!(lines.iter().any(|line| line.starts_with(name)), "{name} in {lines:?}");
        }
    });
}

#[test]
fn every_command_is_in_command_docs() {
    let world = World::new();
    for name in COMMANDS {
        let docs: Value = world.redis.run(&["COMMAND", "DOCS", name]);
        let docs = format!("{docs:?}");
        assert!(docs.contains("summary") && docs.contains("complexity"), "{name}: {docs}");
    }
}

#[test]
fn errors_are_the_same_in_both_protocols() {
    let world = World::new();
    let wrong: [&[&str]; 4] = [
        &["WB.REGISTER", "k:", "nodot"],
        &["WB.STATUS", "unknown:"],
        &["WB.UNREGISTER", "unknown:"],
        &["WB.FLUSH", "TIMEOUT", "soon"],
    ];
    for words in wrong {
        let error = |mut connection: Connection| {
            command(words).query::<Value>(&mut connection).expect_err("error").to_string()
        };
        let resp2 = error(world.redis.connect());
        assert_eq!(resp2, error(world.redis.connect_resp3()));
        assert!(!resp2.contains('\n'), "{resp2}");
    }
}

#[test]
fn internal_commands_refuse_clients() {
    let world = World::new();
    let commands: Vec<String> =
        world.redis.run(&["COMMAND", "LIST", "FILTERBY", "MODULE", "writebehind"]);
    // The digest changes nothing, so clients may call it.
    let changes = |name: &&String| name.starts_with("wb._") && *name != "wb._digest";
    for name in
        commands.iter().map(|name| name.to_lowercase()).collect::<Vec<_>>().iter().filter(changes)
    {
        for arguments in [&[][..], &["0"], &["0", "k:1"]] {
            let mut words = vec![name.as_str()];
            words.extend(arguments);
            world.redis.error(&words);
        }
    }
}

#[test]
fn help_needs_no_privileges() {
    let world = World::new();
    for rights in ["-@all", "+@read"] {
        let user = ["ACL", "SETUSER", "ann", "reset", "on", ">pass", rights];
        world.redis.cmd(&user);
        let mut ann = world.redis.connect();
        ask(&mut ann, &["AUTH", "ann", "pass"]);
        for help in [&["WB.HELP"][..], &["WB.DEADLETTER", "HELP"]] {
            let lines = format!("{:?}", ask(&mut ann, help));
            assert!(lines.contains("HELP"), "{rights}: {lines}");
        }
        command(&["WB.REGISTER", "k:", "db.keys"]).query::<Value>(&mut ann).expect_err("refused");
    }
}

#[test]
fn the_error_for_a_prefix_of_another_database_names_that_database() {
    let world = World::new();
    world.redis.cmd(&["WB.REGISTER", "here:", "db.keys"]);
    for db in [3, 5] {
        let mut other = world.redis.connect_db(db);
        ask(&mut other, &["WB.REGISTER", "there:", &format!("db.others{db}")]);
    }
    ask(&mut world.redis.connect_db(7), &["WB.REGISTER", "one:", "db.ones"]);
    for words in [
        &["WB.STATUS", "one:"][..],
        &["WB.FLUSH", "one:"],
        &["WB.SYNC", "one:"],
        &["WB.LOAD", "one:"],
        &["WB.CANCEL", "one:"],
        &["WB.PAUSE", "one:"],
        &["WB.RESUME", "one:"],
        &["WB.UNREGISTER", "one:"],
        &["WB.DEADLETTER", "LIST", "one:"],
        &["WB.DEADLETTER", "DROP", "one:"],
    ] {
        let error = world.redis.error(words);
        assert!(error.contains("in database 0: it is registered in database 7"), "{error}");
    }
    let error = world.redis.error(&["WB.STATUS", "there:"]);
    assert!(error.contains("it is registered in databases 3, 5"), "{error}");
    let error = world.redis.error(&["WB.STATUS", "nowhere:"]);
    assert!(error.contains("WB.STATUS lists the prefixes of all databases"), "{error}");
}
