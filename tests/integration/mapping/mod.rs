//! The document of a value in MongoDB.

mod documents;
mod large_values;
mod onerror;
mod schema;
mod strings;
mod ttlfield;
mod types;
mod unwrap;
