//! Mongods of one test at a time: a start takes longer than most tests.

use std::ops::Deref;
use std::sync::{Mutex, PoisonError};

use mongodb::bson::doc;

use crate::mongod::server::Mongod;

/// Those that no test has at the moment. As the shared one they end with the process.
static POOL: Mutex<Vec<Mongod>> = Mutex::new(Vec::new());

/// A replica set of one node that a test has for itself, to count what it does or to freeze it. It goes
/// back with neither data nor sessions, or ends with a test that fails.
pub struct LentMongod {
    // Taken in `drop` alone.
    mongod: Option<Mongod>,
}

impl Mongod {
    /// One that nobody else uses until it is dropped. For a test that neither stops it nor gives it
    /// arguments; it must drop its Redis first.
    pub fn lent() -> LentMongod {
        let spare = POOL.lock().unwrap_or_else(PoisonError::into_inner).pop();
        LentMongod { mongod: Some(spare.unwrap_or_else(Self::replica_set)) }
    }
}

impl Deref for LentMongod {
    type Target = Mongod;

    fn deref(&self) -> &Mongod {
        self.mongod.as_ref().expect("a mongod until it is dropped")
    }
}

impl Drop for LentMongod {
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
