//! The worker: one background thread that writes batches and reports how each of them ended.
//!
//! - [`handle`]: the server thread's side. Never blocks, never locks.
//! - [`options`]: what the worker must know of the settings.
//! - `wake`: how the two threads wake each other.
//! - `thread`: the thread's body, which survives panics.
//! - `engine`: the loop between channels, tasks and timers.
//! - `outcome`: what follows when a write or a contact has ended.
//! - `contact`: makes a sink and tries the link; `follow`: the link between batches.
//! - `check`: WB.CHECK, beside all that.
//! - `places`: which batch goes on the wire next.
//! - `credit`, `link`, `pace`, `rest`: the decisions, pure.
//! - `outbox`: reports to the server.

mod check;
mod completion;
mod connect_attempt;
mod credit;
pub mod handle;
mod in_flight;
mod link;
mod link_monitor;
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

pub use check::CheckRequest;
pub use connect_attempt::read_uri_within;
pub use handle::Worker;
pub use options::{MAX_IN_FLIGHT, UriSource, WorkerOptions};
