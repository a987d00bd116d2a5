//! WB.CHECK: the topology of a deployment and whether the module can use it; only the client
//! blocks.

use std::time::{Duration, Instant};

use mongodb::bson::doc;
use redis::{FromRedisValue, Value};

use testkit::fixture::World;
use testkit::mongod::users::{Guarded, PASSWORD};
use testkit::mongod::{Mongod, unreachable_uri};
use testkit::redis_server::reply::Fields;
use testkit::redis_server::{Redis, Setup, command};
use testkit::wait::{SOON, wait_until};

const FIELDS: [&str; 7] =
    ["clock_skew_ms", "error", "ok", "rights", "server", "set_name", "topology"];

#[track_caller]
fn check(redis: &Redis, arguments: &[&str]) -> Fields {
    redis.run(&[&["WB.CHECK"], arguments].concat())
}

/// Namespace and missing actions of each registration.
fn rights(found: &Fields) -> Vec<(String, Vec<String>)> {
    let rights = Vec::<Value>::from_redis_value(found.value("rights").clone()).expect("a list");
    let rights = rights.into_iter().map(|rights| {
        let rights = Fields::from_redis_value(rights).expect("a map");
        let missing =
            Vec::<String>::from_redis_value(rights.value("missing").clone()).expect("a list");
        assert_eq!(rights.int("ok") == 1, missing.is_empty());
        (rights.text("namespace"), missing)
    });
    rights.collect()
}

#[test]
fn a_usable_deployment_is_described() {
    let world = World::new();
    world.register("k:", "keys", "");
    world.register("n:", "numbers", "KEY number");
    for mut connection in [world.redis.connect(), world.redis.connect_resp3()] {
        let found: Fields = command(&["WB.CHECK"]).query(&mut connection).expect("a map");
        assert_eq!(found.names(), FIELDS);
        assert_eq!((found.int("ok"), found.text("error")), (1, String::new()));
        let version = Mongod::shared().admin(doc! { "buildInfo": 1 });
        assert_eq!(found.text("server"), version.get_str("version").expect("version"));
        assert_eq!(found.text("topology"), "replica set");
        assert_eq!(found.text("set_name"), "rs");
        assert!(found.int("clock_skew_ms").abs() < 1000, "{}", found.int("clock_skew_ms"));
        let namespaces = ["keys", "numbers"].map(|name| (world.database.namespace(name), vec![]));
        assert_eq!(rights(&found), namespaces);
    }
    let standalone = Mongod::standalone();
    let found = check(&world.redis, &[&standalone.uri()]);
    assert_eq!((found.int("ok"), found.text("topology")), (1, "standalone".to_owned()));
    assert_eq!(found.text("set_name"), "");
}

#[test]
fn an_unusable_deployment_is_reported_with_the_reason() {
    let redis = Redis::start(&unreachable_uri());
    let start = Instant::now();
    let found = check(&redis, &[]);
    assert_eq!(found.int("ok"), 0);
    assert!(found.text("error").contains("connection refused"), "{}", found.text("error"));
    assert_eq!((found.text("server"), found.text("topology")), (String::new(), String::new()));
    assert!(start.elapsed() < Duration::from_secs(3), "{:?}", start.elapsed());
    let found = check(&redis, &[&format!("{}x", Mongod::shared().uri())]);
    assert!(found.text("error").contains("check replicaSet"), "{}", found.text("error"));
    assert_eq!(redis.status().text("link"), "idle", "a check does not open the link");
}

#[test]
fn an_invalid_uri_and_a_check_in_a_script_are_refused_and_a_password_is_not_repeated() {
    let redis = Redis::start(&unreachable_uri());
    let error = redis.error(&["WB.CHECK", "mongodb://ann:s3cret@127.0.0.1"]);
    assert!(error.contains("mongodb-uri-file") && !error.contains("s3cret"), "{error}");
    let error = redis.error(&["WB.CHECK", "mongodb://127.0.0.1/?maxPoolSize=0"]);
    assert!(error.contains("maxPoolSize"), "{error}");
    redis.error(&["WB.CHECK", "mongodb://127.0.0.1", "twice"]);
    let error = redis.error(&["EVAL", "return redis.call('WB.CHECK')", "0"]);
    assert!(error.contains("MULTI or in a script") || error.contains("not allowed"), "{error}");
    redis.cmd(&["MULTI"]);
    redis.cmd(&["WB.CHECK"]);
    let error = redis.error(&["EXEC"]);
    assert!(error.contains("cannot run in MULTI"), "{error}");
    assert!(!redis.log().contains("s3cret"));
}

