//! The replies of all commands that read, byte by byte, beside a server that has the keys.

use std::collections::BTreeSet;

use redis::Value;
use testkit::redis_server::Setup;
use testkit::redis_server::raw::RawClient;

use super::*;

const SETUP: [&[&str]; 13] = [
    &["HSET", "h:1", "a", "1", "b", "x"],
    &["SET", "s:1", "10"],
    &["SET", "s:2", "some text"],
    &["RPUSH", "l:1", "a", "b", "c"],
    &["SADD", "t:1", "a", "b", "c"],
    &["SADD", "t:2", "b", "c", "d"],
    &["SADD", "t:3", "1", "2"],
    &["SADD", "t:4", "2", "3"],
    &["ZADD", "z:1", "1", "a", "2.5", "b", "3", "c"],
    &["ZADD", "z:2", "1", "b", "2", "c"],
    &["XADD", "x:1", "1-1", "a", "1"],
    &["XADD", "x:1", "2-1", "b", "2"],
    &["SET", "s:3", "10.5"],
];

/// A line for each command that reads keys, and more.
const READS: &str = "
    GET s:1 | GET s:none | GET h:1 | STRLEN s:2 | GETRANGE s:2 0 3 | SUBSTR s:2 0 3 | GETBIT s:1 2 | BITCOUNT s:2
    BITPOS s:1 1 | BITFIELD_RO s:1 GET u8 0 | MGET s:1 s:none s:2 h:1 | LCS s:1 s:2 LEN
    EXISTS s:1 s:2 s:none h:1 | TYPE h:1 | TYPE s:none | TTL s:1 | PTTL s:none | EXPIRETIME s:1 | PEXPIRETIME h:1
    TOUCH s:1 s:none | DUMP s:1 | OBJECT ENCODING s:1 | OBJECT REFCOUNT s:2 | MEMORY USAGE s:2
    HGET h:1 a | HGET h:1 none | HGETALL h:1 | HKEYS h:1 | HVALS h:1 | HLEN h:1 | HEXISTS h:1 a | HSTRLEN h:1 b
    HMGET h:1 a none b | HSCAN h:1 0 | HRANDFIELD h:1 0
    LLEN l:1 | LINDEX l:1 1 | LRANGE l:1 0 -1 | LPOS l:1 b
    SCARD t:1 | SISMEMBER t:1 a | SMISMEMBER t:1 a x | SMEMBERS t:3 | SSCAN t:3 0 | SRANDMEMBER t:1 0
    SINTER t:3 t:4 | SINTERCARD 2 t:1 t:2 | SDIFF t:3 t:4 | SUNION t:3 t:4
    ZCARD z:1 | ZSCORE z:1 b | ZMSCORE z:1 a x | ZRANK z:1 c | ZREVRANK z:1 c | ZCOUNT z:1 1 2
    ZRANGE z:1 0 -1 WITHSCORES | ZREVRANGE z:1 0 -1 | ZRANGEBYSCORE z:1 1 2 WITHSCORES | ZREVRANGEBYSCORE z:1 3 1
    ZRANGEBYLEX z:2 - + | ZREVRANGEBYLEX z:2 + - | ZLEXCOUNT z:2 - + | ZSCAN z:1 0 | ZRANDMEMBER z:1 0
    ZINTER 2 z:1 z:2 WITHSCORES | ZUNION 2 z:1 z:2 | ZDIFF 2 z:1 z:2 | ZINTERCARD 2 z:1 z:2
    XLEN x:1 | XRANGE x:1 - + | XREVRANGE x:1 + - COUNT 1 | XREAD COUNT 5 STREAMS x:1 0 | XINFO GROUPS x:1
    SORT_RO l:1 ALPHA | GEOPOS z:1 a | GEODIST z:1 a b | GEOHASH z:1 a | GEOSEARCH z:2 FROMMEMBER b BYRADIUS 1 m
    GEORADIUS_RO z:2 0 0 1 m | GEORADIUSBYMEMBER_RO z:2 b 1 m
    EVAL_RO return{redis.call('get',KEYS[1]),redis.call('type',KEYS[2])} 2 s:1 h:1
    EVAL return(redis.call('incr',KEYS[1])) 1 s:1
