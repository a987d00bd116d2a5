//! Maps a value in Redis to a document in MongoDB.

pub mod bson;
pub mod compare;
pub mod convert;
pub mod decode;
pub mod document;
pub mod document_id;
pub mod duplicate_names;
pub mod error;
pub mod json;
pub mod rules;
pub mod shape;
pub mod value;
