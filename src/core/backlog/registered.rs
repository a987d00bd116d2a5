//! An active registration with its counters.

use std::sync::Arc;

use super::reads::counts::ReadFigures;
use super::trouble::Trouble;
use super::writes::counts::WriteFigures;
use crate::core::delivery::lag::Percentiles;
use crate::core::registration::Registration;
use crate::core::registration::args;
use crate::core::registration::printable::printable;

/// Counters of a registration since the module was loaded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Changes captured.
    pub captured_total: u64,
    /// Changes that were coalesced.
    pub coalesced_total: u64,
    /// Documents written.
    pub written_total: u64,
    /// Documents deleted.
    pub deleted_total: u64,
    /// Changes that became dead letters.
    pub failed_total: u64,
    /// Batches that were not acknowledged and had to be retried.
    pub retries_total: u64,
    /// Batches acknowledged.
    pub batches_total: u64,
    /// Bytes of commands acknowledged.
    pub bytes_total: u64,
    /// When MongoDB last acknowledged a write, milliseconds since 1970; 0 for never.
    pub last_write_unix_ms: u64,
}

/// Progress of a scan of existing keys.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Scanned {
    /// Keys of the logical database that were visited; 0 on a replica, which does not scan.
    pub visited: u64,
    /// Keys of the registration that were marked as dirty.
    pub marked: u64,
}

/// An active registration.
#[derive(Debug)]
pub struct ActiveRegistration {
    /// Its current options; batches in flight keep the ones with which they were begun.
    pub registration: Arc<Registration>,
    /// False once it is unregistered and draining.
    pub live: bool,
    /// True once it is unregistered with DISCARD: keys that are returned from flight are dropped.
    pub discards: bool,
    /// True while existing keys are still to be marked as dirty.
    pub sync_pending: bool,
    /// Progress of the current or the last scan of its keys.
    pub scanned: Scanned,
    /// The last reported lag and when it was reported.
    pub lag: Option<(u64, Percentiles)>,
    /// True while it is paused.
    pub paused: bool,
    /// True if it is from the file of registrations, and so is kept when data is loaded.
    pub from_file: bool,
    /// How many of the next batches may contain keys that a predecessor still has in flight: see
    /// [`data_loaded`](super::Backlog::data_loaded).
    pub predecessor_batches: u32,
    /// No batch is sent before this time, microseconds, because MongoDB refused the last one.
    pub hold_us: u64,
    /// The previous KEY, if documents written with it may remain in the collection.
    pub former_key: Option<String>,
    /// Its errors, and which of them were logged.
    pub trouble: Trouble,
    /// Counters; captured and coalesced are counted in the dirty table.
    pub counters: Counters,
    /// What commands looked for.
    pub reads: ReadFigures,
    /// Commands whose clients waited for MongoDB.
    pub writes: WriteFigures,
}

impl ActiveRegistration {
    /// A live registration.
    pub fn new(registration: Arc<Registration>) -> Self {
        ActiveRegistration {
            registration,
            live: true,
            discards: false,
            sync_pending: false,
            scanned: Scanned::default(),
            lag: None,
            paused: false,
            from_file: false,
            predecessor_batches: 0,
            hold_us: 0,
            former_key: None,
            trouble: Trouble::default(),
            counters: Counters::default(),
            reads: ReadFigures::default(),
            writes: WriteFigures::default(),
        }
    }

    /// The KEY of the documents that remain unchanged when `next` replaces the registration; `None`
    /// if the KEY is the same or the collection is different.
    pub fn left_behind_by(&self, next: &Registration) -> Option<String> {
        let now = &self.registration;
        let leaves = self.live && now.namespace == next.namespace && !now.has_same_key(next);
        leaves.then(|| args::key(now))
    }

    /// The warning about documents with the former KEY, in one sentence.
    pub fn key_warning(&self) -> Option<String> {
        let former = self.former_key.as_ref()?;
        let Registration { prefix, namespace, .. } = &*self.registration;
        let prefix = printable(prefix);
        Some(format!(
            "prefix '{prefix}' was registered again with another KEY: documents of {namespace} that \
             were written with KEY {former} stay as they are; sync the prefix, remove them as the \
             documentation of WB.REGISTER says, and register it once more to end this warning"
        ))
    }
}
