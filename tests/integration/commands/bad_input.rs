//! An invalid argument causes one error that names it and its valid values, and changes nothing.

use testkit::mongod::unreachable_uri;
use testkit::redis_server::{Redis, Setup};

/// Asserts that the command fails with an error that contains all of `names`.
#[track_caller]
fn is_refused(redis: &Redis, words: &[&str], names: &[&str]) {
    let error = redis.error(words);
    for name in names {
        let named = error.to_uppercase().contains(&name.to_uppercase());
        assert!(named, "{words:?} replies {error:?}, which does not contain {name}");
    }
    assert_eq!(redis.status().int("registrations"), 0, "{words:?}");
}

fn redis() -> Redis {
    Redis::start(&unreachable_uri())
}

#[test]
fn an_invalid_option_of_register_is_named() {
    let redis = redis();
    let cases: [(&str, &[&str]); 17] = [
        ("TEAPOT", &["TEAPOT"]),
        ("SYNC TEAPOT", &["TEAPOT"]),
        ("TYPE TEAPOT", &["TYPE", "HASH"]),
        ("TYPE", &["TYPE"]),
        ("KEY", &["KEY"]),
        ("KEY id AS", &["AS"]),
        ("KEY id AS TEAPOT", &["AS", "INT64"]),
        ("AS INT64", &["AS"]),
        ("WRITE TEAPOT", &["WRITE", "REPLACE", "MERGE"]),
        ("ONDEL TEAPOT", &["ONDEL", "DELETE", "KEEP"]),
        ("ONEXPIRE TEAPOT", &["ONEXPIRE", "DELETE", "KEEP"]),
        ("ONEVICT TEAPOT", &["ONEVICT", "DELETE", "KEEP"]),
        ("INTERVAL soon", &["INTERVAL"]),
        ("INTERVAL -1", &["INTERVAL"]),
        ("BATCH 0", &["BATCH"]),
        ("BATCH", &["BATCH"]),
        ("KEY $bad", &["KEY"]),
    ];
    for (options, names) in cases {
        let words: Vec<&str> = options.split_whitespace().collect();
        is_refused(&redis, &[&["WB.REGISTER", "k:", "db.keys"], words.as_slice()].concat(), names);
    }
}

#[test]
fn options_of_future_versions_are_refused_by_name() {
    let redis = redis();
    for option in ["PARTS {id}", "REFRESH UPDATE"] {
        let words: Vec<&str> = option.split_whitespace().collect();
        let command = [&["WB.REGISTER", "k:", "db.keys"], words.as_slice()].concat();
        is_refused(&redis, &command, &words[..1]);
    }
}

#[test]
fn an_invalid_word_of_a_schema_is_named() {
    let redis = redis();
    let cases: [(&str, &[&str]); 8] = [
        ("", &["SCHEMA", "<field|*>"]),
        ("age", &["SCHEMA", "age", "INT64"]),
        ("age TEAPOT", &["SCHEMA", "age", "DECIMAL"]),
        ("age INT64 AS", &["AS"]),
        ("age INT64 age DATE", &["SCHEMA", "age", "twice"]),
        ("a INT64 AS c b INT64 AS c", &["SCHEMA", "c"]),
        ("a INT64 AS _id", &["SCHEMA", "_id"]),
        ("* INT64 TYPE HASH", &["SCHEMA", "TYPE"]),
    ];
    for (words, names) in cases {
        let words: Vec<&str> = words.split_whitespace().collect();
        let command = [&["WB.REGISTER", "k:", "db.keys", "SCHEMA"], words.as_slice()].concat();
        is_refused(&redis, &command, names);
    }
}

#[test]
fn a_malformed_namespace_is_refused() {
    let redis = redis();
    for namespace in ["nodot", ".keys", "db.", "", "d b.keys", "d/b.keys", "d$b.keys", "db.$x"] {
        is_refused(&redis, &["WB.REGISTER", "k:", namespace], &["database.collection"]);
    }
    let long = format!("db.{}", "x".repeat(300));
    is_refused(&redis, &["WB.REGISTER", "k:", &long], &[]);
}

#[test]
fn a_wrong_number_of_arguments_is_refused() {
    let redis = redis();
    let cases: [&[&str]; 8] = [
        &["WB.REGISTER"],
        &["WB.REGISTER", "k:"],
        &["WB.UNREGISTER"],
        &["WB.UNREGISTER", "k:", "DISCARD", "more"],
        &["WB.STATUS", "k:", "more"],
        &["WB.FLUSH", "KEYS"],
        &["WB.LIST", "more"],
        &["WB.HELP", "more"],
    ];
    for words in cases {
        is_refused(&redis, words, &[]);
    }
}

