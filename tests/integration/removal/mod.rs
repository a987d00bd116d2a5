//! The documents of keys that are deleted, expire or are evicted.

mod deletion;
mod eviction;
mod lookahead;
mod retained_values;
