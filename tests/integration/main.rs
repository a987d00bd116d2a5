//! The module in a real server, against a real MongoDB.

mod bad_input;
mod changes;
mod coalescing;
mod commands;
mod deletion;
mod flush;
mod info;
mod keys;
mod lifecycle;
mod mapping;
mod outage;
mod registrations;
mod settings;
#[allow(dead_code, reason = "the demo uses the rest")]
#[path = "../support/mod.rs"]
mod support;
mod world;
