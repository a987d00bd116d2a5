//! What happens to the cache and to its clients meanwhile.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use fastrand::Rng;
use redis::{ConnectionLike, RedisResult, Value};

use super::commands;
use super::stage::{Plan, Shared, connect};
use crate::redis_server::{Redis, command};

/// Keys that are made to expire at a time.
const EXPIRED: usize = 20;

/// Memory above what is used now, and below it, bytes.
const MORE: u64 = 1 << 20;
const LESS: u64 = 60_000;

/// Disturbs until the end of the plan, or until `is_over`.
pub fn disturb(redis: &Redis, plan: Plan, shared: &Shared, is_over: impl Fn() -> bool) {
    let mut rng = Rng::with_seed(plan.seed);
    let began = Instant::now();
    while began.elapsed() < plan.time && !is_over() {
        match rng.u8(..32) {
            0 => drop(redis.cmd(&["FLUSHALL"])),
            1 => drop(redis.cmd(&["FLUSHDB", "ASYNC"])),
            2..16 => expire(redis),
            16..20 => kill(redis, &mut rng),
            20..26 => unblock(redis, &mut rng),
            26..29 => limit(redis, |used| used - LESS.min(used / 4)),
            _ => limit(redis, |used| used + MORE),
        }
        std::thread::sleep(Duration::from_millis(rng.u64(..12)));
    }
    shared.stop.store(true, Ordering::Relaxed);
    redis.cmd(&["CONFIG", "SET", "maxmemory", "0"]);
}

fn expire(redis: &Redis) {
    for _ in 0..EXPIRED {
        if let Some(key) = redis.run::<Option<String>>(&["RANDOMKEY"]) {
            // Longer than the time of one command: a key that expires inside of one is lost on Redis 7.0. The key may be
            // gone already, and there may be no memory to load it.
            command(&["PEXPIRE", &key, "30"]).exec(&mut redis.connection()).ok();
        }
    }
}

/// The ids of the clients whose line contains `what`, without the caller's.
fn ids(redis: &Redis, what: &str) -> Vec<String> {
    let own = format!("id={} ", redis.run::<i64>(&["CLIENT", "ID"]));
    let list: String = redis.run(&["CLIENT", "LIST"]);
    let of = list.lines().filter(|line| !line.starts_with(&own) && line.contains(what));
    of.filter_map(|line| line.strip_prefix("id=")?.split(' ').next().map(str::to_owned)).collect()
}

fn kill(redis: &Redis, rng: &mut Rng) {
    if let Some(id) = rng.choice(ids(redis, "")) {
        redis.cmd(&["CLIENT", "KILL", "ID", &id]);
    }
}

/// Only clients whose replies are not compared.
fn unblock(redis: &Redis, rng: &mut Rng) {
    for id in ids(redis, "name=noise ") {
        let how = if rng.bool() { "TIMEOUT" } else { "ERROR" };
        redis.cmd(&["CLIENT", "UNBLOCK", &id, how]);
    }
}

fn limit(redis: &Redis, of: impl Fn(u64) -> u64) {
    let used = redis.info("memory", "used_memory").and_then(|used| used.parse().ok());
    let limit = of(used.unwrap_or_default());
    redis.cmd(&["CONFIG", "SET", "maxmemory", &limit.to_string()]);
}

/// A client that reads keys of all others, and often does not wait for the replies.
pub fn noise(port: u16, plan: Plan, number: u64, shared: &Shared) {
    let mut rng = Rng::with_seed(plan.seed.wrapping_add(1 << 32).wrapping_add(number));
    while !shared.stop.load(Ordering::Relaxed) {
        let mut connection = connect(port, number);
        let named = command(&["CLIENT", "SETNAME", "noise"]).exec(&mut connection);
        let mut is_open = named.is_ok();
        while is_open && !shared.stop.load(Ordering::Relaxed) {
            let count = rng.usize(1..20);
            let mut packed = Vec::new();
            for _ in 0..count {
                let words = commands::random_read(&mut rng, plan.clients);
                packed.extend(command(&words).get_packed_command());
            }
            let half = packed.len() / 2;
            let is_half = rng.u8(..8) == 0;
            let bytes = if is_half { &packed[..half] } else { &packed[..] };
            is_open = connection.send_packed_command(bytes).is_ok() && !is_half && rng.bool();
            for _ in 0..if is_open { count } else { 0 } {
                let reply: RedisResult<Value> = connection.recv_response();
                shared.noise.fetch_add(1, Ordering::Relaxed);
                is_open = reply.is_ok() || connection.is_open();
                shared.see_error(reply.err().filter(|_| is_open));
                if !is_open {
                    break;
                }
            }
        }
    }
}
