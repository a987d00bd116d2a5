//! What the worker reports to the server thread.

use std::sync::Arc;

use super::batch::{Batch, Link, SessionId, Verdict};
use super::buckets::WriteTimes;
use super::comparison::Compared;
use super::deployment::Checkup;
use super::group_counts::GroupCounts;
use super::lag::Percentiles;
use super::lease::LeaseState;
use super::page::{Found, Page, ReadFailure};
use crate::core::ids::{FindId, LoadId, RegistrationId, RunId};
use crate::core::registration::Registration;

/// A report of the worker to the server thread.
#[allow(clippy::large_enum_variant, reason = "nearly all reports are of batches")]
#[derive(Debug)]
pub enum Report {
    /// All sessions in use from now on. After a crash, the restarted server or the promoted replica
    /// must end their transactions: an open transaction keeps its documents locked for a minute.
    Sessions(Vec<SessionId>),
    /// What is known of the lease.
    Lease(LeaseState),
    /// A batch has ended. It is returned so that its buffers can be reused.
    Done {
        /// The batch as it was sent.
        batch: Batch,
        /// The outcome.
        verdict: Verdict,
    },
    /// Number of additional batches that may be sent.
    Credit(u32),
    /// Number of additional slow batches that may be sent.
    SlowCredit(u32),
    /// Number of additional group batches that may be sent.
    GroupCredit(u32),
    /// Numbers of groups of a group batch that has ended.
    Groups(Box<GroupCounts>),
    /// Whether batches of a registration need credits for slow batches from now on, because they take
    /// much longer than those of other registrations.
    Slow {
        /// Id of the registration.
        registration_id: RegistrationId,
        /// The registration.
        registration: Arc<Registration>,
        /// True if they do.
        slow: bool,
    },
    /// The link changed.
    Link(Link),
    /// Documents of a load, or why they could not be read.
    Page {
        /// The load.
        load: LoadId,
        /// The documents.
        result: Result<Box<Page>, ReadFailure>,
    },
    /// Documents of keys that Redis does not have, or why they could not be read.
    Found {
        /// The request.
        find: FindId,
        /// The documents.
        result: Result<Box<Found>, ReadFailure>,
    },
    /// Keys were compared with their documents, or could not be.
    Compared(RunId, Result<Box<Compared>, ReadFailure>),
    /// A WB.CHECK has ended.
    Checked {
        /// Id of the check.
        id: u64,
        /// The result.
        found: Box<Checkup>,
    },
    /// Lag of the writes of the last one to two minutes, from change to acknowledgement.
    Lag {
        /// The registration and its id; `None` for all registrations together.
        of: Option<(RegistrationId, Arc<Registration>)>,
        /// The figures.
        lag: Percentiles,
    },
    /// Times of all writes since the module was loaded.
    Times(Box<WriteTimes>),
}
