//! The module in a real server, against a real MongoDB.
//!
//! - `commands`: each command: its arguments, its replies, and the persistence of its effects
//! - `capture`: which changes of which keys are captured, and how many writes they cause
//! - `mapping`: the document of a value in MongoDB
//! - `reads`: READTHROUGH: keys that are loaded when clients read them
//! - `removal`: the documents of keys that are deleted, expire or are evicted
//! - `durability`: restarts, crashes and random commands: no acknowledged write is lost
//! - `replication`: replicas, promotion, and states in which the server must not replicate
//! - `mongodb`: MongoDB that is unreachable, slow, secured or old, that rejects writes or sends
//!   invalid replies
//! - `limits`: the module's limits of memory and time
//! - `operations`: set-up, secrets, hardened systems, and reports to the operator
//! - `writes`: MODE THROUGH: replies that come when MongoDB has the write
//! - `timing`: limits on times, measured without other tests running

mod capture;
mod commands;
mod durability;
mod limits;
mod mapping;
mod mongodb;
mod operations;
mod reads;
mod removal;
mod replication;
mod timing;
mod writes;
