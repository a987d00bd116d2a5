//! The worker: one background thread that writes batches and reports the result of each.
//!
//! - [`handle`]: the server thread's side. Never blocks, never locks.
//! - [`options`]: the settings that the worker needs.
//! - `ends`: the worker's ends of the channels to the server thread; `wake`: how the two threads
//!   wake each other.
//! - `thread`: the thread's body, which survives panics.
//! - `write_loop`: the loop between channels, tasks and timers; `completion`: handles the end of a
//!   write or of a connect attempt; `in_flight`: selects the batch to send next.
//! - `groups`, `group_lane`: group batches, which are sent one at a time.
//! - `connect_attempt`: creates a sink and checks the link; `link_monitor`, `link_view`: the link
//!   between batches.
//! - `lease`, `renewal`: the lease between batches.
//! - `tasks`: what tasks need, and how they end.
//! - `loads`, `load_lane`: documents that are read for WB.LOAD; `finds`: for clients that wait;
//!   `comparisons`: for WB.VERIFY.
//! - `check`: WB.CHECK, independent of the link and the batches.
//! - `credit`, `link`, `slow_namespaces`, `namespace_backoff`: pure decisions without I/O.
//! - `outbox`: reports to the server.

mod check;
mod comparisons;
mod completion;
mod connect_attempt;
mod credit;
mod ends;
mod finds;
mod group_lane;
mod groups;
pub mod handle;
mod in_flight;
mod lease;
mod link;
mod link_monitor;
mod link_view;
mod load_lane;
mod loads;
mod namespace_backoff;
pub mod options;
mod outbox;
mod renewal;
mod slow_namespaces;
mod tasks;
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
