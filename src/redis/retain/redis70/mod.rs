//! Redis 7.0 reports expired and evicted keys only when their values are gone.

pub mod eviction;
pub mod overdue;
pub mod ttl;
