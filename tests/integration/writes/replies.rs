//! What is held, until when, and the bytes of the replies.

use testkit::redis_server::Setup;

use super::*;

#[test]
fn a_reply_comes_when_mongodb_has_the_write_and_no_interval_holds_it() {
    let world = World::new();
    through(&world, "INTERVAL 60000");
    let lock = lock(&world, &["1"]);
    let mut client = raw(&world);
    client.send(&["SET", "k:1", "new"]).unwrap();
    wait_for_writers(&world.redis, 1);
    assert!(!client.has_reply(A_WHILE), "MongoDB does not have it");
    assert_eq!(world.redis.run::<String>(&["GET", "k:1"]), "new", "others see it");
    // Other keys do not wait for it.
    assert_eq!(world.redis.run::<String>(&["SET", "k:2", "other"]), "OK");
    world.holds("keys", "2", "other");
    lock.end();
    assert_eq!(client.read().unwrap(), b"+OK\r\n");
    world.holds("keys", "1", "new");
    is_free(&world.redis);
    assert_eq!(figure(&world.redis, "through_writes_total"), 3);
    assert_eq!(figure(&world.redis, "through_unheld_total"), 0);
}

#[test]
fn a_write_that_follows_waits_for_its_own_value() {
    let world = World::new();
    through(&world, "");
    let lock = lock(&world, &["1"]);
    let mut clients: Vec<RawClient> = (0..10).map(|_| raw(&world)).collect();
    for (number, client) in clients.iter_mut().enumerate() {
        client.send(&["SET", "k:1", &number.to_string()]).unwrap();
        wait_for_writers(&world.redis, number as i64 + 1);
    }
    lock.end();
    for client in &mut clients {
        assert_eq!(client.read().unwrap(), b"+OK\r\n");
    }
    world.holds("keys", "1", "9");
    let writes = world.redis.status_of("k:").int("written_total");
    assert!(writes <= 4, "coalesced: {writes}");
}

#[test]
fn after_each_reply_mongodb_has_the_state() {
    let world = World::new();
    through(&world, "INTERVAL 60000");
    let keys = world.database.collection("keys");
    let value =
        |id: &str| keys.by_id(id).map(|document| document.get("value").unwrap().to_string());
    for (words, id, expected) in [
        (&["SET", "k:s", "1"][..], "s", Some("\"1\"")),
        (&["INCRBY", "k:s", "5"], "s", Some("\"6\"")),
        (&["APPEND", "k:s", "x"], "s", Some("\"6x\"")),
        (&["GETSET", "k:s", "y"], "s", Some("\"y\"")),
        (&["RENAME", "k:s", "k:r"], "s", None),
        (&["COPY", "k:r", "k:s"], "s", Some("\"y\"")),
        (&["GETDEL", "k:r"], "r", None),
        (&["RPUSH", "k:l", "a", "b"], "l", Some("[\"a\", \"b\"]")),
        (&["LPOP", "k:l"], "l", Some("[\"b\"]")),
        (&["RPOPLPUSH", "k:l", "k:m"], "m", Some("[\"b\"]")),
        (&["EXISTS", "k:l"], "l", None),
        (&["SADD", "k:t", "b", "a"], "t", Some("[\"a\", \"b\"]")),
        (&["SREM", "k:t", "a"], "t", Some("[\"b\"]")),
        (&["SINTERSTORE", "k:u", "k:t", "k:t"], "u", Some("[\"b\"]")),
        (&["DEL", "k:t", "k:u"], "u", None),
        (&["SORT", "k:m", "ALPHA", "STORE", "k:o"], "o", Some("[\"b\"]")),
        (&["MSET", "k:1", "a", "x:1", "b", "k:2", "c"], "2", Some("\"c\"")),
        (
            &["EVAL", "return redis.call('set', KEYS[1], ARGV[1])", "1", "k:e", "v"],
            "e",
            Some("\"v\""),
        ),
    ] {
        world.redis.cmd(words);
        assert_eq!(value(id).as_deref(), expected, "{words:?}");
    }
    world.redis.cmd(&["HSET", "k:h", "a", "1"]);
    world.redis.cmd(&["HINCRBY", "k:h", "a", "1"]);
    assert_eq!(keys.text("h", "a"), "2");
    assert_eq!(figure(&world.redis, "through_unheld_total"), 0);
}

