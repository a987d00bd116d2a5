//! The servers that are compared.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use mongodb::bson::doc;

use testkit::module_path;
use testkit::mongod::{Mongod, nowhere};
use testkit::redis_server::{Redis, Setup};

/// An interval that never ends: keys become dirty and nothing is read.
const NEVER: &str = "86400000";

/// A server without any module.
pub fn plain() -> Redis {
    Setup::without_module().start()
}

/// A server with the module that only subscribes.
pub fn empty() -> Redis {
    let module = module_path().with_file_name("examples").join("libempty_subscriber.so");
    Setup::without_module().config(&format!("loadmodule {}", module.display())).start()
}

/// A server with our module, which writes nothing until [`drain`] is called.
pub fn ours(uri: &str) -> Redis {
    Setup::new(uri).setting("flush-interval-ms", NEVER).start()
}

/// The same, and no MongoDB either; keys under `prefix` are registered.
pub fn away(prefix: &str) -> Redis {
    let redis = ours(&nowhere());
    redis.cmd(&["WB.REGISTER", prefix, "bench.keys"]);
    redis
}

/// A MongoDB with room for all that the benchmark writes.
pub fn mongod() -> Mongod {
    let mongod = Mongod::replica_set();
    mongod.admin(doc! { "replSetResizeOplog": 1, "size": 2000.0 });
    let cache = "cache_size=2048M";
    mongod.admin(doc! { "setParameter": 1, "wiredTigerEngineRuntimeConfig": cache });
    mongod
}

/// Keys wait for ever from now on.
pub fn hold(redis: &Redis) {
    set(redis, "flush-interval-ms", NEVER);
}

/// What is dirty is written at once from now on.
pub fn drain(redis: &Redis) {
    set(redis, "flush-interval-ms", "0");
}

/// Changes a setting of the module.
pub fn set(redis: &Redis, name: &str, value: &str) {
    redis.cmd(&["CONFIG", "SET", &format!("writebehind.{name}"), value]);
}

/// Returns when nothing is dirty; the time from the call.
pub fn until_clean(redis: &Redis) -> Duration {
    let start = Instant::now();
    while redis.status().int("dirty_keys") > 0 {
        std::thread::sleep(Duration::from_millis(5));
        assert!(start.elapsed() < Duration::from_secs(600), "{}", redis.log());
    }
    start.elapsed()
}

/// Where `cargo build --release` leaves what the benchmark writes.
pub fn folder() -> PathBuf {
    let release = module_path();
    release.ancestors().nth(2).expect("target").join("bench")
}
