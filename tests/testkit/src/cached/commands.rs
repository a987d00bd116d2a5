//! Random commands on the keys of one client, and their replies as text that can be compared.

use fastrand::Rng;
use redis::{RedisResult, Value};

/// Each prefix and its type.
pub const KINDS: [(&str, &str); 6] = [
    ("s:", "STRING"),
    ("h:", "HASH"),
    ("l:", "LIST"),
    ("t:", "SET"),
    ("z:", "ZSET"),
    ("x:", "STREAM"),
];

/// Keys of a type that a client has.
pub const KEYS: usize = 40;

/// Words of a command: `%` stands for a key of the type, `#` for a small number, `@` for a field or member.
const TEMPLATES: [(&str, &[&str]); 6] = [
    (
        "s:",
        &[
            "GET %",
            "GET %",
            "GET %",
            "MGET % % % %",
            "STRLEN %",
            "GETRANGE % 0 3",
            "EXISTS % % %",
            "TYPE %",
            "SET % #",
            "SET % v# NX",
            "SET % v# XX",
            "SET % v# GET",
            "SETNX % #",
            "MSET % # % #",
            "MSETNX % # % #",
            "GETSET % #",
            "GETDEL %",
            "APPEND % #",
            "INCR %",
            "INCRBY % #",
            "DECRBY % #",
            "INCRBYFLOAT % 1.5",
            "SETRANGE % 3 x#",
            "GETBIT % 7",
            "SETBIT % 70 1",
            "BITCOUNT %",
            "BITOP OR % % %",
            "DEL %",
            "DEL % % %",
            "UNLINK %",
            "RENAME % %",
            "RENAMENX % %",
            "COPY % %",
            "COPY % % REPLACE",
            "TOUCH % %",
            "LCS % %",
            "EVAL return{redis.call('get',KEYS[1]),redis.call('strlen',KEYS[2])} 2 % %",
            "EVAL return{redis.call('append',KEYS[1],'e')} 1 %",
        ],
    ),
    (
        "h:",
        &[
            "HGETALL %",
            "HGETALL %",
            "HGET % @",
            "HMGET % @ @",
            "HLEN %",
            "HKEYS %",
            "HVALS %",
            "HEXISTS % @",
            "HSTRLEN % @",
            "HSET % @ v#",
            "HSET % @ # @ #",
            "HSETNX % @ #",
            "HDEL % @",
            "HDEL % @ @ @",
            "HINCRBY % @ #",
            "HINCRBYFLOAT % @ 0.5",
            "DEL %",
            "RENAME % %",
            "COPY % % REPLACE",
            "EXISTS %",
            "TYPE %",
        ],
    ),
    (
        "l:",
        &[
            "LRANGE % 0 -1",
            "LRANGE % 0 -1",
            "LLEN %",
            "LINDEX % 1",
            "LPOS % @",
            "RPUSH % @",
            "LPUSH % @ #",
            "RPUSHX % @",
            "LPUSHX % @",
            "LPOP %",
            "RPOP % 2",
            "LSET % 0 @",
            "LINSERT % BEFORE @ #",
            "LREM % 0 @",
            "LTRIM % 0 8",
            "RPOPLPUSH % %",
            "LMOVE % % LEFT RIGHT",
            "SORT % ALPHA",
            "SORT % ALPHA STORE %",
            "DEL %",
            "RENAMENX % %",
        ],
    ),
    (
        "t:",
        &[
            "SMEMBERS %",
            "SMEMBERS %",
            "SCARD %",
            "SISMEMBER % @",
            "SMISMEMBER % @ @",
            "SINTER % %",
            "SUNION % %",
            "SDIFF % %",
            "SINTERCARD 2 % %",
            "SADD % @",
            "SADD % @ @ #",
            "SREM % @",
            "SMOVE % % @",
            "SINTERSTORE % % %",
            "SUNIONSTORE % % %",
            "SDIFFSTORE % % %",
            "DEL % %",
            "COPY % %",
        ],
    ),
    (
        "z:",
        &[
            "ZRANGE % 0 -1 WITHSCORES",
            "ZRANGE % 0 -1 WITHSCORES",
            "ZCARD %",
            "ZSCORE % @",
            "ZMSCORE % @ @",
            "ZRANK % @",
            "ZCOUNT % 2 6",
            "ZRANGEBYSCORE % 1 5",
            "ZADD % # @",
            "ZADD % NX # @",
            "ZADD % XX GT CH # @",
            "ZINCRBY % # @",
            "ZREM % @",
            "ZPOPMIN %",
            "ZPOPMAX % 2",
            "ZREMRANGEBYRANK % 0 0",
            "ZUNIONSTORE % 2 % %",
            "ZINTERSTORE % 2 % %",
            "ZDIFF 2 % %",
            "ZRANGESTORE % % 0 3",
            "DEL %",
        ],
    ),
    (
        "x:",
        &[
            "XRANGE % - +",
            "XLEN %",
            "XREVRANGE % + - COUNT 2",
            "XREAD COUNT 2 STREAMS % 0",
            "XADD % NOMKSTREAM ! f #",
            "XADD % ! f #",
            "XADD % MAXLEN 5 ! f # g #",
            "XTRIM % MAXLEN 6",
            "DEL %",
        ],
    ),
];

