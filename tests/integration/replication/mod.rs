//! Replicas, promotion, and states in which the server must not replicate.

mod all_nodes;
mod cluster;
mod determinism;
mod lease;
mod paused_replication;
mod replicas;
mod sentinel;
mod slots;
