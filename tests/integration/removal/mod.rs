//! What becomes of a document whose key is deleted, expires or is evicted.

mod deletion;
mod eviction;
mod lookahead;
mod retained_values;
