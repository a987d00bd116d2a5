//! How batches go out: their size and number, pauses after failures, and how long it all took.

pub mod backoff;
pub mod batch;
pub mod concurrency;
pub mod deployment;
pub mod lag;
pub mod link_log;
