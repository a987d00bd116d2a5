//! Read-through for clients that know nothing of it: commands of missing keys wait until the keys are loaded.
//!
//! - [`filter`]: before a command runs, looks whether it has its keys. If not, the command becomes an argument of
//!   WB.READ or WB.WRITE, which may block its client.
//! - [`call`]: what these do.
//! - [`readers`]: the blocked clients.
//! - [`finds`]: the documents that they wait for.

pub mod call;
pub mod filter;
pub mod finds;
mod key_positions;
pub mod readers;

/// What read-through needs.
#[derive(Debug, Default)]
pub struct Through {
    /// The command filter.
    pub filter: filter::ReadFilter,
    /// The clients that wait.
    pub readers: readers::Readers,
    /// What MongoDB has returned.
    pub finds: finds::Finds,
}
