//! Retains values of keys that are removed before MongoDB has them.

pub mod last_value;
pub mod redis70;
