//! A Redis Cluster whose slots move while clients write. At the end each document must equal its key.
//!
//! - `plan`: the parameters of a round, and its result
//! - `slots`: the hash slot of a key, and who has which slots
//! - `nodes`: the servers of a cluster
//! - `admin`: `redis-cli --cluster`, which moves slots and adds and removes nodes
//! - `router`: a client that follows MOVED and ASK
//! - `commands`: random writes to keys that are new, recent and old
//! - `load`: clients that write while the cluster changes
//! - `check`: the comparison of all masters with MongoDB
//! - `stage`: the cluster and the MongoDB of a round
//! - `scenario`: what happens in a round
//! - `late`: the round whose old batch arrives after the newest values

mod admin;
mod check;
mod commands;
mod late;
mod load;
mod nodes;
mod plan;
mod router;
mod scenario;
mod slots;
mod stage;

pub use plan::{Plan, Verdict};
pub use scenario::{Scenario, play};
