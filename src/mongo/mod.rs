//! MongoDB as the sink.

mod check;
mod client;
mod codes;
pub mod error;
pub mod explain;
mod extended_json;
mod monitor;
pub mod sink;
mod unknown_host;
pub mod uri;
pub mod write;
