//! What the nodes of a Redis Cluster say to each other.

pub mod agreed;
pub mod message;
pub mod topology;

/// The id of a node: 40 hexadecimal digits.
pub type NodeId = [u8; 40];
