//! Clients that count their replies while they are killed, unblocked and disconnected: no command is answered twice or
//! never, and each reply is that of its command.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use fastrand::Rng;

use super::{Outcome, Plan, with_program};
use crate::mongod::Mongod;
use crate::redis_server::raw::RawClient;
use crate::redis_server::{Redis, Setup};
use crate::wait::{SOON, became, wait_until};

/// Keys of a client.
const KEYS: usize = 4;
/// Commands that a client sends before it reads a reply.
const PIPELINE: usize = 8;
/// A timeout that clients reach while MongoDB stands still.
const TIMEOUT_MS: &str = "40";
/// Memory that a server may have more than after the first seconds, bytes.
const GROWTH: u64 = 3 << 20;

const SCRIPT: &str = "redis.call('set', KEYS[1], ARGV[1]) return ARGV[1]";

#[derive(Debug, Default)]
struct Shared {
    stop: AtomicBool,
    replies: AtomicU64,
    errors: AtomicU64,
    lost: AtomicU64,
    faults: Mutex<Vec<String>>,
}

/// Ends the clients, also when the server has crashed.
struct StopAtEnd<'a>(&'a Shared, &'a Redis);

impl Drop for StopAtEnd<'_> {
    fn drop(&mut self) {
        self.0.stop.store(true, Ordering::Relaxed);
        if std::thread::panicking() {
            println!("{}", self.1.log());
        }
    }
}

/// Plays the part.
pub fn count(plan: &Plan) -> Outcome {
    let mongod = Mongod::replica_set();
    let database = mongod.database();
    let setup = Setup::new(&mongod.uri()).setting("max-in-flight-batches", "4");
    let redis = with_program(setup, plan.server.as_deref()).start();
    let namespace = database.namespace("keys");
    redis.cmd(&["WB.REGISTER", "k:", &namespace, "MODE", "THROUGH", "TIMEOUT", TIMEOUT_MS]);
    wait_until("MongoDB is reached", SOON, || redis.status().text("link") == "up");
    let shared = Shared::default();
    let mut memory = None;
    std::thread::scope(|scope| {
        for number in 0..plan.clients {
            let (shared, port) = (&shared, redis.port());
            scope.spawn(move || client(port, number, plan.seed, shared));
        }
        let _stop = StopAtEnd(&shared, &redis);
        let mut rng = Rng::with_seed(plan.seed);
        let began = Instant::now();
        let end = Duration::from_secs(plan.seconds);
        while began.elapsed() < end {
            match rng.u8(..16) {
                0 => {
                    mongod.freeze();
                    std::thread::sleep(Duration::from_millis(rng.u64(20..120)));
                    mongod.thaw();
                }
                1..4 => disturb(&redis, &["CLIENT", "KILL", "ID"], &[], &mut rng),
                4..7 => disturb(&redis, &["CLIENT", "UNBLOCK"], &["TIMEOUT"], &mut rng),
                7..9 => disturb(&redis, &["CLIENT", "UNBLOCK"], &["ERROR"], &mut rng),
                9 => {
                    // Redis 7.0 ends if CLIENT UNBLOCK meets a client that waits for the end of a pause.
                    redis.cmd(&["CLIENT", "PAUSE", "1000", "WRITE"]);
                    std::thread::sleep(Duration::from_millis(15));
                    redis.cmd(&["CLIENT", "UNPAUSE"]);
                }
                _ => {}
            }
            if memory.is_none() && began.elapsed() > end / 4 {
                memory = used_memory(&redis);
            }
            std::thread::sleep(Duration::from_millis(rng.u64(..10)));
        }
    });
    let mut faults = shared.faults.into_inner().expect("faults");
    let is_quiet = || {
        redis.status().int("writers_waiting") == 0
            && redis.info("clients", "blocked_clients").as_deref() == Some("0")
    };
    if !became(SOON, is_quiet) {
        faults.push(format!("clients are held: {:?}", redis.status()));
    }
    redis.flush();
    faults.extend(redis.verify_faults("k:", &["FULL"]));
    // Buffers of connections that are gone are freed by and by.
    let is_small = || match (memory, used_memory(&redis)) {
        (Some(before), Some(now)) => now < before + GROWTH,
        _ => true,
    };
    if !became(SOON, is_small) {
        faults.push(format!("memory: {memory:?} bytes before, {:?} after", used_memory(&redis)));
    }
    let count = |of: &AtomicU64| of.load(Ordering::Relaxed);
    let (replies, errors) = (count(&shared.replies), count(&shared.errors));
    let summary = format!(
        "{} clients, {} s: {replies} replies right, {errors} errors in their places, {} connections lost, {} writes \
         waited, {} timeouts",
        plan.clients,
        plan.seconds,
        count(&shared.lost),
        redis.status().int("through_writes_total"),
        redis.status().int("through_timeouts_total"),
    );
    Outcome { summary, acknowledged: replies, unanswered: errors, faults }
}

