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

mod age;
mod api;
mod batch_work;
mod blocked;
mod call;
mod clock;
mod commands;
mod ctx;
mod data_type;
mod early;
mod events;
mod file;
mod fill;
mod gone;
mod guard;
mod info;
mod letters;
pub mod load;
mod log;
mod module;
mod overdue;
mod partial;
mod persist;
mod pressure;
mod read;
mod read_mode;
mod reply;
mod settings;
mod shutdown;
mod signals;
mod startup;
mod sync;
mod tick;
mod turn;
mod value;
mod walk;
mod wanted;