#[test]
fn invalid_arguments_of_the_other_commands_are_named() {
    let redis = redis();
    redis.cmd(&["WB.REGISTER", "k:", "db.keys"]);
    let cases: [(&[&str], &str); 18] = [
        (&["WB.UNREGISTER", "k:", "TEAPOT"], "DISCARD"),
        (&["WB.FLUSH", "k:", "TEAPOT"], "TIMEOUT"),
        (&["WB.FLUSH", "TIMEOUT"], "TIMEOUT"),
        (&["WB.FLUSH", "TIMEOUT", "soon"], "TIMEOUT"),
        (&["WB.FLUSH", "TIMEOUT", "-1"], "TIMEOUT"),
        (&["WB.FLUSH", "KEYS", "0"], "KEYS"),
        (&["WB.FLUSH", "KEYS", "2", "k:1"], "KEYS"),
        (&["WB.FLUSH", "KEYS", "x", "k:1"], "KEYS"),
        (&["WB.PAUSE", "unknown:"], "unknown:"),
        (&["WB.RESUME", "unknown:"], "unknown:"),
        (&["WB.PAUSE", "k:", "more"], "wrong number"),
        (&["WB.DEADLETTER"], "wrong number"),
        (&["WB.DEADLETTER", "TEAPOT"], "TEAPOT"),
        (&["WB.DEADLETTER", "LIST", "k:", "TEAPOT"], "COUNT"),
        (&["WB.DEADLETTER", "LIST", "COUNT", "0"], "COUNT"),
        (&["WB.DEADLETTER", "LIST", "COUNT"], "COUNT"),
        (&["WB.DEADLETTER", "RETRY", "KEY"], "KEY"),
        (&["WB.DEADLETTER", "DROP", "k:", "TEAPOT"], "KEY"),
    ];
    for (words, name) in cases {
        let error = redis.error(words);
        assert!(error.contains(name), "{words:?} replies {error:?}");
    }
    assert_eq!(redis.status().int("registrations"), 1);
}

#[test]
fn a_malformed_uri_is_refused_and_the_old_one_stays() {
    let redis = redis();
    let get = || redis.run::<Vec<String>>(&["CONFIG", "GET", "writebehind.mongodb-uri"]);
    let before = get();
    for uri in ["", "localhost:27017", "http://localhost", "mongodb://", "mongodb://h/?nonsense=1"]
    {
        let error = redis.error(&["CONFIG", "SET", "writebehind.mongodb-uri", uri]);
        assert!(error.contains("mongodb-uri"), "{uri}: {error}");
    }
    assert_eq!(get(), before);
}

#[test]
fn a_password_in_the_uri_is_refused_and_not_repeated() {
    let redis = redis();
    for uri in ["mongodb://ann:s3cret@localhost", "mongodb+srv://ann:s3cret@example.test/db"] {
        let error = redis.error(&["CONFIG", "SET", "writebehind.mongodb-uri", uri]);
        assert!(error.contains("mongodb-uri-file"), "{error}");
        assert!(!error.contains("s3cret"), "{error}");
    }
    assert!(!redis.log().contains("s3cret"));

    let log = Setup::new("mongodb://ann:s3cret@localhost").try_start().err().expect("no server");
    assert!(log.contains("mongodb-uri-file"), "{log}");
    let ours = log.lines().filter(|line| line.contains("writebehind"));
    assert!(!ours.collect::<String>().contains("s3cret"), "{log}");
}

#[test]
fn an_unknown_setting_stops_the_load() {
    let log =
        Setup::new(&unreachable_uri()).setting("teapot", "1").try_start().err().expect("no server");
    assert!(log.contains("teapot"), "{log}");
}

#[test]
fn an_option_that_is_given_twice_is_refused() {
    let redis = redis();
    for options in [
        "KEY a KEY b",
        "KEY a AS INT64 KEY a",
        "TYPE HASH type HASH",
        "WRITE MERGE ONDEL KEEP WRITE MERGE",
        "ONDEL KEEP ONDEL KEEP",
        "ONEXPIRE KEEP ONEXPIRE KEEP",
        "ONEVICT KEEP ONEVICT KEEP",
        "TTLFIELD a TTLFIELD b",
        "INTERVAL 5 INTERVAL 5",
        "BATCH 5 BATCH 5",
        "SYNC SYNC",
    ] {
        let words: Vec<&str> = options.split_whitespace().collect();
        let command = [&["WB.REGISTER", "k:", "db.keys"], words.as_slice()].concat();
        let repeated = if options.starts_with("WRITE") { "WRITE" } else { words[0] };
        is_refused(&redis, &command, &[repeated, "twice"]);
    }
    for command in ["WB.FLUSH TIMEOUT 1 TIMEOUT 2", "WB.FLUSH KEYS 1 a KEYS 1 b"] {
        let words: Vec<&str> = command.split_whitespace().collect();
        is_refused(&redis, &words, &["WB.FLUSH"]);
    }
    // The value of an option may be the name of one.
    redis.cmd(&["WB.REGISTER", "k:", "db.keys", "KEY", "KEY", "TTLFIELD", "TTLFIELD"]);
}

#[test]
fn a_module_argument_that_is_given_twice_stops_the_load() {
    let setup = Setup::new(&unreachable_uri()).setting("batch-max-keys", "5");
    let log = setup.setting("BATCH-MAX-KEYS", "6").try_start().err().expect("no server");
    assert!(log.contains("batch-max-keys is given twice"), "{log}");
}

#[test]
fn the_internal_databases_of_mongodb_are_refused() {
    let redis = redis();
    for database in ["admin", "config", "local", "Admin"] {
        is_refused(&redis, &["WB.REGISTER", "k:", &format!("{database}.keys")], &[database]);
    }
}
