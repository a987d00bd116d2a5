//! Random write commands of every kind, and a check that MongoDB has the resulting documents.
//!
//! - `place`: the prefixes and their registrations
//! - `typed`: the conversions of a SCHEMA
//! - `templates`: the syntax of every write command
//! - `chooser`: fills templates with random arguments
//! - `observe`: reads a key right before and right after a command
//! - `model`: the documents that MongoDB may have for a key
//! - `check`: WB.FLUSH, then the comparison of MongoDB with the model
//! - `send`: commands one by one, in pipelines, MULTI, scripts and functions
//! - `blocked`: a client that blocks on a key, and one that fills it
//! - `run`: the servers and the steps of a run
//! - `coverage`: checks that every write command has a template, or a reason for having none
//! - `table`: docs/REDIS-COMMANDS.md

pub mod blocked;
pub mod check;
pub mod chooser;
pub mod coverage;
pub mod model;
pub mod observe;
pub mod place;
pub mod run;
pub mod send;
pub mod table;
pub mod templates;
pub mod typed;
