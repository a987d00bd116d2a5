//! Threads that read both collections in one snapshot and check the sum.

use std::collections::HashSet;
use std::fmt;
use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use mongodb::bson::Document;

use super::account::{Balances, changes, collections, in_snapshot};
use crate::mongod::TestDatabase;

/// The wait after an error, which means that there is no primary at the moment.
const AFTER_ERROR: Duration = Duration::from_millis(20);

/// A snapshot with a wrong sum.
#[derive(Debug)]
pub struct Wrong {
    /// The number of snapshots before it.
    pub after: u64,
    /// Why it is wrong.
    pub what: String,
    /// The changes since the last snapshot of the same thread.
    pub changes: Vec<String>,
    pub documents: Vec<Vec<Document>>,
}

/// What the threads share.
struct Shared {
    database: TestDatabase,
    total: i64,
    stop: AtomicBool,
    snapshots: AtomicU64,
    errors: AtomicU64,
    wrong: AtomicU64,
    /// A hash of each state that was seen.
    states: Mutex<HashSet<u64>>,
    first_wrong: Mutex<Option<Wrong>>,
}

/// Running pollers. Dropping them stops them.
pub struct Pollers {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

/// What the pollers found.
#[derive(Debug)]
pub struct Polled {
    pub snapshots: u64,
    /// Distinct states of all balances.
    pub states: usize,
    /// Attempts that failed because MongoDB was unavailable, or aborted them.
    pub errors: u64,
    /// Snapshots with a wrong sum, and the first of them.
    pub wrong: u64,
    pub first_wrong: Option<Wrong>,
}

impl Pollers {
    /// Starts threads that check that the sum is `total`.
    pub fn start(count: usize, database: TestDatabase, total: i64) -> Self {
        let shared = Arc::new(Shared {
            database,
            total,
            stop: AtomicBool::default(),
            snapshots: AtomicU64::default(),
            errors: AtomicU64::default(),
            wrong: AtomicU64::default(),
            states: Mutex::default(),
            first_wrong: Mutex::default(),
        });
        let start = |_| {
            let shared = Arc::clone(&shared);
            std::thread::spawn(move || shared.poll())
        };
        let threads = (0..count).map(start).collect();
        Self { shared, threads }
    }

    /// Snapshots so far.
    pub fn snapshots(&self) -> u64 {
        self.shared.snapshots.load(Ordering::Relaxed)
    }

    /// Distinct states so far.
    pub fn states(&self) -> usize {
        self.shared.states.lock().expect("states").len()
    }

    #[track_caller]
    pub fn stop(mut self) -> Polled {
        self.shared.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            thread.join().expect("a poller");
        }
        Polled {
            snapshots: self.snapshots(),
            states: self.states(),
            errors: self.shared.errors.load(Ordering::Relaxed),
            wrong: self.shared.wrong.load(Ordering::Relaxed),
            first_wrong: self.shared.first_wrong.lock().expect("wrong").take(),
        }
    }
}

impl Drop for Pollers {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
    }
}

impl Shared {
    fn poll(&self) {
        let mut last = Balances::new();
        while !self.stop.load(Ordering::Relaxed) {
            let Ok(documents) = self.database.snapshot(&collections()) else {
                self.errors.fetch_add(1, Ordering::Relaxed);
                std::thread::sleep(AFTER_ERROR);
                continue;
            };
            let after = self.snapshots.fetch_add(1, Ordering::Relaxed);
            let (what, balances) = match in_snapshot(&documents) {
                Ok(balances) => (self.check(&balances), balances),
                Err(error) => (Some(error), Balances::new()),
            };
            if let Some(what) = what {
                self.wrong.fetch_add(1, Ordering::Relaxed);
                let changes = changes(&last, &balances);
                let wrong = Wrong { after, what, changes, documents };
                self.first_wrong.lock().expect("wrong").get_or_insert(wrong);
            }
            let hash = BuildHasherDefault::<DefaultHasher>::default().hash_one(&balances);
            self.states.lock().expect("states").insert(hash);
            last = balances;
        }
    }

    /// Why the balances are wrong, if they are.
    fn check(&self, balances: &Balances) -> Option<String> {
        let sum: i64 = balances.values().sum();
        let difference = sum - self.total;
        (difference != 0).then(|| format!("the sum is {sum}, {difference:+}"))
    }
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "first wrong after {} snapshots: {}", self.after, self.what)?;
        write!(f, "\n    changed since the last one: {}", self.changes.join(", "))?;
        for (name, documents) in collections().iter().zip(&self.documents) {
            let documents: Vec<String> = documents.iter().map(Document::to_string).collect();
            write!(f, "\n    {name}: {}", documents.join(" "))?;
        }
        Ok(())
    }
}
