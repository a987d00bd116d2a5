//! Clients in all states: many at once, in MULTI and scripts, of other databases, subscribed, tracking, gone.

use std::time::{Duration, Instant};

use redis::Value;
use testkit::redis_server::{Setup, command};

use super::*;

#[test]
fn a_thousand_clients_of_one_key_cost_one_read() {
    let world = World::new();
    strings(&world, "", 1);
    let mut connections: Vec<redis::Connection> =
        (0..1000).map(|_| world.redis.connect()).collect();
    let asked = || {
        let status = world.database.run(doc! { "serverStatus": 1 });
        status.get_document("opcounters").unwrap().get("query").unwrap().as_i64().or_else(|| {
            status.get_document("opcounters").unwrap().get_i32("query").ok().map(i64::from)
        })
    };
    let _ = asked();
    for connection in &mut connections {
        connection.send_packed_command(&command(&["GET", "k:0"]).get_packed_command()).unwrap();
    }
    for connection in &mut connections {
        let reply = connection.recv_response().unwrap();
        assert_eq!(redis::from_redis_value::<String>(reply).unwrap(), "value-0");
    }
    assert_eq!(figure(&world.redis, "read_loads_total"), 1);
    assert_eq!(figure(&world.redis, "reads_total"), 1000);
}

#[test]
fn in_multi_and_in_scripts_there_is_what_redis_has() {
    let world = World::new();
    strings(&world, "", 4);
    let redis = &world.redis;
    let mut pipeline = redis::pipe();
    pipeline.atomic().cmd("GET").arg("k:0").cmd("EXISTS").arg("k:1");
    let replies: (Option<String>, i64) = pipeline.query(&mut redis.connection()).expect("EXEC");
    assert_eq!(replies, (None, 0));
    let script = "return redis.call('get', ARGV[1])";
    assert_eq!(redis.run::<Option<String>>(&["EVAL", script, "0", "k:0"]), None);
    // A key that a script declares is loaded before it runs.
    let script = "return redis.call('get', KEYS[1])";
    assert_eq!(redis.run::<String>(&["EVAL", script, "1", "k:2"]), "value-2");
    let sha: String = redis.run(&["SCRIPT", "LOAD", script]);
    assert_eq!(redis.run::<String>(&["EVALSHA", &sha, "1", "k:3"]), "value-3");
    assert_eq!(figure(redis, "read_unloaded_total"), 2);
    // WATCH does not load.
    redis.cmd(&["WATCH", "k:0"]);
    redis.cmd(&["UNWATCH"]);
    assert_eq!(redis.run::<i64>(&["DBSIZE"]), 2);
}

#[test]
fn keys_of_other_databases_are_found() {
    let world = World::new();
    world.database.collection("three").insert_many(numbered(5));
    strings(&world, "", 5);
    let mut third = world.redis.connect_db(3);
    let namespace = world.database.namespace("three");
    let line = ["WB.REGISTER", "n:", &namespace, "TYPE", "STRING", "READTHROUGH"];
    command(&line).query::<()>(&mut third).expect("register");
    let mut get_3 = |key: &str| command(&["GET", key]).query::<Option<String>>(&mut third).unwrap();
    assert_eq!(get_3("n:1").as_deref(), Some("value-1"));
    assert_eq!(get_3("k:1"), None, "registered in database 0 only");
    assert_eq!(get(&world.redis, "n:1"), None);
    assert_eq!(get(&world.redis, "k:1").as_deref(), Some("value-1"));
    // The key is in database 0, the client in another one.
    assert_eq!(get_3("k:1"), None);
    assert_eq!(get_3("n:2").as_deref(), Some("value-2"));
}

#[test]
fn a_client_that_had_selected_another_database_before_is_known() {
    let world = World::new();
    let mut third = world.redis.connect_db(3);
    command(&["SET", "n:1", "of 3"]).query::<()>(&mut third).unwrap();
    world.redis.cmd(&["SET", "n:1", "of 0"]);
    world.database.collection("three").insert_many(numbered(3));
    let namespace = world.database.namespace("three");
    let line = ["WB.REGISTER", "n:", &namespace, "TYPE", "STRING", "READTHROUGH"];
    command(&line).query::<()>(&mut third).expect("register");
    wait_until("MongoDB is reached", SOON, || world.redis.status().text("link") == "up");
    world.redis.cmd(&["SET", "n:2", "of 0"]);
    let value: Option<String> = command(&["GET", "n:2"]).query(&mut third).unwrap();
    assert_eq!(value.as_deref(), Some("value-2"));
}

#[test]
fn replicas_read_what_they_have_and_get_what_the_master_loads() {
    let world = World::new();
    strings(&world, "", 3);
    let replica = Setup::new(&testkit::mongod::Mongod::shared().uri()).start();
    replica.follow(&world.redis);
    assert_eq!(get(&replica, "k:0"), None);
    assert!(get(&world.redis, "k:0").is_some());
    replica.wait_until_in_sync_with(&world.redis);
    assert_eq!(get(&replica, "k:0").as_deref(), Some("value-0"));
    is_untouched(&world.redis);
    is_untouched(&replica);
    replica.promote();
    wait_until("it loads", 3 * SOON, || {
        let reply: redis::RedisResult<Option<String>> =
            command(&["GET", "k:1"]).query(&mut replica.connection());
        reply.is_ok_and(|value| value.as_deref() == Some("value-1"))
    });
}

