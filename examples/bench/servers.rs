//! The servers that are compared.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use mongodb::bson::doc;

use testkit::module_path;
use testkit::mongod::{Mongod, unreachable_uri};
use testkit::redis_server::{Redis, Setup};

/// An interval longer than any run: keys become dirty and are not read.
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

/// A server with the module, which writes nothing until [`drain`] is called.
pub fn ours(uri: &str) -> Redis {
    Setup::new(uri).setting("flush-interval-ms", NEVER).start()
}

/// The same without MongoDB; `prefix` is registered.
pub fn without_mongodb(prefix: &str) -> Redis {
    let redis = ours(&unreachable_uri());
    redis.cmd(&["WB.REGISTER", prefix, "bench.keys"]);
    redis
}

/// A MongoDB with an oplog and a cache large enough for the benchmark.
pub fn mongod() -> Mongod {
    let mongod = Mongod::replica_set();
    mongod.admin(doc! { "replSetResizeOplog": 1, "size": 2000.0 });
    let cache = "cache_size=2048M";
    mongod.admin(doc! { "setParameter": 1, "wiredTigerEngineRuntimeConfig": cache });
    mongod
}

/// From now on dirty keys are not written.
pub fn hold(redis: &Redis) {
    set(redis, "flush-interval-ms", NEVER);
}

/// From now on dirty keys are written at once.
pub fn drain(redis: &Redis) {
    set(redis, "flush-interval-ms", "0");
}

/// Changes a setting of the module.
pub fn set(redis: &Redis, name: &str, value: &str) {
    redis.cmd(&["CONFIG", "SET", &format!("writebehind.{name}"), value]);
}

/// Waits until no key is dirty, and returns the time that it took.
pub fn until_clean(redis: &Redis) -> Duration {
    let start = Instant::now();
    while redis.status().int("dirty_keys") > 0 {
        std::thread::sleep(Duration::from_millis(5));
        assert!(start.elapsed() < Duration::from_secs(600), "{}", redis.log());
    }
    start.elapsed()
}

/// The folder of the benchmark's results, beside that of `cargo build --release`.
pub fn folder() -> PathBuf {
    let release = module_path();
    release.ancestors().nth(2).expect("target").join("bench")
}