#[test]
fn missing_privileges_of_the_user_are_reported_for_each_namespace() {
    let guarded = Guarded::start();
    let roles =
        vec![doc! { "role": "readWrite", "db": "mine" }, doc! { "role": "read", "db": "other" }];
    guarded.mongod.admin(doc! { "createUser": "ann", "pwd": PASSWORD, "roles": roles });
    let folder = tempfile::tempdir().expect("folder");
    let file = folder.path().join("uri");
    std::fs::write(&file, guarded.uri("ann", PASSWORD)).expect("file");
    let redis = Setup::default().setting("mongodb-uri-file", file.to_str().expect("path")).start();
    redis.cmd(&["WB.REGISTER", "a:", "mine.keys", "KEY", "id"]);
    assert_eq!(check(&redis, &[]).text("error"), "");
    redis.cmd(&["WB.REGISTER", "b:", "other.keys"]);
    let found = check(&redis, &[]);
    // The role `read` has `find`.
    let missing = ["insert", "update", "remove"].map(str::to_owned).to_vec();
    assert_eq!(
        rights(&found),
        [("mine.keys".to_owned(), vec![]), ("other.keys".to_owned(), missing)]
    );
    assert_eq!(found.int("ok"), 0);
    let error = found.text("error");
    assert!(
        error.contains("insert, update, remove on other.keys") && error.contains("readWrite"),
        "{error}"
    );

    // Without credentials, and with a wrong password.
    let found = check(&redis, &[&guarded.mongod.uri()]);
    assert!(found.text("error").contains("asks for authentication"), "{}", found.text("error"));
    assert_eq!(rights(&found)[0].1.len(), 6);
    std::fs::write(&file, guarded.uri("ann", "wrong")).expect("file");
    let found = check(&redis, &[]);
    assert!(found.text("error").contains("authentication failed"), "{}", found.text("error"));
    assert!(!format!("{found:?}").contains("wrong"));
}

#[test]
fn a_check_blocks_only_its_client_and_a_client_may_disconnect() {
    let mongod = Mongod::standalone();
    let redis = Redis::start(&mongod.uri());
    let blocked = || redis.info("clients", "blocked_clients").expect("a number");
    mongod.freeze();
    let mut waiting = Vec::new();
    for _ in 0..16 {
        let mut connection = redis.connect();
        connection.send_packed_command(&command(&["WB.CHECK"]).get_packed_command()).expect("sent");
        waiting.push(connection);
    }
    wait_until("all wait", SOON, || blocked() == "16");
    let start = Instant::now();
    redis.cmd(&["PING"]);
    assert!(start.elapsed() < Duration::from_secs(1), "{:?}", start.elapsed());
    assert!(
        redis.error(&["WB.CHECK"]).contains("under way"),
        "the number of concurrent checks is limited"
    );
    let last = waiting.pop();
    drop(waiting);
    wait_until("the others have disconnected", SOON, || blocked() == "1");
    mongod.thaw();
    let reply = last.expect("one").recv_response().expect("a reply");
    let found = Fields::from_redis_value(reply).expect("a map");
    println!("{found:?}");
    wait_until("further checks are possible", SOON, || check(&redis, &[]).int("ok") == 1);
    assert_eq!(blocked(), "0");
}

#[test]
fn a_check_is_an_admin_command_and_runs_on_a_replica() {
    let world = World::new();
    let info = format!("{:?}", world.redis.cmd(&["COMMAND", "INFO", "WB.CHECK"]));
    assert!(info.contains("admin") && !info.contains("\"write\""), "{info}");
    if !world.redis.is_redis_7_0() {
        assert!(info.contains("@admin") && info.contains("@dangerous"), "{info}");
    }
    let replica = Redis::start(&Mongod::shared().uri());
    replica.follow(&world.redis);
    assert_eq!(check(&replica, &[]).int("ok"), 1);
    assert_eq!(replica.status().text("link"), "idle");
}

#[test]
fn checks_whose_clients_disconnect_leak_no_memory() {
    let redis = Redis::start(&unreachable_uri());
    let number = |section: &str, field: &str| -> i64 {
        redis.info(section, field).and_then(|value| value.parse().ok()).expect("a number")
    };
    let round = || {
        let send = |_| {
            let mut connection = redis.connect();
            let words = command(&["WB.CHECK"]).get_packed_command();
            connection.send_packed_command(&words).expect("sent");
            connection
        };
        drop((0..8).map(send).collect::<Vec<_>>());
        wait_until("no client is blocked", SOON, || number("clients", "blocked_clients") == 0);
    };
    (0..5).for_each(|_| round());
    let before = number("memory", "used_memory");
    (0..50).for_each(|_| round());
    wait_until("the memory is freed", SOON, || {
        number("memory", "used_memory") < before + (1 << 20)
    });
}
