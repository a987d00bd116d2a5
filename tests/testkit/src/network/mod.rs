//! Proxies between the module and MongoDB.
//!
//! - `proxy`: a TCP proxy that delays, closes, holds and drops
//! - `renaming`: a proxy that replaces mongod's address by an unknown host name

pub mod proxy;
pub mod renaming;
