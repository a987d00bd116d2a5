//! Read-through and write-through for clients that know nothing of it: commands of missing keys wait until the keys are
//! loaded, and replies to writes until MongoDB has them.
//!
//! - [`filter`]: before a command runs, looks whether it has its keys, and whether it writes to a prefix with MODE THROUGH. Then
//!   the command becomes an argument of WB.READ or WB.WRITE, which may block its client.
//! - [`call`]: what these do.
//! - [`clients`]: blocked clients; [`readers`]: those that wait for documents; [`writers`]: those that have written.
//! - [`finds`]: the documents that they wait for.

pub mod call;
pub mod clients;
pub mod filter;
pub mod finds;
mod key_positions;
pub mod readers;
pub mod writers;

/// What read-through and write-through need.
#[derive(Debug, Default)]
pub struct Through {
    /// The command filter.
    pub filter: filter::ThroughFilter,
    /// The clients that wait.
    pub readers: readers::Readers,
    /// The clients that have written.
    pub writers: writers::Writers,
    /// What MongoDB has returned.
    pub finds: finds::Finds,
}
