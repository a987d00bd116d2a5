//! Real servers for the integration tests and the demo, and the oracle that compares them.
//!
//! - `process`: a server process that never outlives this one
//! - `setup`: what a redis-server is started with
//! - `redis_server`: redis-server with the module
//! - `replication`: replicas, and whether dirty sets agree
//! - `mongod`: mongod, one shared by all tests or one's own
//! - `mongod_setup`: what a mongod is started with
//! - `replica_set`: three mongods whose primary steps down
//! - `fake_mongod`: a MongoDB server that answers as a test says
//! - `failpoint`: mongod's `failCommand`
//! - `users`: a mongod with authentication
//! - `certificates`: a certificate authority and what it issues
//! - `proxy`: a TCP proxy that delays, cuts, holds and swallows
//! - `renaming`: a way to mongod on which it calls itself by an unknown host name
//! - `collection`: a MongoDB collection, read and changed as another application would
//! - `reply`: the maps that the module's commands answer with
//! - `seccomp`: the system call filter of Debian's redis-server.service
//! - `oracle`: after WB.FLUSH, MongoDB's document == document(Redis's value)
//! - `wait`: polling with a deadline

pub mod certificates;
pub mod collection;
pub mod failpoint;
pub mod fake_mongod;
pub mod mongod;
pub mod mongod_setup;
pub mod oracle;
pub mod process;
pub mod proxy;
pub mod redis_server;
pub mod renaming;
pub mod replica_set;
pub mod replication;
pub mod reply;
pub mod seccomp;
pub mod setup;
pub mod users;
pub mod wait;

use std::path::{Path, PathBuf};

/// A file that `scripts/fetch-servers` puts into `.servers/`; missing, it is a failure.
pub fn fetched(name: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(".servers").join(name);
    assert!(path.exists(), "{} is missing: run scripts/fetch-servers", path.display());
    path
}

/// The module as `cargo build --release` leaves it.
pub fn module_path() -> PathBuf {
    let target =
        std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| PathBuf::from("target"), PathBuf::from);
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(target).join("release/libwritebehind.so");
    assert!(path.exists(), "{} is missing: run cargo build --release", path.display());
    path
}

/// What random tests begin with: `WB_SEED`, or else the commit, so that a run can be repeated and the
/// next commit tries something new. 1 outside a clone.
pub fn seed() -> u64 {
    if let Ok(seed) = std::env::var("WB_SEED") {
        return seed.parse().expect("WB_SEED is a number");
    }
    let git = std::process::Command::new("git")
        .args(["rev-parse", "HEAD"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output();
    let commit = git.ok().and_then(|output| String::from_utf8(output.stdout).ok());
    let digits = commit.as_deref().and_then(|commit| commit.get(..8));
    digits.and_then(|digits| u64::from_str_radix(digits, 16).ok()).unwrap_or(1)
}
