//! Each command: what it takes, what it replies, and that it lasts.

mod bad_input;
mod check;
mod deadletter;
mod explain;
mod flush;
mod info;
mod internal;
mod pause;
mod readme;
mod register;
mod replies;
mod sync;
mod uninstall;
