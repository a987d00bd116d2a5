//! The server's module API, wrapped. Nothing here depends on the module's state.

pub mod access_age;
pub mod blocked;
pub mod client;
pub mod clock;
pub mod command_filter;
pub mod command_keys;
pub mod config;
pub mod context;
pub mod guard;
pub mod held_client;
pub mod key;
pub mod log;
pub mod memory;
pub mod raw;
pub mod read_mode;
pub mod reply;
pub mod run_command;
pub mod run_for_client;
pub mod scan;
pub mod signals;
pub mod thread_policy;
pub mod wake;
