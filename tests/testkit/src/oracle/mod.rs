//! Random commands of every kind that writes, and the question whether MongoDB holds what they
//! made of the keys.
//!
//! - `place`: the prefixes and their registrations
//! - `typed`: what a SCHEMA makes of a document
//! - `templates`: the shapes of every write command
//! - `chooser`: random words in those shapes
//! - `observe`: what a key is right before and right after a command
//! - `model`: what MongoDB may hold of a key
//! - `check`: WB.FLUSH, and MongoDB against the model
//! - `send`: commands one by one, in pipelines, MULTI, scripts and functions
//! - `blocked`: a client that waits for a key, and one that fills it
//! - `run`: the servers and the steps of a run
//! - `coverage`: every write command of the server has a template, or a reason for having none
//! - `table`: docs/COMMANDS.md

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