#[test]
fn a_subscribed_client_of_resp3_gets_a_reply() {
    let world = World::new();
    strings(&world, "", 2);
    let mut client = world.redis.connect_resp3();
    client.subscribe_resp3("channel").expect("subscribe");
    let is_valkey = world.redis.info("server", "server_name").as_deref() == Some("valkey");
    let mut get = || command(&["GET", "k:0"]).query::<Option<String>>(&mut client);
    if is_valkey {
        // Valkey does not block such a client.
        let error = get().expect_err("no value yet").to_string();
        assert!(error.contains("which is being loaded"), "{error}");
        wait_until("it is loaded", SOON, || get().is_ok());
    }
    assert_eq!(get().unwrap().as_deref(), Some("value-0"));
    world.redis.cmd(&["WB.PAUSE"]);
    world.redis.cmd(&["SET", "k:0", "x"]);
    if is_valkey {
        let reply: Value = command(&["WB.FLUSH"]).query(&mut client).unwrap();
        assert!(format!("{reply:?}").contains("pending"), "{reply:?}");
    }
    world.redis.cmd(&["WB.RESUME"]);
    world.redis.flush();
}

#[test]
fn clients_that_are_unblocked_killed_or_disconnected_leave_nothing() {
    let mut mongod = testkit::mongod::Mongod::standalone();
    let redis = Setup::new(&mongod.uri()).setting("through-timeout-ms", "60000").start();
    redis.cmd(&["WB.REGISTER", "k:", "reads.keys", "TYPE", "STRING", "READTHROUGH"]);
    redis.cmd(&["SET", "k:1", "one"]);
    redis.flush();
    redis.cmd(&["FLUSHALL"]);
    mongod.freeze();
    let mut clients: Vec<redis::Connection> = (0..4).map(|_| redis.connect()).collect();
    let ids: Vec<i64> = clients
        .iter_mut()
        .map(|client| command(&["CLIENT", "ID"]).query(client).unwrap())
        .collect();
    for client in &mut clients {
        client.send_packed_command(&command(&["GET", "k:1"]).get_packed_command()).unwrap();
    }
    wait_until("they wait", SOON, || redis.status().int("readers_waiting") == 4);
    let id = |at: usize| ids[at].to_string();
    assert_eq!(redis.run::<i64>(&["CLIENT", "UNBLOCK", &id(0)]), 1);
    let error = clients[0].recv_response();
    assert!(format!("{error:?}").contains("WBTIMEOUT"), "{error:?}");
    assert_eq!(command(&["PING"]).query::<String>(&mut clients[0]).unwrap(), "PONG");
    assert_eq!(redis.run::<i64>(&["CLIENT", "UNBLOCK", &id(1), "ERROR"]), 1);
    let error = clients[1].recv_response();
    assert!(format!("{error:?}").contains("UNBLOCKED"), "{error:?}");
    redis.cmd(&["CLIENT", "KILL", "ID", &id(2)]);
    drop(clients.pop());
    wait_until("no client waits", SOON, || redis.status().int("readers_waiting") == 0);
    assert_eq!(redis.info("clients", "blocked_clients").as_deref(), Some("0"));
    mongod.thaw();
    wait_until("MongoDB is back", 5 * SOON, || redis.status().text("link") == "up");
    wait_until("the key is loaded", 3 * SOON, || {
        let reply: redis::RedisResult<Option<String>> =
            command(&["GET", "k:1"]).query(&mut clients[0]);
        reply.is_ok_and(|value| value.as_deref() == Some("one"))
    });
    mongod.kill();
}

#[test]
fn the_commands_for_the_filter_run_nothing_else() {
    let world = World::new();
    let redis = &world.redis;
    let refused = |words: &[&str]| {
        let error = redis.error(words);
        assert!(error.contains("for the module's own use"), "{words:?}: {error}");
    };
    refused(&["WB.READ", "GET", "k:1"]);
    strings(&world, "", 2);
    assert!(get(redis, "k:0").is_some());
    for words in [
        &["WB.READ", "SET", "k:1", "x"][..],
        &["WB.READ", "FLUSHALL"],
        &["WB.READ", "MULTI"],
        &["WB.READ", "SELECT", "1"],
        &["WB.READ", "WB.READ", "GET", "k:1"],
        &["WB.READ", "GET"],
        &["WB.WRITE", "GET", "k:1"],
        &["WB.WRITE", "SUBSCRIBE", "x"],
        &["WB.WRITEX", "SHUTDOWN"],
        &["WB.READ", "EVAL", "return 1", "0"],
        &["WB.WRITEX", "EVAL", "return 1", "0"],
        &["WB.RUN", "SET", "k:1", "x"],
        &["WB.RUN", "GET", "k:1"],
    ] {
        refused(words);
    }
    assert_eq!(redis.run::<String>(&["WB.READ", "GET", "k:1"]), "value-1");
    assert_eq!(
        redis.run::<Vec<String>>(&["COMMAND", "GETKEYS", "WB.READ", "MGET", "k:1", "k:2"]),
        ["k:1", "k:2"]
    );
    // The filter does not look at the commands of scripts.
    refused(&["EVAL", "return redis.call('WB.READ', 'GET', KEYS[1])", "1", "k:1"]);
    // Many names of the module itself.
    let words = [vec!["WB.READ"; 100_000], vec!["GET", "k:1"]].concat();
    redis.error(&words);
}

