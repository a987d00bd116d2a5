//! The server's side: everything that speaks to Redis, and the only `unsafe` code.
//!
//! - [`load`]: RedisModule_OnLoad and RedisModule_OnUnload.
//! - `events`: what the server tells us; `tick`: when we work, `turn`: how long;
//!   `fill`: `read`, `value`, `read_mode`: how values are read,
//!   `walk`, `partial`: large ones, and in steps; `call`: by commands.
//! - `gone`: keys that go away, `early`, `overdue`, `pressure`: on Redis 7.0; `persist`, `data_type`:
//!   our state in the RDB; `sync`: keys that exist already.
//! - `commands`, `settings`, `info`: what users see.
//! - `module`: the state that the server thread owns; `blocked`: clients that wait.
//! - `api`, `ctx`, `reply`, `log`, `guard`, `clock`, `file`, `signals`, `batch_work`: the ground they stand on.

pub mod api;
mod call;
mod check_clients;
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
