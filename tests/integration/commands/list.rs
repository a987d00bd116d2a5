//! WB.LIST: the registrations as the lines of a registrations-file.

use testkit::mongod::unreachable_uri;
use testkit::redis_server::reply::Fields;
use testkit::redis_server::{Redis, Setup, command};

/// Registrations of every option, in two databases, with words that need quotes.
const REGISTRATIONS: [(&str, &[&str]); 6] = [
    ("0", &["movie:", "shop.movies", "TYPE", "JSON", "KEY", "movieId", "AS", "INT64"]),
    ("0", &["a b:", "shop.a b", "KEY", "the \"id\"", "WHOLE", "WRITE", "MERGE", "SHARED"]),
    (
        "0",
        &[
            "user:",
            "shop.users",
            "TTLFIELD",
            "until",
            "INTERVAL",
            "50",
            "BATCH",
            "10",
            "ONDEL",
            "KEEP",
            "ONEXPIRE",
            "DELETE",
            "ONEVICT",
            "DELETE",
            "EXCLUDE",
            "2",
            "*:tmp",
            "in dex*",
            "ONERROR",
            "SKIP",
            "SCHEMA",
            "born",
            "DATE_S",
            "AS",
            "birth day",
            "*",
            "AUTO",
        ],
    ),
    ("7", &["", "shop.rest", "TYPE", "STRING", "UNWRAP", "ATOMIC", "WHOLE"]),
    ("7", &["'quoted'\\:", "shop.quoted"]),
    (
        "3",
        &[
            "c:",
            "shop.c",
            "TYPE",
            "HASH",
            "MODE",
            "THROUGH",
            "TIMEOUT",
            "250",
            "READTHROUGH",
            "TTL",
            "60",
            "ABSENT",
            "0",
        ],
    ),
];

fn lines(redis: &Redis) -> Vec<Vec<u8>> {
    redis.run(&["WB.LIST"])
}

/// A server with these lines as its registrations-file.
fn from_file(lines: &[Vec<u8>]) -> Redis {
    let folder = tempfile::tempdir().expect("folder");
    let file = folder.path().join("registrations");
    std::fs::write(&file, lines.join(&b'\n')).expect("file");
    let path = file.to_str().expect("path");
    Setup::new(&unreachable_uri()).setting("registrations-file", path).start()
}

#[test]
fn the_lines_restore_every_registration_from_a_file() {
    let redis = Redis::start(&unreachable_uri());
    assert!(lines(&redis).is_empty());
    for (db, words) in REGISTRATIONS {
        redis.cmd(&["SELECT", db]);
        redis.cmd(&[&["WB.REGISTER"], words].concat());
    }
    redis.cmd(&["SELECT", "0"]);
    let mut binary = redis::cmd("WB.REGISTER");
    binary.arg(&b"\xff\x00\n:"[..]).arg("shop.binary").exec(&mut redis.connection()).expect("OK");
    redis.cmd(&["WB.REGISTER", "gone:", "shop.gone"]);
    redis.cmd(&["WB.UNREGISTER", "gone:"]);

    let listed = lines(&redis);
    let selected = listed.iter().filter(|line| line.starts_with(b"SELECT ")).collect::<Vec<_>>();
    assert_eq!(selected, [b"SELECT 3", b"SELECT 7"]);
    assert_eq!(listed.len(), REGISTRATIONS.len() + 1 + 2);

    let again = from_file(&listed);
    assert_eq!(lines(&again), listed);
    for (db, words) in REGISTRATIONS {
        for server in [&redis, &again] {
            server.cmd(&["SELECT", db]);
        }
        let [old, new] = [&redis, &again].map(|server| server.status_of(words[0]));
        assert_eq!(old.names(), new.names(), "{words:?}");
        // Either server may have noticed already that MongoDB is unreachable.
        for field in old.names().into_iter().filter(|field| *field != "last_error") {
            assert_eq!(old.value(field), new.value(field), "{field} of {words:?}");
        }
    }
}

#[test]
fn the_registrations_above_have_every_option() {
    let redis = Redis::start(&unreachable_uri());
    let docs: Fields = redis.run(&["COMMAND", "DOCS", "WB.REGISTER"]);
    let [name] = docs.names()[..] else { panic!("{docs:?}") };
    let docs: Fields = redis::from_redis_value(docs.value(name).clone()).expect("a map");
    let arguments = docs.value("arguments").clone();
    let arguments: Vec<Fields> = redis::from_redis_value(arguments).expect("arguments");
    let options = arguments.iter().filter(|argument| argument.names().contains(&"token"));
    let options: Vec<String> = options.map(|argument| argument.text("token")).collect();
    assert!(options.len() > 10, "{options:?}");
    for option in options.iter().filter(|option| *option != "SYNC") {
        let has = |(_, words): &(_, &[&str])| words.contains(&option.as_str());
        assert!(REGISTRATIONS.iter().any(has), "no registration has {option}");
    }
}

#[test]
fn the_lines_of_a_shared_collection_are_accepted_in_their_order() {
    let redis = Redis::start(&unreachable_uri());
    // The second one of each pair needs SHARED, and precedes the first by name or database.
    for (db, prefix, collection, shared) in [
        ("0", "z:", "shop.one", None),
        ("0", "a:", "shop.one", Some("SHARED")),
        ("3", "m:", "shop.two", None),
        ("0", "n:", "shop.two", Some("SHARED")),
    ] {
        redis.cmd(&["SELECT", db]);
        redis.cmd(&[&["WB.REGISTER", prefix, collection][..], shared.as_slice()].concat());
    }
    let listed = lines(&redis);
    let again = from_file(&listed);
    assert_eq!(again.status().int("registrations"), 4);
    assert_eq!(lines(&again), listed);
}

#[test]
fn it_needs_no_other_right_and_is_in_the_category_read() {
    let redis = Redis::start(&unreachable_uri());
    redis.cmd(&["WB.REGISTER", "k:", "db.keys"]);
    redis.cmd(&["ACL", "SETUSER", "reader", "on", ">secret", "+auth", "+wb.list"]);
    let mut client = redis.connect();
    command(&["AUTH", "reader", "secret"]).exec(&mut client).expect("AUTH");
    let listed: Vec<String> = command(&["WB.LIST"]).query(&mut client).expect("lines");
    assert!(listed[0].starts_with("WB.REGISTER k: db.keys "), "{listed:?}");
    let categories: Vec<String> = redis.run(&["ACL", "CAT", "read"]);
    let has_categories = categories.iter().any(|name| name.eq_ignore_ascii_case("wb.status"));
    let is_listed = categories.iter().any(|name| name.eq_ignore_ascii_case("wb.list"));
    assert_eq!(is_listed, has_categories);
}
