//! MongoDB as the sink.
//!
//! - [`sink`]: connects, and writes batches by [`write`](mod@write).
//! - `client`, [`uri`], `monitor`, `check`: connections and what is known of the servers.
//! - [`error`], `codes`: what errors mean.

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
pub mod write_concern;
