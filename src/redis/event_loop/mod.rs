//! What the module does in each iteration of the server's event loop.

pub mod dead_letter_retries;
pub mod key_scan;
pub mod lease;
pub mod problem_log;
pub mod reports;
pub mod rewrites;
pub mod schedule;
