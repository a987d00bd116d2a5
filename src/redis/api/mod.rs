//! The server's module API, wrapped. Nothing here depends on the module's state.

pub mod access_age;
pub mod blocked;
pub mod clock;
pub mod config;
pub mod context;
pub mod guard;
pub mod key;
pub mod log;
pub mod memory;
pub mod raw;
pub mod read_mode;
pub mod reply;
pub mod run_command;
pub mod scan;
pub mod signals;
pub mod thread_policy;
pub mod wake;
