//! Reads the values of due keys into batches.

pub mod batch_reader;
pub mod cursor;
pub mod fill;
mod groups;
pub mod large_value;
pub mod request;
pub mod value;
