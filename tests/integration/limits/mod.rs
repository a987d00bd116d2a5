//! The module's limits of memory and time.

mod dirty_max_bytes;
mod many_registrations;
mod memory;
mod waiting_clients;
