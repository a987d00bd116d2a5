//! Each command: its arguments, its replies, and the persistence of its effects.

mod bad_input;
mod check;
mod cluster;
mod deadletter;
mod docs;
mod explain;
mod flush;
mod info;
mod internal;
mod list;
mod load;
mod metrics;
mod pause;
mod register;
mod replies;
mod sync;
mod uninstall;
mod verify;
