//! What most tests start from.

use crate::support::mongod::{Mongod, TestDatabase};
use crate::support::redis_server::{Redis, Setup};

/// A server of the test's own with the module, and a database of its own in the shared MongoDB.
pub struct World {
    pub redis: Redis,
    pub database: TestDatabase,
}

impl World {
    /// With the module's own defaults.
    #[track_caller]
    pub fn new() -> Self {
        Self::with(|setup| setup)
    }

    /// With the JSON module too.
    #[track_caller]
    pub fn json() -> Self {
        Self::with(Setup::json)
    }

    #[track_caller]
    pub fn with(change: impl FnOnce(Setup) -> Setup) -> Self {
        let mongod = Mongod::shared();
        let redis = change(Setup::new(&mongod.uri())).start();
        Self { redis, database: mongod.database() }
    }

    /// `WB.REGISTER prefix <this database>.collection options`.
    #[track_caller]
    pub fn register(&self, prefix: &str, collection: &str, options: &str) {
        let namespace = self.database.namespace(collection);
        let options: Vec<&str> = options.split_whitespace().collect();
        let words = [&["WB.REGISTER", prefix, &namespace], options.as_slice()].concat();
        assert_eq!(self.redis.run::<String>(&words), "OK");
    }
}
