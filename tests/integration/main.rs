//! The module in a real server, against a real MongoDB.

mod bad_input;
mod changes;
mod coalescing;
mod commands;
#[allow(dead_code, reason = "make crash uses the rest")]
#[path = "../crash/mod.rs"]
mod crash;
mod crashes;
mod deadletter;
mod deletion;
mod determinism;
mod durability;
mod eviction;
mod flush;
mod gone;
mod info;
mod internal;
mod keys;
mod lifecycle;
mod limit;
mod link;
mod mapping;
mod memory;
mod outage;
mod pause;
mod pauses;
mod registrations;
mod replicas;
mod settings;
#[allow(dead_code, reason = "the demo uses the rest")]
#[path = "../support/mod.rs"]
mod support;
mod ttlfield;
mod uninstall;
mod warnings;
mod world;
