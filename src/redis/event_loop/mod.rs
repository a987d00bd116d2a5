//! What the module does in each iteration of the server's event loop.

pub mod dead_letter_retries;
pub mod key_scan;
pub mod slice;
pub mod tick;