#[test]
fn what_changes_nothing_is_answered_at_once() {
    let world = World::new();
    through(&world, "");
    world.redis.cmd(&["SET", "k:1", "x"]);
    world.redis.cmd(&["WB.PAUSE"]);
    let mut client = raw(&world);
    for (words, expected) in [
        (&["SET", "k:1", "y", "NX"][..], "$-1\r\n"),
        (&["DEL", "k:none"], ":0\r\n"),
        (
            &["LPUSH", "k:1", "y"],
            "-WRONGTYPE Operation against a key holding the wrong kind of value\r\n",
        ),
        (&["SET", "k:1"], "-ERR wrong number of arguments for 'set' command\r\n"),
        (&["EXPIRE", "k:1", "1000"], ":1\r\n"),
        (&["SET", "other", "y"], "+OK\r\n"),
        (&["GET", "k:1"], "$1\r\nx\r\n"),
    ] {
        assert_eq!(client.text(words), expected, "{words:?}");
    }
    assert_eq!(figure(&world.redis, "through_writes_total"), 1);
}

#[test]
fn a_command_waits_for_all_its_keys_but_not_for_those_of_mode_behind() {
    let world = World::new();
    through(&world, "");
    register(&world, "u:", "others", "MODE THROUGH");
    register(&world, "b:", "behind", "INTERVAL 60000");
    let lock = lock(&world, &["1"]);
    let mut client = raw(&world);
    client.send(&["MSET", "u:1", "a", "b:1", "b", "k:1", "c", "k:2", "d"]).unwrap();
    wait_until("the others are written", SOON, || {
        world.database.collection("keys").by_id("2").is_some()
            && world.database.collection("others").by_id("1").is_some()
    });
    assert!(!client.has_reply(A_WHILE));
    lock.end();
    assert_eq!(client.read().unwrap(), b"+OK\r\n");
    world.holds("keys", "1", "c");
    assert_eq!(world.database.collection("behind").count(), 0, "it waits for its interval");
}

