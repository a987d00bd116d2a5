//! What the master writes to the replication stream, the AOF and the RDB, and the code that applies
//! it.

pub mod apply;
pub mod async_loading;
pub mod data_type;
pub mod propagate;
pub mod rdb;
