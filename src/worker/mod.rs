//! The worker: one background thread that writes batches and reports how each of them ended.
//!
//! - [`handle`]: the server thread's side. Never blocks, never locks.
//! - [`options`]: what the worker must know of the settings.
//! - `ends`: what connects it with the server thread; `wake`: how the two threads wake each other.
//! - `thread`: the thread's body, which survives panics.
//! - `write_loop`: the loop between channels, tasks and timers; `completion`: what follows when a write or
//!   a contact has ended; `in_flight`: which batch is sent next.
//! - `connect_attempt`: makes a sink and tries the link; `link_monitor`, `link_view`: the link between
//!   batches.
//! - `check`: WB.CHECK, beside all that.
//! - `credit`, `link`, `slow_namespaces`, `namespace_backoff`: the decisions, pure.
//! - `outbox`: reports to the server.

mod check;
mod completion;
mod connect_attempt;
mod credit;
mod ends;
pub mod handle;
mod in_flight;
mod link;
mod link_monitor;
mod link_view;
mod namespace_backoff;
pub mod options;
mod outbox;
mod slow_namespaces;
mod thread;
mod wake;
mod write_loop;

#[cfg(test)]
mod doubles;
#[cfg(test)]
mod tests;

pub use connect_attempt::read_uri_within;
pub use ends::CheckRequest;
pub use handle::Worker;
pub use options::{UriSource, WorkerOptions};