/// A line for each form of reply and each way to write.
const WRITES: &str = "
    SET k:s 5 | SET k:s 6 GET | SETNX k:s 1 | GETEX k:s EX 100 | INCR k:s | INCRBYFLOAT k:s 0.5 | STRLEN k:s
    SETRANGE k:s 2 xx | SETBIT k:s 7 1 | BITFIELD k:s SET u8 0 97 INCRBY u8 8 1 | GETDEL k:s | GETSET k:s 12
    SETEX k:s 100 1 | PSETEX k:s 100000 1 | PERSIST k:s | MSETNX k:s 1 k:s2 2 | MSET k:s 1 k:s2 2 | BITOP NOT k:s3 k:s
    HSET k:h a 1 b 2 | HINCRBYFLOAT k:h a 1.5 | HMSET k:h c 3 | HDEL k:h a none | HSETNX k:h b 1
    RPUSH k:l a b c d e | LPOP k:l 2 | LINSERT k:l BEFORE d x | LSET k:l 0 y | LREM k:l 0 x | LTRIM k:l 0 1 | LPUSHX k:l q
    LMOVE k:l k:l2 LEFT RIGHT | LMPOP 1 k:l LEFT COUNT 2 | RPOP k:none 5 | RPOP k:none
    SADD k:t a b c | SREM k:t c | SMOVE k:t k:t2 a | SPOP k:t | SPOP k:none 2 | SUNIONSTORE k:t3 k:t k:t2
    ZADD k:z 1 a 2.5 b 3 c | ZADD k:z INCR 1.25 a | ZINCRBY k:z 0.1 b | ZADD k:z NX INCR 1 a | ZPOPMIN k:z | ZPOPMAX k:z 2
    ZADD k:z 1 a 2 b 3 c | ZREM k:z a | ZMPOP 1 k:z MIN COUNT 2 | ZRANGESTORE k:z2 k:z 0 -1 | ZADD k:z 1 a 2 b
    ZREMRANGEBYSCORE k:z 0 1 | ZUNIONSTORE k:z3 1 k:z | GEOADD k:g 13.361389 38.115556 Palermo | GEOADD k:g CH 13 38 P
    XADD k:x 1-1 a 1 | XADD k:x 2-1 b 2 | XADD k:x 2-1 b 2 | XTRIM k:x MAXLEN 1 | XDEL k:x 2-1 | XGROUP CREATE k:x g 0
    PFADD k:p a b | PFADD k:p a | PFMERGE k:p2 k:p
    COPY k:h k:h2 | COPY k:h k:h2 | RENAME k:h2 k:h3 | RENAMENX k:h3 k:h | MOVE k:h3 5 | SORT k:l2 ALPHA STORE k:l3
    EXPIRE k:h 100 | EXPIRE k:h 200 NX | PEXPIRE k:h 1000000 GT | UNLINK k:h k:h3 k:none | TOUCH k:s
    EVAL return{redis.call('set',KEYS[1],'1'),redis.call('incr',KEYS[1]),{1,'a',false}} 1 k:e
    EVAL redis.call('set',KEYS[1],'1')return{double=3.5,map={a=1}} 1 k:e
    EVAL redis.call('set',KEYS[1],'1')redis.setresp(3)return(redis.call('zadd',KEYS[2],'incr','2.5','m')) 2 k:e k:ez
    EVAL redis.call('set',KEYS[1],'1')return(redis.error_reply('MY_own_error')) 1 k:e
    EVAL redis.call('set',KEYS[1],'1')return(redis.call('lpush',KEYS[1],'1')) 1 k:e
    RESTORE k:bad 0 x | APPEND k:s abc | SET k:s x XX | SET k:none x XX | SET k:s 1 EX 0 | INCR k:h9 extra
";

#[test]
fn the_replies_are_those_of_a_plain_server_byte_by_byte() {
    let world = World::new();
    let plain = Setup::without_module().start();
    for protocol in ["2", "3"] {
        world.redis.cmd(&["FLUSHALL"]);
        plain.cmd(&["FLUSHALL"]);
        through(&world, "");
        let mut through = RawClient::new(world.redis.port(), protocol);
        let mut native = RawClient::new(plain.port(), protocol);
        for line in WRITES.split(['\n', '|']) {
            let words: Vec<&str> = line.split_whitespace().collect();
            if words.is_empty() {
                continue;
            }
            if words[0] == "SPOP" && words[1] == "k:t" {
                // It picks one by chance.
                for client in [&mut through, &mut native] {
                    client.reply(&["SREM", "k:t", "b"]);
                }
            }
            assert_eq!(through.text(&words), native.text(&words), "{line}, RESP{protocol}");
        }
        let digest = |redis: &Redis| redis.run::<String>(&["DEBUG", "DIGEST"]);
        assert_eq!(digest(&world.redis), digest(&plain));
    }
    assert!(figure(&world.redis, "through_writes_total") > 100);
    assert_eq!(figure(&world.redis, "through_unheld_total"), 0);
    is_free(&world.redis);
}

#[test]
fn a_pipeline_is_answered_in_its_order() {
    let world = World::new();
    through(&world, "");
    let mut client = raw(&world);
    for number in 0..200 {
        client.send(&["SET", &format!("k:{}", number % 7), &number.to_string()]).unwrap();
        client.send(&["GET", &format!("k:{}", number % 7)]).unwrap();
    }
    for number in 0..200 {
        assert_eq!(client.read().unwrap(), b"+OK\r\n");
        let expected = format!("${}\r\n{number}\r\n", number.to_string().len());
        assert_eq!(client.read().unwrap(), expected.as_bytes());
    }
    is_free(&world.redis);
}

