//! Restarts, crashes and random commands: no acknowledged write is lost.

mod clocks;
mod crashes;
mod files;
mod lifecycle;
mod random_commands;
mod saved_state;
