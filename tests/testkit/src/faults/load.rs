//! Writers that continue during any fault of MongoDB, and a prober that measures the latency of a
//! Redis client.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use redis::{Connection, RedisResult};

use crate::redis_server::Redis;

/// The minimum time between two writes of the prober.
const PROBE_EVERY: Duration = Duration::from_millis(1);

/// The load: strings that hold increasing counters.
#[derive(Clone, Copy, Debug)]
pub struct Rate {
    /// Connections that write, each to its own keys.
    pub writers: u64,
    /// Keys of all writers.
    pub keys: u64,
    /// Writes per second of all writers.
    pub per_second: u64,
    /// Writes per pipeline.
    pub pipeline: u64,
}

/// A load that a test can sustain on a busy machine.
pub const GENTLE: Rate = Rate { writers: 2, keys: 500, per_second: 2_000, pipeline: 10 };

/// Running writers and a prober. Dropping it stops them.
pub struct Load {
    stop: Arc<AtomicBool>,
    writes: Arc<AtomicU64>,
    latencies: Arc<Mutex<Histogram<u64>>>,
    threads: Vec<JoinHandle<RedisResult<()>>>,
}

impl Load {
    /// Writes keys `<prefix><writer>-<number>`, and `<prefix>probe`.
    pub fn start(redis: &Redis, prefix: &str, rate: Rate) -> Self {
        let mut load = Self {
            stop: Arc::default(),
            writes: Arc::default(),
            latencies: Arc::new(Mutex::new(microseconds())),
            threads: Vec::new(),
        };
        for writer in 0..rate.writers {
            let (stop, writes) = (Arc::clone(&load.stop), Arc::clone(&load.writes));
            let names = (0..rate.keys / rate.writers).map(|i| format!("{prefix}{writer}-{i}"));
            let (names, connection) = (names.collect::<Vec<_>>(), redis.connect());
            load.threads
                .push(std::thread::spawn(move || write(connection, &names, rate, &stop, &writes)));
        }
        let (stop, latencies) = (Arc::clone(&load.stop), Arc::clone(&load.latencies));
        let (connection, name) = (redis.connect(), format!("{prefix}probe"));
        load.threads.push(std::thread::spawn(move || probe(connection, &name, &stop, &latencies)));
        load
    }

    /// Acknowledged writes so far.
    pub fn writes(&self) -> u64 {
        self.writes.load(Ordering::Relaxed)
    }

    /// Latencies of the prober's writes since the last call, in microseconds.
    pub fn latencies(&self) -> Histogram<u64> {
        std::mem::replace(&mut *self.latencies.lock().expect("latencies"), microseconds())
    }

    /// Stops the load and returns the number of acknowledged writes.
    #[track_caller]
    pub fn stop(mut self) -> u64 {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            thread.join().expect("a thread of the load").expect("SET");
        }
        self.writes()
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

fn microseconds() -> Histogram<u64> {
    Histogram::new_with_bounds(1, 60_000_000, 3).expect("bounds")
}

/// One writer: at each tick a pipeline that sets the next keys to increasing values.
fn write(
    mut connection: Connection,
    names: &[String],
    rate: Rate,
    stop: &AtomicBool,
    writes: &AtomicU64,
) -> RedisResult<()> {
    let tick =
        Duration::from_secs_f64((rate.pipeline * rate.writers) as f64 / rate.per_second as f64);
    let mut next = Instant::now();
    let mut counter = 0;
    while !stop.load(Ordering::Relaxed) {
        let mut pipeline = redis::pipe();
        for _ in 0..rate.pipeline {
            counter += 1;
            let name = &names[counter as usize % names.len()];
            pipeline.cmd("SET").arg(name).arg(counter).ignore();
        }
        pipeline.query::<()>(&mut connection)?;
        writes.fetch_add(rate.pipeline, Ordering::Relaxed);
        next += tick;
        std::thread::sleep(next.saturating_duration_since(Instant::now()));
    }
    Ok(())
}

/// Writes one key repeatedly and measures the latency of each write.
fn probe(
    mut connection: Connection,
    name: &str,
    stop: &AtomicBool,
    latencies: &Mutex<Histogram<u64>>,
) -> RedisResult<()> {
    let mut counter = 0_u64;
    while !stop.load(Ordering::Relaxed) {
        counter += 1;
        let start = Instant::now();
        redis::cmd("SET").arg(name).arg(counter).query::<()>(&mut connection)?;
        let took = u64::try_from(start.elapsed().as_micros()).expect("microseconds");
        latencies.lock().expect("latencies").saturating_record(took.max(1));
        std::thread::sleep(PROBE_EVERY);
    }
    Ok(())
}
