//! Damaged input for a real server.

pub mod payload;
pub mod restore;
