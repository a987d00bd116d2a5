//! Replicas, promotion, and states in which the server must not replicate.

mod determinism;
mod lease;
mod paused_replication;
mod replicas;
mod sentinel;
mod slots;
