//! Reads documents, for keys that are loaded into Redis.

pub mod compare;
pub mod json;
pub mod keys;
pub mod page;