/// Commands whose replies have no order.
const UNORDERED: [&str; 6] = ["SMEMBERS", "SINTER", "SUNION", "SDIFF", "HKEYS", "HVALS"];

/// The name of a key.
pub fn key(prefix: &str, client: u64, number: usize) -> String {
    format!("{prefix}{client}:{number}")
}

/// A random command of a client; `serial` is higher in each of them.
pub fn random(rng: &mut Rng, client: u64, serial: u64) -> Vec<String> {
    let (prefix, templates) = TEMPLATES[rng.usize(..TEMPLATES.len())];
    let template = templates[rng.usize(..templates.len())];
    let mut some_key = || {
        // Some keys are in use more than others.
        let most = if rng.bool() { KEYS / 4 } else { KEYS };
        key(prefix, client, rng.usize(..most))
    };
    let words: Vec<String> = template
        .split(' ')
        .map(|word| if word == "%" { some_key() } else { word.to_owned() })
        .collect();
    let mut fill = |word: String| match word.as_str() {
        "#" | "v#" | "x#" => word.replace('#', &rng.u32(..1000).to_string()),
        "@" => format!("m{}", rng.u8(..8)),
        "!" => format!("{serial}-1"),
        _ => word,
    };
    words.into_iter().map(&mut fill).collect()
}

/// A random command that only reads a key of any client.
pub fn random_read(rng: &mut Rng, clients: u64) -> [String; 2] {
    let reads = ["GET", "HGETALL", "LLEN", "SMEMBERS", "ZCARD", "XLEN"];
    let at = rng.usize(..reads.len());
    [reads[at].to_owned(), key(KINDS[at].0, rng.u64(..clients), rng.usize(..KEYS))]
}

/// The command that shows all of a key.
pub fn whole(prefix: &str, key: &str) -> Vec<String> {
    let words: &[&str] = match prefix {
        "s:" => &["GET", key],
        "h:" => &["HGETALL", key],
        "l:" => &["LRANGE", key, "0", "-1"],
        "t:" => &["SMEMBERS", key],
        "z:" => &["ZRANGE", key, "0", "-1", "WITHSCORES"],
        _ => &["XRANGE", key, "-", "+"],
    };
    words.iter().map(|word| (*word).to_owned()).collect()
}

/// A reply as text, without the order of what has none.
pub fn text(command: &str, reply: &RedisResult<Value>) -> String {
    match reply {
        Ok(Value::Array(items)) if command == "HGETALL" => {
            sorted(items.chunks(2).map(|pair| format!("{pair:?}")))
        }
        Ok(Value::Map(pairs)) if command == "HGETALL" => {
            sorted(pairs.iter().map(|(field, value)| format!("[{field:?}, {value:?}]")))
        }
        Ok(Value::Array(items) | Value::Set(items)) if UNORDERED.contains(&command) => {
            sorted(items.iter().map(|item| format!("{item:?}")))
        }
        Ok(reply) => format!("{reply:?}"),
        Err(error) => error.to_string(),
    }
}

fn sorted(items: impl Iterator<Item = String>) -> String {
    let mut items: Vec<String> = items.collect();
    items.sort();
    items.join(" ")
}
