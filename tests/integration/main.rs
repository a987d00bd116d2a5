//! The module in a real server, against a real MongoDB.

mod authentication;
mod bad_input;
mod changes;
mod check;
mod clocks;
mod coalescing;
mod collations;
mod commands;
#[allow(dead_code, reason = "make crash uses the rest")]
#[path = "../crash/mod.rs"]
mod crash;
mod crashes;
mod databases;
mod deadletter;
mod deletion;
mod determinism;
mod durability;
mod errors;
mod eviction;
mod exclude;
mod explain;
#[allow(dead_code, reason = "make outage uses the rest")]
#[path = "../faults/mod.rs"]
mod faults;
mod files;
mod flush;
#[allow(dead_code, reason = "make fuzz uses the rest")]
#[path = "../fuzz/mod.rs"]
mod fuzz;
mod ghosts;
mod gone;
mod hardened;
mod house;
mod indexes;
mod info;
mod internal;
mod keys;
mod large;
mod lifecycle;
mod limit;
mod link;
mod lookahead;
mod many;
mod mapping;
mod memory;
mod moved_values;
mod network;
mod old_mongodb;
mod onerror;
mod oracle;
#[allow(dead_code, reason = "make oracle uses the rest")]
#[path = "../oracle/mod.rs"]
mod oracle_run;
mod orphans;
mod outage;
mod pause;
mod pauses;
mod payloads;
mod reconnects;
mod registrations;
mod replicas;
mod replies;
mod restores;
mod schema;
mod secrets;
mod settings;
mod shared;
mod stepdowns;
mod strings;
mod stuck;
#[allow(dead_code, reason = "the demo uses the rest")]
#[path = "../support/mod.rs"]
mod support;
mod sync;
mod timing;
mod tls;
mod troubles;
mod ttlfield;
mod types;
mod unchanged;
mod uninstall;
mod unwrap;
mod uris;
mod waiters;
mod warnings;
mod world;