#[test]
fn a_number_is_stored_as_a_number() {
    let world = World::new();
    through(&world, "");
    for (words, expected) in [
        (&["SET", "k:1", "123"][..], "int"),
        (&["SETEX", "k:1", "100", "text"], "embstr"),
        (&["APPEND", "k:1", "x"], "raw"),
        (&["SET", "k:1", "-5"], "int"),
    ] {
        world.redis.cmd(words);
        assert_eq!(
            world.redis.run::<String>(&["OBJECT", "ENCODING", "k:1"]),
            expected,
            "{words:?}"
        );
    }
}

#[test]
fn a_partial_write_of_a_missing_key_loads_it_and_waits() {
    let world = World::new();
    register(&world, "k:", "keys", "TYPE HASH MODE THROUGH READTHROUGH INTERVAL 60000");
    let keys = world.database.collection("keys");
    world.redis.cmd(&["HSET", "k:1", "a", "1", "b", "1"]);
    world.redis.cmd(&["FLUSHALL"]);
    let mut client = raw(&world);
    assert_eq!(client.text(&["HINCRBY", "k:1", "a", "4"]), ":5\r\n");
    assert_eq!((keys.text("1", "a"), keys.text("1", "b")), ("5".to_owned(), "1".to_owned()));
    world.redis.cmd(&["FLUSHALL"]);
    let lock = Transaction::hold(Mongod::shared(), world.database.name(), "keys", &["1"]);
    client.send(&["HSET", "k:1", "b", "2", "c", "3"]).unwrap();
    wait_for_writers(&world.redis, 1);
    assert!(!client.has_reply(A_WHILE), "it is loaded and has run, and MongoDB does not have it");
    lock.end();
    assert_eq!(client.read().unwrap(), b":1\r\n");
    assert_eq!((keys.text("1", "a"), keys.text("1", "b")), ("5".to_owned(), "2".to_owned()));
    // What changes nothing on the loaded value does not wait.
    world.redis.cmd(&["FLUSHALL"]);
    world.redis.cmd(&["WB.PAUSE"]);
    assert_eq!(client.text(&["HSETNX", "k:1", "b", "3"]), ":0\r\n");
    is_free(&world.redis);
}

#[test]
fn a_group_of_one_script_is_waited_for_as_a_whole() {
    let world = World::new();
    through(&world, "ATOMIC WHOLE");
    let lock = lock(&world, &["1"]);
    let mut client = raw(&world);
    let script = "redis.call('set', KEYS[1], 'a') return redis.call('set', KEYS[2], 'b')";
    client.send(&["EVAL", script, "2", "k:1", "k:2"]).unwrap();
    wait_for_writers(&world.redis, 1);
    assert!(!client.has_reply(A_WHILE));
    assert!(world.database.collection("keys").by_id("2").is_none(), "together or not at all");
    lock.end();
    assert_eq!(client.read().unwrap(), b"+OK\r\n");
    world.holds("keys", "1", "a");
    world.holds("keys", "2", "b");
}

#[test]
fn other_databases_wait_as_well() {
    let world = World::new();
    let mut third = raw(&world);
    third.reply(&["SELECT", "3"]);
    let namespace = world.database.namespace("three");
    third.reply(&["WB.REGISTER", "n:", &namespace, "MODE", "THROUGH", "INTERVAL", "60000"]);
    wait_until("MongoDB is reached", SOON, || world.redis.status().text("link") == "up");
    assert_eq!(third.text(&["SET", "n:1", "of 3"]), "+OK\r\n");
    world.holds("three", "1", "of 3");
    assert_eq!(world.redis.run::<String>(&["SET", "n:1", "of 0"]), "OK");
    assert_eq!(world.redis.run::<i64>(&["MOVE", "n:1", "4"]), 1);
    world.holds("three", "1", "of 3");
    assert_eq!(world.redis.status().int("through_writes_total"), 1);
}
