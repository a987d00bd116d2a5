//! The pure core: no `unsafe`, no Redis, no MongoDB, no socket, no clock.
//!
//! Each module imports only the ones before it: [`ids`], [`registration`], [`mapping`], [`cluster`],
//! [`delivery`], [`backlog`].

pub mod backlog;
pub mod cluster;
pub mod command_table;
pub mod delivery;
pub mod exposition;
pub mod hash_slot;
pub mod ids;
pub mod mapping;
pub mod now;
pub mod registration;
pub mod resp;
pub mod settings;
