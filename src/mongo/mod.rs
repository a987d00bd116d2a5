//! MongoDB as the sink.

mod check;
mod client;
mod codes;
pub mod command;
mod contested;
pub mod explain;
mod extended;
mod index;
mod judge;
mod lane;
pub mod limits;
mod listing;
pub mod lookup;
mod newness;
pub mod operation;
pub mod outcome;
pub mod reply;
pub mod sink;
mod transaction;
mod unknown_host;
pub mod uri;
mod validation;
mod watch;
pub mod writing;
