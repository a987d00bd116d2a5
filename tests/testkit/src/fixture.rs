//! The fixture of most tests.

use crate::mongod::{Mongod, TestDatabase, unreachable_uri};
use crate::redis_server::{Redis, Setup};

/// A private Redis server with the module, and a private database in the shared MongoDB.
pub struct World {
    pub redis: Redis,
    pub database: TestDatabase,
}

impl World {
    /// With the module's default settings.
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

    /// MongoDB is unreachable, also after a restart, until [`World::connect_mongodb`].
    #[track_caller]
    pub fn without_mongodb(change: impl FnOnce(Setup) -> Setup) -> Self {
        let redis = change(Setup::new(&unreachable_uri())).start();
        Self { redis, database: Mongod::shared().database() }
    }

    /// Makes MongoDB reachable.
    #[track_caller]
    pub fn connect_mongodb(&self) {
        connect_mongodb(&self.redis);
    }

    /// Makes MongoDB unreachable, after all dirty keys are written.
    #[track_caller]
    pub fn disconnect_mongodb(&self) {
        self.redis.flush();
        self.redis.cmd(&["CONFIG", "SET", "writebehind.mongodb-uri", &unreachable_uri()]);
    }

    /// Asserts that the document's field `value` is that string.
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

/// Sets the server's `mongodb-uri` to the shared MongoDB.
#[track_caller]
pub fn connect_mongodb(redis: &Redis) {
    redis.cmd(&["CONFIG", "SET", "writebehind.mongodb-uri", &Mongod::shared().uri()]);
}
