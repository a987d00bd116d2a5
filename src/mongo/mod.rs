//! MongoDB as the sink.
//!
//! - [`sink`]: connects, and writes batches with [`write`](mod@write).
//! - `client`, [`uri`], `monitor`, `check`: connections and the state of the servers.
//! - [`error`], `codes`: the classification of errors.

mod check;
mod client;
mod codes;
pub mod error;
pub mod explain;
mod extended_json;
mod group_sink;
mod monitor;
pub mod sink;
mod unknown_host;
pub mod uri;
pub mod write;
pub mod write_concern;
