//! MongoDB as the sink.

mod client;
mod codes;
pub mod command;
mod index;
pub mod operation;
mod outcome;
pub mod sink;
pub mod uri;
mod writing;
