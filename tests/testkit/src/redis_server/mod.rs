//! redis-server or valkey-server with the module.
//!
//! - `setup`: the options that it is started with
//! - `server`: the running server
//! - `raw`: connections on which the bytes of replies are seen
//! - `reply`: the map replies of the module's commands
//! - `replication`: replicas, and the comparison of dirty sets
//! - `sentinel`: sentinels of a master
//! - `other_module`: a module that runs commands for others
//! - `seccomp`: the system call filter of Debian's redis-server.service

mod other_module;
pub mod raw;
pub mod replication;
pub mod reply;
pub mod seccomp;
pub mod sentinel;
mod server;
mod setup;

pub use reply::Fields;
pub use server::{Redis, command};
pub use setup::Setup;
