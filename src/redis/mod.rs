//! The Redis side of the module: callbacks, commands and every call of the module API, and the only
//! `unsafe` code.
//!
//! From the entry points that the server calls down to the wrapped module API:
//!
//! - [`load`], `events`, `tick`, `commands`, `settings`, `shutdown`; `command_spec`, `call`: a
//!   command's declaration, and one call of it.
//! - [`replication`]: what the master writes to the replication stream and the RDB, and what
//!   applies it.
//! - `state`: all parts of the module, put together. None of the modules listed below it imports
//!   it.
//! - [`event_loop`], [`retain`], [`read`], `loads`, [`verify`], [`through`], `flush_clients`, `check_clients`: the parts; `store`
//!   stores what came from MongoDB.
//! - `pipeline`: the backlog, the worker and the key opener, which every part may use; `slice`,
//!   `sources`, `file`, `durability_warnings`.
//! - [`api`]: the server's module API, wrapped.

mod answers;
pub mod api;
mod asks;
mod call;
mod check_clients;
mod choices;
mod cluster;
mod command_spec;
mod commands;
mod durability_warnings;
pub mod event_loop;
mod events;
mod exchange;
mod file;
mod flush_clients;
mod handover;
pub mod load;
mod loads;
mod node_flushes;
mod nodes;
mod peers;
mod pipeline;
mod place;
pub mod read;
pub mod replication;
pub mod retain;
mod settings;
mod shutdown;
mod slice;
mod sources;
mod state;
mod store;
pub mod through;
mod tick;
mod units;
pub mod verify;