#[test]
fn a_user_needs_the_rights_of_the_command_and_of_the_keys() {
    let world = World::new();
    strings(&world, "", 5);
    let redis = &world.redis;
    redis.cmd(&["ACL", "SETUSER", "reader", "on", "nopass", "%R~k:*", "+get", "+wb.read"]);
    redis.cmd(&["ACL", "SETUSER", "other", "on", "nopass", "~x:*", "+@all"]);
    redis.cmd(&["ACL", "SETUSER", "none", "on", "nopass", "~*", "+get"]);
    let as_user = |user: &str, words: &[&str]| {
        let mut client = redis.connect();
        command(&["AUTH", user, "x"]).exec(&mut client).unwrap();
        command(words).query::<Option<String>>(&mut client)
    };
    assert_eq!(as_user("reader", &["GET", "k:0"]).unwrap().as_deref(), Some("value-0"));
    for (user, words) in [
        ("reader", &["APPEND", "k:1", "x"][..]),
        ("reader", &["GETDEL", "k:1"]),
        ("reader", &["WB.READ", "STRLEN", "k:1"]),
        ("other", &["GET", "k:1"]),
        ("none", &["GET", "k:4"]),
    ] {
        let reply = as_user(user, words);
        let error =
            reply.err().map_or_else(|| panic!("{user} {words:?}"), |error| error.to_string());
        assert!(error.contains("NoPerm") || error.contains("acl"), "{user} {words:?}: {error}");
    }
    assert_eq!(redis.run::<i64>(&["EXISTS", "k:4"]), 1, "of a user who may do so");
}

#[test]
fn a_client_that_keeps_keys_itself_learns_of_changes() {
    let world = World::new();
    strings(&world, "", 3);
    let redis = &world.redis;
    let mut client = redis.connect_resp3();
    let (sender, pushes) = std::sync::mpsc::channel();
    client.set_push_sender(sender);
    command(&["CLIENT", "TRACKING", "ON"]).exec(&mut client).unwrap();
    let get = |client: &mut redis::Connection| -> Option<String> {
        command(&["GET", "k:1"]).query(client).unwrap()
    };
    let began = Instant::now();
    let mut kept = get(&mut client);
    // It may have read nothing at first; then the load tells it that the key has changed.
    while kept.is_none() && began.elapsed() < Duration::from_secs(10) {
        if pushes.try_iter().count() > 0 {
            kept = get(&mut client);
        } else {
            let _ = command(&["PING"]).query::<String>(&mut client);
        }
    }
    assert_eq!(kept.as_deref(), Some("value-1"));
    pushes.try_iter().count();
    redis.cmd(&["SET", "k:1", "changed"]);
    wait_until("the client learns of the change", SOON, || {
        command(&["PING"]).query::<String>(&mut client).unwrap();
        pushes.try_iter().count() > 0
    });
}

#[test]
fn a_client_that_keeps_keys_itself_writes_on_the_loaded_value() {
    let world = World::new();
    strings(&world, "", 3);
    let mut client = world.redis.connect_resp3();
    command(&["CLIENT", "TRACKING", "ON"]).exec(&mut client).unwrap();
    let len: i64 = command(&["APPEND", "k:1", "+"]).query(&mut client).unwrap();
    assert_eq!(len, 8);
    world.redis.flush();
    world.holds("keys", "1", "value-1+");
}

#[test]
fn a_client_pause_for_writes_does_not_end_the_server() {
    let world = World::new();
    strings(&world, "", 50);
    let redis = &world.redis;
    let mut client = redis.connect();
    for round in 0..5 {
        redis.cmd(&["CLIENT", "PAUSE", "200", "WRITE"]);
        let key = format!("k:{round}");
        let value: Option<String> = command(&["GET", &key]).query(&mut client).unwrap();
        assert_eq!(value, Some(format!("value-{round}")));
        redis.cmd(&["CLIENT", "PAUSE", "200", "WRITE"]);
        let key = format!("k:{}", round + 10);
        let len: i64 = command(&["APPEND", &key, "x"]).query(&mut client).unwrap();
        assert_eq!(len, 9);
    }
    redis.flush();
    world.holds("keys", "10", "value-10x");
}
