//! RESTORE of values of the module's type, until the time has elapsed.

use std::fmt;
use std::path::Path;
use std::time::{Duration, Instant};

use fastrand::Rng;
use redis::Value;

use super::payload;
use crate::mongod::unreachable_uri;
use crate::redis_server::{Redis, Setup, command};

/// Payloads between two checks of the server.
const BATCH: usize = 200;
/// The limit for the growth of the server's memory.
const MAX_GROWTH_BYTES: i64 = 20 << 20;

/// The result of a run.
pub struct Restored {
    payloads: u64,
    refused: u64,
    grown_bytes: i64,
}

impl Restored {
    /// The number of payloads sent.
    pub fn payloads(&self) -> u64 {
        self.payloads
    }
}

impl fmt::Display for Restored {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Restored { payloads, refused, grown_bytes } = self;
        write!(f, "{payloads} payloads, {refused} refused, the server grew by {grown_bytes} bytes")
    }
}

/// Sends payloads for `time`. Panics with the seed and the server's log if the server ends or its
/// state changes.
pub fn run(time: Duration, seed: u64, server: Option<&Path>) -> Restored {
    let setup = Setup::new(&unreachable_uri());
    let mut redis = match server {
        Some(program) => setup.program(program).start(),
        None => setup.start(),
    };
    redis.cmd(&["WB.REGISTER", "k:", "db.keys"]);
    redis.cmd(&["SET", "plain", "x"]);
    let dumped: Vec<u8> = redis.run(&["DUMP", "plain"]);
    assert_eq!(
        dumped[dumped.len() - 8..],
        payload::crc64(&dumped[..dumped.len() - 8]).to_le_bytes()
    );
    let version = payload::version_of(&dumped);
    let mut random = Rng::with_seed(seed);
    let mut restored = Restored { payloads: 0, refused: 0, grown_bytes: 0 };
    let (start, mut before) = (Instant::now(), 0);
    loop {
        let payloads: Vec<Vec<u8>> =
            (0..BATCH).map(|_| payload::next(&mut random, version)).collect();
        for bytes in &payloads {
            let words: [&[u8]; 5] = [b"RESTORE", b"k:1", b"0", bytes, b"REPLACE"];
            let reply = command(&words).query::<Value>(&mut redis.connection());
            restored.payloads += 1;
            match reply {
                Err(error) if error.is_io_error() || redis.ended().is_some() => {
                    panic!(
                        "seed {seed}, payload {}: {error}\n{:?}\n{}",
                        restored.payloads,
                        bytes,
                        redis.log()
                    )
                }
                Err(_) => restored.refused += 1,
                // The damage may have turned it into another type, but not into a module's value.
                Ok(_) => {
                    assert_ne!(redis.run::<String>(&["TYPE", "k:1"]), "writebehd", "{bytes:?}")
                }
            }
        }
        redis.cmd(&["DEL", "k:1"]);
        assert_eq!(redis.status().int("registrations"), 1);
        let used = used_memory(&redis);
        if before == 0 {
            before = used;
        }
        restored.grown_bytes = used - before;
        assert!(restored.grown_bytes < MAX_GROWTH_BYTES, "{restored}");
        if start.elapsed() >= time {
            assert!(!redis.log().contains("internal error"), "{}", redis.log());
            return restored;
        }
    }
}

fn used_memory(redis: &Redis) -> i64 {
    let info: String = redis.run(&["INFO", "memory"]);
    let line = info.lines().find_map(|line| line.strip_prefix("used_memory:"));
    line.and_then(|bytes| bytes.trim().parse().ok()).expect("used_memory")
}
