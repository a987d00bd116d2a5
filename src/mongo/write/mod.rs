//! Writes batches: their commands, how each is sent, and what its reply means for each key.

pub mod command;
pub(super) mod contested;
pub mod executor;
pub mod index;
pub mod index_listing;
pub mod insert_ratio;
pub mod judge;
pub mod limits;
pub mod lookup;
pub mod operation;
pub mod outcome;
pub mod reply;
pub mod session;
pub mod transaction;
pub mod validation;
