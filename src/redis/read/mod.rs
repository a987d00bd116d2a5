//! From a due key to its value in a batch.

pub mod batch_reader;
pub mod cursor;
pub mod fill;
pub mod large_value;
pub mod request;
pub mod value;
