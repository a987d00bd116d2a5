//! MongoDB as the sink and the source.
//!
//! - [`sink`]: connects, and writes batches with [`write`](mod@write).
//! - `source`: reads documents with [`read`](mod@read).
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
pub mod read;
pub mod sink;
mod source;
mod unknown_host;
pub mod uri;
pub mod write;
pub mod write_concern;
