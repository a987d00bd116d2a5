//! The module in a real server, against a real MongoDB.
//!
//! - `commands`: each command: what it takes, what it replies, and that it lasts
//! - `capture`: which changes of which keys are seen, and how many of them are written
//! - `mapping`: what a value becomes in MongoDB
//! - `removal`: what becomes of a document whose key is deleted, expires or is evicted
//! - `durability`: restarts, crashes and random commands: nothing that was acknowledged is lost
//! - `replication`: replicas, promotion, and moments at which nothing may be replicated
//! - `mongodb`: MongoDB as it is: away, slow, secured, old, refusing, contradicting itself
//! - `limits`: what the module may take of memory and time
//! - `operations`: set-up, secrets, hardened systems, and what an operator is shown
//! - `timing`: what is held to a time, measured without other tests beside it

mod capture;
mod commands;
mod durability;
mod limits;
mod mapping;
mod mongodb;
mod operations;
mod removal;
mod replication;
mod timing;
