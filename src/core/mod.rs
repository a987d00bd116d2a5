//! The pure core: no `unsafe`, no Redis, no MongoDB, no socket, no clock.

pub mod args;
pub mod batch;
pub mod bson;
pub mod change;
pub mod convert;
pub mod dead;
pub mod dirty;
pub mod document;
pub mod engine;
pub mod flow;
pub mod flush;
pub mod heavy;
pub mod id;
pub mod json;
pub mod lag;
pub mod lines;
pub mod link;
pub mod names;
pub mod persist;
pub mod registration;
pub mod retry;
pub mod route;
pub mod schema;
pub mod settings;
pub mod unfit;
pub mod value;
