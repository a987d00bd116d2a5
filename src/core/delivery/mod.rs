//! Delivery of batches: their contents, how many are in flight, retry delays and lag.

pub mod backoff;
pub mod batch;
pub mod concurrency;
pub mod deployment;
pub mod lag;
pub mod link_log;
