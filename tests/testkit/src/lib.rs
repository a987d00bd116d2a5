//! Real servers for the tests, the examples and the benchmarks, and the code that drives and checks
//! them.
//!
//! - `wait`: polling with a deadline
//! - `process`: a server process that never outlives this one
//! - `mongod`: MongoDB servers and their collections
//! - `redis_server`: redis-server, or a Valkey, with the module
//! - `network`: proxies between the two
//! - `comparison`: after WB.FLUSH, MongoDB's document == document(Redis's value)
//! - `fixture`: a server and a database, as most tests use them
//! - `faults`: faults of MongoDB, in rounds of any length
//! - `acknowledged`: writers under MODE THROUGH, whose answered writes must be in MongoDB
//! - `cached`: a bounded cache of read-through, and the same commands on a server that loses nothing
//! - `crash`: servers that are killed while writers record every acknowledged write
//! - `failover`: masters that are replaced and come back
//! - `cluster`: a Redis Cluster whose slots move while clients write
//! - `transfers`: transfers between accounts, and snapshots of MongoDB in which none may be half done
//! - `oracle`: random commands, and the documents that MongoDB may hold after them
//! - `fuzz`: damaged input for a real server

pub mod acknowledged;
pub mod cached;
pub mod cluster;
pub mod comparison;
pub mod crash;
pub mod failover;
pub mod faults;
pub mod fixture;
pub mod fuzz;
pub mod mongod;
pub mod network;
pub mod oracle;
pub mod process;
pub mod redis_server;
pub mod transfers;
pub mod wait;

use std::path::{Path, PathBuf};

/// The folder of the project.
fn root() -> &'static Path {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2);
    root.expect("the folder above tests/testkit")
}

/// A file that `scripts/fetch-servers` puts into `.servers/`. Panics if it is missing.
pub fn fetched(name: &str) -> PathBuf {
    let path = root().join(".servers").join(name);
    assert!(path.exists(), "{} is missing: run scripts/fetch-servers", path.display());
    path
}

/// `WB_MODULE`, or the module that `cargo build --release` built.
pub fn module_path() -> PathBuf {
    if let Some(path) = std::env::var_os("WB_MODULE") {
        // The server runs in another working directory.
        return std::path::absolute(path).expect("WB_MODULE");
    }
    let target =
        std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| PathBuf::from("target"), PathBuf::from);
    let path = root().join(target).join("release/libwritebehind.so");
    assert!(path.exists(), "{} is missing: run cargo build --release", path.display());
    path
}

/// The seed of random tests: `WB_SEED`, or else taken from the commit id, so that a run can be
/// repeated and the next commit uses another seed. 1 outside a git clone.
pub fn seed() -> u64 {
    if let Ok(seed) = std::env::var("WB_SEED") {
        return seed.parse().expect("WB_SEED is a number");
    }
    let git =
        std::process::Command::new("git").args(["rev-parse", "HEAD"]).current_dir(root()).output();
    let commit = git.ok().and_then(|output| String::from_utf8(output.stdout).ok());
    let digits = commit.as_deref().and_then(|commit| commit.get(..8));
    digits.and_then(|digits| u64::from_str_radix(digits, 16).ok()).unwrap_or(1)
}
