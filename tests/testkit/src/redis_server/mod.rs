//! redis-server, or a Valkey, with the module.
//!
//! - `setup`: what it is started with
//! - `server`: the running server
//! - `reply`: the maps that the module's commands answer with
//! - `replication`: replicas, and whether dirty sets agree
//! - `seccomp`: the system call filter of Debian's redis-server.service

pub mod replication;
pub mod reply;
pub mod seccomp;
mod server;
mod setup;

pub use server::{Redis, command};
pub use setup::Setup;
