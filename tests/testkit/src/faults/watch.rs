//! A reader of MongoDB that detects a counter that decreases.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use crate::mongod::collection::Collection;

/// What the reader found.
#[derive(Debug, Default)]
pub struct Watched {
    /// Times that all documents were read.
    pub polls: u64,
    /// Counters that decreased, one line each.
    pub falls: Vec<String>,
}

/// A running reader.
pub struct Watch {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Watched>,
}

impl Watch {
    /// Reads all documents repeatedly, with read concern `majority`.
    pub fn start(collection: Collection) -> Self {
        let stop = Arc::<AtomicBool>::default();
        let stopped = Arc::clone(&stop);
        let thread = std::thread::spawn(move || watch(&collection, &stopped));
        Self { stop, thread }
    }

    #[track_caller]
    pub fn stop(self) -> Watched {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().expect("the reader")
    }
}

fn watch(collection: &Collection, stop: &AtomicBool) -> Watched {
    let mut watched = Watched::default();
    let mut highest: HashMap<String, u64> = HashMap::new();
    while !stop.load(Ordering::Relaxed) {
        // No primary at the moment: try again.
        let Ok(documents) = collection.majority_committed() else { continue };
        watched.polls += 1;
        for document in documents {
            let id = document.get_str("_id").expect("_id").to_owned();
            let counter = document.get_str("value").expect("value").parse().expect("a counter");
            let before = highest.entry(id).or_insert(counter);
            if counter < *before {
                watched.falls.push(format!("{document} after {before}"));
            }
            *before = counter;
        }
    }
    watched
}
