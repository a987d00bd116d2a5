//! What the master writes to the replication stream, the AOF and the RDB, and what reads it.

pub mod apply;
pub mod beside;
pub mod data_type;
pub mod propagate;
pub mod rdb;
