//! The pure core: no `unsafe`, no Redis, no MongoDB, no socket, no clock.

pub mod backlog;
pub mod delivery;
pub mod mapping;
pub mod registration;
pub mod settings;
