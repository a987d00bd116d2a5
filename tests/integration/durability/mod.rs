//! Restarts, crashes and random commands: nothing that was acknowledged is lost.

mod clocks;
mod crashes;
mod files;
mod lifecycle;
mod random_commands;
mod saved_state;
