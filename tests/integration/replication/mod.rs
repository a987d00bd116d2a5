//! Replicas, promotion, and moments at which nothing may be replicated.

mod determinism;
mod paused_replication;
mod replicas;
