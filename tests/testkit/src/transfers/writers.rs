//! Threads that transfer until they are stopped, whatever happens to Redis. A transfer is atomic
//! there, so that one without a reply does not matter: the sum is the same with it and without it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use fastrand::Rng;
use redis::{Connection, RedisError, RedisResult};

use super::account::Names;
use super::transfer;

/// The time between two transfers of a writer, which leaves most of two cores to the servers.
const EVERY: Duration = Duration::from_millis(2);
/// A server that was killed is asked for a connection this often.
const RECONNECT_EVERY: Duration = Duration::from_millis(20);
/// Longer than any fault lasts.
const REPLY_LIMIT: Duration = Duration::from_secs(60);

/// Running writers. Dropping them stops them.
pub struct Writers {
    stop: Arc<AtomicBool>,
    done: Arc<AtomicU64>,
    threads: Vec<JoinHandle<()>>,
}

impl Writers {
    pub fn start(count: usize, port: u16, names: Names, seed: u64) -> Self {
        let mut writers = Self { stop: Arc::default(), done: Arc::default(), threads: Vec::new() };
        for writer in 0..count as u64 {
            let (stop, done) = (Arc::clone(&writers.stop), Arc::clone(&writers.done));
            let rng = Rng::with_seed(seed.wrapping_mul(1_000).wrapping_add(writer));
            let thread = std::thread::spawn(move || write(port, names, rng, &stop, &done));
            writers.threads.push(thread);
        }
        writers
    }

    /// Panics if one has ended, because Redis refused a transfer.
    #[track_caller]
    pub fn check(&self) {
        assert!(!self.threads.iter().any(JoinHandle::is_finished), "a writer ended");
    }

    /// Stops them after their current transfer and returns the number of transfers with a reply.
    /// Panics if Redis refused one.
    #[track_caller]
    pub fn stop(mut self) -> u64 {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            thread.join().expect("a writer");
        }
        self.done.load(Ordering::Relaxed)
    }
}

impl Drop for Writers {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

fn write(port: u16, names: Names, mut rng: Rng, stop: &AtomicBool, done: &AtomicU64) {
    let mut connection = None;
    while !stop.load(Ordering::Relaxed) {
        let Some(open) = &mut connection else {
            connection = connect(port).ok();
            if connection.is_none() {
                std::thread::sleep(RECONNECT_EVERY);
            }
            continue;
        };
        match transfer::send(open, names, &mut rng) {
            Ok(()) => {
                done.fetch_add(1, Ordering::Relaxed);
                std::thread::sleep(EVERY);
            }
            Err(error) => {
                assert!(is_down(&error), "a transfer was refused: {error}");
                connection = None;
            }
        }
    }
}

fn connect(port: u16) -> RedisResult<Connection> {
    let client = redis::Client::open(format!("redis://127.0.0.1:{port}/"))?;
    let connection = client.get_connection_with_timeout(REPLY_LIMIT)?;
    connection.set_read_timeout(Some(REPLY_LIMIT))?;
    Ok(connection)
}

/// True if the server has ended or is loading its data. An error without a code comes from the
/// connection; that of a transaction has the errors of the commands that were queued.
fn is_down(error: &RedisError) -> bool {
    error.code().is_none() || error.to_string().contains("is loading the dataset")
}