fn used_memory(redis: &Redis) -> Option<u64> {
    redis.info("memory", "used_memory")?.parse().ok()
}

/// Runs a command with the id of a client of the stress, which may be gone by then.
fn disturb(redis: &Redis, before: &[&str], after: &[&str], rng: &mut Rng) {
    let list: String = redis.run(&["CLIENT", "LIST"]);
    let ids = list
        .lines()
        .filter(|line| line.contains(" name=counts "))
        .filter_map(|line| line.strip_prefix("id=")?.split(' ').next());
    if let Some(id) = rng.choice(ids.collect::<Vec<&str>>()) {
        let words = [before, &[id], after].concat();
        crate::redis_server::command(&words).exec(&mut redis.connection()).ok();
    }
}

/// One client: sends several commands, reads as many replies, and compares each.
fn client(port: u16, number: usize, seed: u64, shared: &Shared) {
    let mut rng = Rng::with_seed(seed.wrapping_mul(77).wrapping_add(number as u64));
    let mut last = 0u64;
    while !shared.stop.load(Ordering::Relaxed) {
        let result = connection(port, number, &mut rng, &mut last, shared);
        match result {
            Ok(()) => {}
            Err(Some(fault)) => {
                shared.faults.lock().expect("faults").push(format!("client {number}: {fault}"));
                return;
            }
            Err(None) => drop(shared.lost.fetch_add(1, Ordering::Relaxed)),
        }
    }
}

/// One connection, until it is lost (`Err(None)`), something is wrong, or it is time to end.
fn connection(
    port: u16,
    number: usize,
    rng: &mut Rng,
    last: &mut u64,
    shared: &Shared,
) -> Result<(), Option<String>> {
    let lost = |_: std::io::Error| None;
    let mut client = RawClient::connect(port).map_err(lost)?;
    let mut call = |words: &[&str]| -> Result<String, Option<String>> {
        client.send(words).map_err(lost)?;
        let reply = client.read().map_err(lost)?;
        Ok(String::from_utf8_lossy(&reply).into_owned())
    };
    call(&["CLIENT", "SETNAME", "counts"])?;
    // What the keys hold is known by reading them.
    let mut values = Vec::new();
    for at in 0..KEYS {
        values.push(call(&["GET", &format!("k:{number}:{at}")])?);
    }
    while !shared.stop.load(Ordering::Relaxed) {
        let mut expected = Vec::new();
        for _ in 0..rng.usize(1..=PIPELINE) {
            let at = rng.usize(..KEYS);
            let key = format!("k:{number}:{at}");
            *last += 1;
            let text = last.to_string();
            let bulk = format!("${}\r\n{text}\r\n", text.len());
            let before = std::mem::replace(&mut values[at], bulk.clone());
            match rng.u8(..4) {
                0 => {
                    client.send(&["EVAL", SCRIPT, "1", &key, &text]).map_err(lost)?;
                    expected.push(bulk);
                }
                1 => {
                    client.send(&["SET", &key, &text]).map_err(lost)?;
                    expected.push("+OK\r\n".to_owned());
                }
                _ => {
                    client.send(&["GETSET", &key, &text]).map_err(lost)?;
                    expected.push(before);
                }
            }
        }
        if rng.u8(..64) == 0 {
            // Without reading the replies.
            return Err(None);
        }
        *last += 1;
        let token = last.to_string();
        client.send(&["PING", &token]).map_err(lost)?;
        for expected in expected {
            let reply = client.read().map_err(lost)?;
            let reply = String::from_utf8_lossy(&reply);
            if reply.starts_with("-WBTIMEOUT ") || reply.starts_with("-UNBLOCKED ") {
                shared.errors.fetch_add(1, Ordering::Relaxed);
            } else if reply == expected {
                shared.replies.fetch_add(1, Ordering::Relaxed);
            } else {
                return Err(Some(format!("{reply:?} instead of {expected:?}")));
            }
        }
        let reply = client.read().map_err(lost)?;
        if reply != format!("${}\r\n{token}\r\n", token.len()).as_bytes() {
            let reply = String::from_utf8_lossy(&reply).into_owned();
            return Err(Some(format!("{reply:?} instead of the reply to PING {token}")));
        }
    }
    Ok(())
}
