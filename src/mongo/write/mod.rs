//! Writes batches: builds their commands, sends each, and classifies its reply for each key.

pub mod command;
pub(super) mod contested;
pub mod executor;
pub mod failure_classifier;
pub mod forms;
pub mod groups;
pub mod index;
pub mod index_listing;
pub mod insert_ratio;
pub mod lease;
mod lease_document;
mod lease_messages;
pub mod limits;
pub mod lookup;
pub mod numbers;
pub mod operation;
pub mod outcome;
pub mod pipeline_probe;
pub mod reply;
pub mod session;
pub mod transaction;
pub mod validation;