";

/// Commands that read keys and are not compared: they depend on groups or times, scan the keyspace, or are of a type that
/// no document has.
const LEFT_OUT: [&str; 22] = [
    "clusterscan",
    "vismember",
    "vinfo",
    "vgetattr",
    "vcard",
    "vlinks",
    "vemb",
    "vrandmember",
    "vsim",
    "vdim",
    "evalsha_ro",
    "fcall_ro",
    "object|freq",
    "object|idletime",
    "pfcount",
    "xinfo|consumers",
    "xinfo|stream",
    "xpending",
    "httl",
    "hpttl",
    "hexpiretime",
    "hpexpiretime",
];

fn lines() -> impl Iterator<Item = Vec<&'static str>> {
    READS
        .split(['\n', '|'])
        .map(|line| line.split_whitespace().collect::<Vec<_>>())
        .filter(|line| !line.is_empty())
}

#[test]
fn the_replies_are_those_of_a_server_that_has_the_keys() {
    let world = World::new();
    let plain = Setup::without_module().start();
    for (prefix, kind) in [
        ("h:", "HASH"),
        ("s:", "STRING"),
        ("l:", "LIST"),
        ("t:", "SET"),
        ("z:", "ZSET"),
        ("x:", "STREAM"),
    ] {
        register(&world, prefix, &prefix[..1], &format!("TYPE {kind} READTHROUGH ABSENT 0"));
    }
    for line in SETUP {
        world.redis.cmd(line);
        plain.cmd(line);
    }
    world.redis.flush();
    for protocol in ["2", "3"] {
        let (mut through, mut native) =
            (RawClient::new(world.redis.port(), protocol), RawClient::new(plain.port(), protocol));
        for line in lines() {
            if line[0] == "EVAL" {
                plain.cmd(&["SET", "s:1", "10"]);
                world.redis.cmd(&["SET", "s:1", "10"]);
                world.redis.flush();
            }
            world.redis.cmd(&["FLUSHALL"]);
            let expected = native.reply(&line);
            for what in ["missing", "there"] {
                let reply = through.reply(&line);
                let [reply, expected] =
                    [&reply, &expected].map(|bytes| String::from_utf8_lossy(bytes));
                assert_eq!(reply, expected, "{line:?} of keys that are {what}, RESP{protocol}");
                if line[0] == "EVAL" {
                    break;
                }
            }
        }
    }
    assert_eq!(world.redis.status().int("read_unloaded_total"), 0);
}

#[test]
fn the_lines_are_all_commands_that_read() {
    let world = World::new();
    let named: BTreeSet<String> = lines()
        .map(|line| match line[0] {
            "OBJECT" | "MEMORY" | "XINFO" => format!("{}|{}", line[0], line[1]).to_lowercase(),
            name => name.to_lowercase(),
        })
        .collect();
    let texts = |value: &Value| match value {
        Value::Array(texts) => texts
            .iter()
            .map(|text| redis::from_redis_value::<String>(text.clone()).unwrap())
            .collect(),
        _ => Vec::new(),
    };
    fn commands(reply: Value, found: &mut Vec<Vec<Value>>) {
        let Value::Array(all) = reply else { panic!("COMMAND") };
        for command in all {
            let Value::Array(mut command) = command else { panic!("COMMAND") };
            let subcommands = command.remove(9);
            found.push(command);
            commands(subcommands, found);
        }
    }
    let mut all = Vec::new();
    commands(world.redis.cmd(&["COMMAND"]), &mut all);
    let reads = all.iter().filter(|command| {
        let has_keys = !matches!(&command[8], Value::Array(specs) if specs.is_empty());
        texts(&command[2]).iter().any(|flag| flag == "readonly") && has_keys
    });
    let missing: Vec<String> = reads
        .map(|command| {
            redis::from_redis_value::<String>(command[0].clone()).unwrap().to_lowercase()
        })
        .filter(|name| {
            !named.contains(name) && !LEFT_OUT.contains(&name.as_str()) && !name.starts_with("wb.")
        })
        .collect();
    assert!(missing.is_empty(), "{missing:?}");
}
