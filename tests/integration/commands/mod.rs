//! Each command: its arguments, its replies, and the persistence of its effects.

mod bad_input;
mod check;
mod deadletter;
mod explain;
mod flush;
mod info;
mod internal;
mod list;
mod metrics;
mod pause;
mod readme;
mod register;
mod replies;
mod sync;
mod uninstall;
