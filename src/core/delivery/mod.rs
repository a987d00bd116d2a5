//! Delivery of batches: their contents, how many are in flight, retry delays, lag and times.

pub mod backoff;
pub mod batch;
pub mod buckets;
pub mod comparison;
pub mod concurrency;
pub mod deployment;
pub mod group_batch;
pub mod group_counts;
pub mod lag;
pub mod lease;
pub mod link_log;
pub mod page;
pub mod report;
