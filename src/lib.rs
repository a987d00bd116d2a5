//! `writebehind`: a Redis module that does write-behind caching to MongoDB.
//!
//! The data goes one way, and the files stand in that order: event → registration → dirty set →
//! batch → read → document → MongoDB → acknowledge.
//!
//! - [`core`]: what is dirty, what a batch is, what a document looks like. Pure.
//! - [`sink`], [`mongo`]: where batches go.
//! - [`worker`]: the background thread that writes them.
//! - [`mod@file`]: files that the settings name.
//! - `redis`: the only folder that speaks to the server, and the only one with `unsafe`.

#![deny(unsafe_code)]
// A panic would break the module, so none is written where data passes. Tests may.
#![cfg_attr(
    not(test),
    deny(
        clippy::expect_used,
        clippy::panic,
        clippy::todo,
        clippy::unimplemented,
        clippy::unreachable,
        clippy::unwrap_used
    )
)]

pub mod core;
pub mod file;
pub mod mongo;
#[allow(unsafe_code, reason = "the only folder that speaks to the server")]
mod redis;
pub mod sink;
pub mod worker;
