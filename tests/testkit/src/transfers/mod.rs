//! Transfers between accounts, each in one MULTI, script or command, and snapshots of MongoDB: if
//! the keys of one transfer become visible together, the sum of all balances is the same in every
//! snapshot.
//!
//! - `account`: accounts of two types, in two collections, and their balances
//! - `transfer`: one transfer, of one of several forms
//! - `writers`: threads that transfer until they are stopped, whatever happens to Redis
//! - `pollers`: threads that read both collections in one snapshot and check the sum
//! - `stage`: the servers of one round
//! - `fault`: what may happen to them
//! - `round`: one round from start to result

pub mod account;
pub mod fault;
mod pollers;
pub mod round;
pub mod stage;
mod transfer;
mod writers;
