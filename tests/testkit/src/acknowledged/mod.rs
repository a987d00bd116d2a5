//! Writers under MODE THROUGH: whatever is killed, MongoDB has each write that was answered with OK, and each command
//! has one reply.
//!
//! - `model`: the states that a key may have in MongoDB
//! - `writer`: one client, which writes its own keys and records every reply
//! - `rounds`: servers that are killed, stepped down and replaced between checks
//! - `counting`: clients that count their replies while they are killed, unblocked and disconnected

mod counting;
mod model;
mod rounds;
mod writer;

use std::path::{Path, PathBuf};

use crate::redis_server::Setup;

/// What is done.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Which servers suffer.
    pub only: String,
    /// Number of rounds.
    pub rounds: u64,
    /// Number of clients.
    pub clients: usize,
    /// For how long clients count their replies, seconds.
    pub seconds: u64,
    /// Seed of the random numbers.
    pub seed: u64,
    /// Another server than the default.
    pub server: Option<PathBuf>,
}

/// What was seen.
#[derive(Debug, Default)]
pub struct Outcome {
    /// A line for people.
    pub summary: String,
    /// Writes that were answered with OK.
    pub acknowledged: u64,
    /// Writes that were answered with an error, or not at all.
    pub unanswered: u64,
    /// What was wrong.
    pub faults: Vec<String>,
}

/// The parts of a plan, by their names.
pub const PARTS: [&str; 5] = ["redis", "mongod", "stepdown", "failover", "count"];

/// Plays one part of a plan.
pub fn play(part: &str, plan: &Plan) -> Outcome {
    match part {
        "redis" => rounds::kill_redis(plan),
        "mongod" => rounds::kill_mongod(plan),
        "stepdown" => rounds::step_down(plan),
        "failover" => rounds::fail_over(plan),
        _ => counting::count(plan),
    }
}

fn with_program(setup: Setup, program: Option<&Path>) -> Setup {
    program.into_iter().fold(setup, |setup, path| setup.program(path))
}
