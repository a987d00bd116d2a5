//! What the module may take of memory and time.

mod dirty_max_bytes;
mod many_registrations;
mod memory;
mod waiting_clients;
