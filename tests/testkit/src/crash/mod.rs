//! Crash rounds: writers that record every acknowledged write, servers that are killed, and a check
//! that Redis and MongoDB have everything that was acknowledged.
//!
//! - `model`: the states that each key may have, given the sent and the acknowledged writes
//! - `operation`: commands, and their effects on the model
//! - `writer`: threads that run operations until the server is killed
//! - `check`: compares MongoDB with Redis, and both with the model
//! - `stage`: the servers of one round
//! - `scenario`: which process is killed, and when
//! - `round`: one round from start to result

pub mod check;
pub mod model;
pub mod operation;
pub mod round;
pub mod scenario;
pub mod stage;
pub mod writer;
