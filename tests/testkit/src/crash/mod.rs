//! Crash rounds: writers whose every acknowledged write is known, servers that are killed, and
//! the question afterwards whether Redis and MongoDB hold what was acknowledged.
//!
//! - `model`: what each key may hold, by what was sent and what was acknowledged
//! - `operation`: commands, and what they make of the model
//! - `writer`: threads that run operations until the server is gone
//! - `check`: MongoDB against Redis, and both against the model
//! - `stage`: the servers of one round
//! - `scenario`: who is killed, and when
//! - `round`: one round from start to verdict

pub mod check;
pub mod model;
pub mod operation;
pub mod round;
pub mod scenario;
pub mod stage;
pub mod writer;
