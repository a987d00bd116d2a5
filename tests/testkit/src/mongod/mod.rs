//! MongoDB servers and their collections.
//!
//! - `block_on`: the driver's futures in synchronous code
//! - `setup`: the options that a mongod is started with
//! - `server`: mongod, shared by all tests or private
//! - `pool`: mongods that one test at a time uses
//! - `collection`: a collection, read and modified as by another application
//! - `snapshot`: several collections at one moment
//! - `transaction`: a transaction of another application that locks documents
//! - `failpoint`: mongod's fail point `failCommand`
//! - `replica_set`: three members whose primary steps down
//! - `certificates`: a certificate authority and its certificates
//! - `users`: a mongod with authentication
//! - `fake`: a fake MongoDB server whose replies a test chooses

mod block_on;
pub mod certificates;
pub mod collection;
pub mod failpoint;
pub mod fake;
mod pool;
pub mod replica_set;
mod server;
mod setup;
mod snapshot;
pub mod transaction;
pub mod users;

pub use block_on::block_on;
pub use pool::PooledMongod;
pub use server::{Mongod, TestDatabase, unreachable_uri};
pub use setup::{MongodSetup, dollar_name, major_version};
