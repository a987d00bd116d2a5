//! The plan, the servers' ports, and what the threads share.

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::time::Duration;

use redis::{Connection, RedisError};

/// A reply that takes longer is a failure.
const REPLY_LIMIT: Duration = Duration::from_secs(60);

/// Errors of clients that are unblocked by others, and where there is no memory.
const EXPECTED: [&str; 3] = ["WBTIMEOUT", "UNBLOCKED", "OOM"];

/// What is played.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Clients whose replies are compared.
    pub clients: u64,
    /// For how long.
    pub time: Duration,
    /// The seed of the commands.
    pub seed: u64,
}

/// What the threads share.
#[derive(Debug, Default)]
pub struct Shared {
    pub stop: AtomicBool,
    /// Replies that were equal.
    pub equal: AtomicU64,
    /// Writes that were refused for want of memory, and sent again.
    pub refused: AtomicU64,
    /// Clients whose connection was closed by the server.
    pub killed: AtomicU64,
    /// Reads of clients whose replies are not compared.
    pub noise: AtomicU64,
    /// Errors that none of them should get.
    pub errors: Mutex<BTreeSet<String>>,
}

impl Shared {
    /// An error that a client got whose replies are not compared.
    pub fn see_error(&self, error: Option<RedisError>) {
        // Some are killed.
        let Some(error) = error.filter(|error| !error.is_io_error()) else { return };
        if !EXPECTED.contains(&error.code().unwrap_or_default()) {
            self.errors.lock().expect("errors").insert(error.to_string());
        }
    }
}

/// The ports of the servers.
#[derive(Clone, Copy, Debug)]
pub struct Ports {
    /// With the module.
    pub cached: u16,
    /// Without it.
    pub plain: u16,
}

/// A connection; every second one in RESP3.
pub fn connect(port: u16, number: u64) -> Connection {
    let protocol = ["?protocol=resp2", "?protocol=resp3"][(number % 2) as usize];
    let url = format!("redis://127.0.0.1:{port}/{protocol}");
    loop {
        // The server may close it while it is made.
        let client = redis::Client::open(url.as_str()).expect("URL");
        if let Ok(connection) = client.get_connection() {
            connection.set_read_timeout(Some(REPLY_LIMIT)).expect("timeout");
            return connection;
        }
    }
}
