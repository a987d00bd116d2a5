//! MongoDB servers, and what the tests read from them.
//!
//! - `block_on`: the driver's futures in code that is not asynchronous
//! - `setup`: what a mongod is started with
//! - `server`: mongod, one shared by all tests or one's own
//! - `lent`: one that a test has for itself for a while
//! - `collection`: a collection, read and changed as another application would
//! - `failpoint`: mongod's `failCommand`
//! - `replica_set`: three mongods whose primary steps down
//! - `certificates`: a certificate authority and what it issues
//! - `users`: a mongod with authentication
//! - `fake`: a MongoDB server that answers as a test says

mod block_on;
pub mod certificates;
pub mod collection;
pub mod failpoint;
pub mod fake;
mod lent;
pub mod replica_set;
mod server;
mod setup;
pub mod users;

pub use block_on::block_on;
pub use lent::LentMongod;
pub use server::{Mongod, TestDatabase, nowhere};
pub use setup::{MongodSetup, dollar_name, major_version};
