//! `writebehind`: a Redis module for write-behind caching to MongoDB.
//!
//! The data flows in one direction, and the modules are in that order: event → registration → dirty
//! set → batch → read → document → MongoDB → acknowledge.
//!
//! - `core`: dirty keys, batches and documents. Pure, without I/O.
//! - `sink`, `mongo`: the destination of batches.
//! - `worker`: the background thread that writes them.
//! - `file`: reads the files that settings name.
//! - `redis`: the only folder that calls the server, and the only one with `unsafe`.

#![deny(unsafe_code)]
// A panic would break the module, so only tests may use code that panics.
#![cfg_attr(
    not(test),
    deny(
        clippy::expect_used,
        clippy::panic,
        clippy::todo,
        clippy::unimplemented,
        clippy::unreachable,
        clippy::unwrap_used
    )
)]

pub(crate) mod core;
pub(crate) mod file;
pub(crate) mod mongo;
#[allow(unsafe_code, reason = "the only folder that speaks to the server")]
mod redis;
pub(crate) mod sink;
pub(crate) mod source;
pub(crate) mod worker;

/// For the benchmarks and fuzz targets only.
#[doc(hidden)]
pub mod internals {
    pub use crate::core::backlog::Backlog;
    pub use crate::core::backlog::change_log::{Change, ChangeKind, Log};
    pub use crate::core::backlog::dead_letters::DeadLetter;
    pub use crate::core::backlog::lease::Shard;
    pub use crate::core::backlog::record::{Packer, Record, SavedKey, unpack};
    pub use crate::core::backlog::stream_words::{Word, read};
    pub use crate::core::backlog::table::{Dirty, Missed, RetainedValue, Taken};
    pub use crate::core::cluster::message::Message;
    pub use crate::core::cluster::topology;
    pub use crate::core::command_table;
    pub use crate::core::delivery::batch::{Batch, Item};
    pub use crate::core::delivery::page::Page;
    pub use crate::core::ids::{Db, EntryId, GroupId, RegistrationId, Version};
    pub use crate::core::mapping::decode::decode;
    pub use crate::core::mapping::value::{Content, NO_EXPIRY, Span, push_bytes};
    pub use crate::core::now::Now;
    pub use crate::core::registration::args::load::LoadOptions;
    pub use crate::core::registration::router::Routes;
    pub use crate::core::registration::{KeyType, Namespace, Registration, args, file_lines};
    pub use crate::core::resp;
    pub use crate::mongo::read::page::{add as add_document, id_of};
    pub use crate::mongo::write::command;
    pub use crate::mongo::write::executor::execute;
    pub use crate::mongo::write::forms::Forms;
    pub use crate::mongo::write::limits::Limits;
    pub use crate::mongo::write::lookup::Lookup;
    pub use crate::mongo::write::outcome::classify;
    pub use crate::mongo::write_concern::{AcknowledgedBy, WriteConcern};
}
