//! One registration at work, with its counters.

use std::sync::Arc;

use super::trouble::Trouble;
use crate::core::delivery::lag::Percentiles;
use crate::core::registration::Registration;
use crate::core::registration::args;

/// What was done for a registration since the module was loaded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Changes seen.
    pub captured_total: u64,
    /// Changes that needed no write of their own.
    pub coalesced_total: u64,
    /// Documents written.
    pub written_total: u64,
    /// Documents deleted.
    pub deleted_total: u64,
    /// Changes that became dead letters.
    pub failed_total: u64,
    /// Batches that were not acknowledged and had to be repeated.
    pub retries_total: u64,
    /// Batches acknowledged.
    pub batches_total: u64,
    /// Bytes of commands acknowledged.
    pub bytes_total: u64,
    /// When MongoDB acknowledged last, milliseconds since 1970; 0 for never.
    pub last_write_unix_ms: u64,
}

/// How far a scan of existing keys is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Scanned {
    /// Keys of the logical database that were looked at; 0 on a replica, which looks at none.
    pub visited: u64,
    /// Keys of the registration that were marked.
    pub marked: u64,
}

/// A registration at work.
#[derive(Debug)]
pub struct ActiveRegistration {
    /// Its options as they are now; batches in flight keep those of their time.
    pub registration: Arc<Registration>,
    /// False once it is unregistered and only its backlog is written.
    pub live: bool,
    /// True once it is unregistered with DISCARD: what returns from flight is dropped, too.
    pub discards: bool,
    /// True while its existing keys are still to be marked.
    pub sync_pending: bool,
    /// How far the scan of its keys is, or how far the last one came.
    pub scanned: Scanned,
    /// When its lag was reported, and what it was.
    pub lag: Option<(u64, Percentiles)>,
    /// True while nothing of it is sent.
    pub paused: bool,
    /// True when it comes from the file of registrations, which outlives the data.
    pub from_file: bool,
    /// So many batches hold keys that may be on their way already: see [`suspect`].
    ///
    /// [`suspect`]: super::Backlog::suspect
    pub predecessor_batches: u32,
    /// No batch is sent before this time, because MongoDB refused the last one.
    pub hold_us: u64,
    /// The KEY before this one, if documents of it may be left in the collection.
    pub former_key: Option<String>,
    /// What is wrong with it, and what of that the log has.
    pub trouble: Trouble,
    /// Counters; captured and coalesced are counted in the dirty set.
    pub counters: Counters,
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
        }
    }

    /// The KEY of the documents that stay unchanged when the registration becomes `next`. Nothing when
    /// the KEY is the same, or when the collection is another one.
    pub fn left_behind_by(&self, next: &Registration) -> Option<String> {
        let now = &self.registration;
        let leaves = self.live && now.namespace == next.namespace && !now.has_same_key(next);
        leaves.then(|| args::key(now))
    }

    /// The warning about documents of the former KEY, in one sentence.
    pub fn key_warning(&self) -> Option<String> {
        let former = self.former_key.as_ref()?;
        let Registration { prefix, namespace, .. } = &*self.registration;
        let prefix = String::from_utf8_lossy(prefix);
        Some(format!(
            "prefix '{prefix}' was registered again with another KEY: documents of {namespace} that \
             were written with KEY {former} stay as they are; sync the prefix, remove them as the \
             documentation of WB.REGISTER says, and register it once more to end this warning"
        ))
    }
}
