//! What most tests start from.

use crate::mongod::{Mongod, TestDatabase, nowhere};
use crate::redis_server::{Redis, Setup};

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

    /// MongoDB is away, and stays so over a restart, until [`World::find_mongodb`].
    #[track_caller]
    pub fn away(change: impl FnOnce(Setup) -> Setup) -> Self {
        let redis = change(Setup::new(&nowhere())).start();
        Self { redis, database: Mongod::shared().database() }
    }

    /// MongoDB is there.
    #[track_caller]
    pub fn find_mongodb(&self) {
        find_mongodb(&self.redis);
    }

    /// MongoDB goes away. Everything is written by then.
    #[track_caller]
    pub fn lose_mongodb(&self) {
        self.redis.flush();
        self.redis.cmd(&["CONFIG", "SET", "writebehind.mongodb-uri", &nowhere()]);
    }

    /// The key's document has that text in its `value`.
    #[track_caller]
    pub fn holds(&self, collection: &str, id: &str, value: &str) {
        assert_eq!(self.database.collection(collection).text(id, "value"), value, "{id}");
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

/// Points that server at the shared MongoDB.
#[track_caller]
pub fn find_mongodb(redis: &Redis) {
    redis.cmd(&["CONFIG", "SET", "writebehind.mongodb-uri", &Mongod::shared().uri()]);
}
