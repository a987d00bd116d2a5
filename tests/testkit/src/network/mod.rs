//! What lies between the module and MongoDB.
//!
//! - `proxy`: a TCP proxy that delays, cuts, holds and swallows
//! - `renaming`: a way to mongod on which it calls itself by an unknown host name

pub mod proxy;
pub mod renaming;
