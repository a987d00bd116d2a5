//! A pool of mongods that one test at a time uses: starting one takes longer than most tests.

use std::ops::Deref;
use std::sync::{Mutex, PoisonError};

use mongodb::bson::doc;

use crate::mongod::server::Mongod;

/// The mongods that no test uses at the moment. Like the shared one, they end with the process.
static POOL: Mutex<Vec<Mongod>> = Mutex::new(Vec::new());

/// A replica set of one member for the exclusive use of a test that reads its counters or freezes
/// it. It returns to the pool without data and sessions; if the test fails, it is killed.
pub struct PooledMongod {
    // `None` only in `drop`.
    mongod: Option<Mongod>,
}

impl Mongod {
    /// A mongod that no other test uses until it is dropped. For a test that neither stops it nor
    /// gives it arguments; the test must drop its Redis first.
    pub fn pooled() -> PooledMongod {
        let spare = POOL.lock().unwrap_or_else(PoisonError::into_inner).pop();
        PooledMongod { mongod: Some(spare.unwrap_or_else(Self::replica_set)) }
    }
}

impl Deref for PooledMongod {
    type Target = Mongod;

    fn deref(&self) -> &Mongod {
        self.mongod.as_ref().expect("present until it is dropped")
    }
}

impl Drop for PooledMongod {
    fn drop(&mut self) {
        let Some(mongod) = self.mongod.take() else { return };
        if std::thread::panicking() {
            return;
        }
        mongod.thaw();
        mongod.admin(doc! { "killAllSessions": [] });
        mongod.drop_databases();
        POOL.lock().unwrap_or_else(PoisonError::into_inner).push(mongod);
    }
}
