//! The server's side: everything that speaks to Redis, and the only `unsafe` code.
//!
//! What the server calls, then the state, then its parts, then the ground:
//!
//! - [`load`], `events`, `tick`, `commands`, `settings`, `shutdown`; `command_spec`, `call`: a
//!   command's declaration, and one call of it.
//! - [`replication`]: what the master writes to the stream and the RDB, and what obeys it.
//! - `state`: all parts of the module, put together. None of those below knows it.
//! - [`event_loop`], [`retain`], [`read`], `flush_clients`, `check_clients`: the parts.
//! - `pipeline`: the backlog, the worker and the opener of keys, which every part may use; `slice`,
//!   `sources`, `file`, `durability_warnings`.
//! - [`api`]: the server's module API, wrapped.

pub mod api;
mod call;
mod check_clients;
mod command_spec;
mod commands;
mod durability_warnings;
pub mod event_loop;
mod events;
mod file;
mod flush_clients;
pub mod load;
mod pipeline;
pub mod read;
pub mod replication;
pub mod retain;
mod settings;
mod shutdown;
mod slice;
mod sources;
mod state;
mod tick;
