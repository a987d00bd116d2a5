//! Clients that write while the cluster changes.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::commands::Chooser;
use super::plan::Traffic;
use super::router::Router;
use crate::wait::{SOON, wait_until};

const CLIENTS: usize = 2;
/// Writes per second of all clients.
const PER_SECOND: f64 = 2_000.0;
/// Writes that a client sends at once.
const PIPELINE: usize = 10;

/// Running clients. Dropping it stops them.
pub struct Load {
    stop: Arc<AtomicBool>,
    writes: Arc<AtomicU64>,
    threads: Vec<JoinHandle<Traffic>>,
}

impl Load {
    /// Starts the clients, which know these nodes.
    pub fn start(ports: &[u16], seed: u64) -> Self {
        let mut load = Self { stop: Arc::default(), writes: Arc::default(), threads: Vec::new() };
        for client in 0..CLIENTS {
            let (stop, writes) = (Arc::clone(&load.stop), Arc::clone(&load.writes));
            let (router, chooser) = (Router::new(ports.to_vec()), Chooser::new(seed, client));
            let thread = std::thread::spawn(move || write(router, chooser, &stop, &writes));
            load.threads.push(thread);
        }
        load
    }

    /// Returns after so many more writes.
    #[track_caller]
    pub fn wait_for(&self, writes: u64) {
        let count = || self.writes.load(Ordering::Relaxed);
        let goal = count() + writes;
        let is_reached = || count() >= goal || self.threads.iter().any(JoinHandle::is_finished);
        wait_until("the clients have written", 3 * SOON, is_reached);
    }

    /// Stops the clients.
    #[track_caller]
    pub fn stop(mut self) -> Traffic {
        self.stop.store(true, Ordering::Relaxed);
        let mut traffic = Traffic::default();
        for thread in self.threads.drain(..) {
            traffic += thread.join().expect("a client");
        }
        traffic
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

fn write(
    mut router: Router,
    mut chooser: Chooser,
    stop: &AtomicBool,
    count: &AtomicU64,
) -> Traffic {
    let tick = Duration::from_secs_f64((PIPELINE * CLIENTS) as f64 / PER_SECOND);
    let mut next = Instant::now();
    while !stop.load(Ordering::Relaxed) {
        let writes: Vec<_> = (0..PIPELINE).map(|_| chooser.next()).collect();
        router.run(&writes);
        count.fetch_add(PIPELINE as u64, Ordering::Relaxed);
        next += tick;
        std::thread::sleep(next.saturating_duration_since(Instant::now()));
    }
    router.traffic
}
