//! The sink: the destination of batches. A trait, so that the worker can be tested without MongoDB.

use std::future::Future;
use std::time::Duration;

use crate::core::delivery::batch::{Batch, SessionId, Written};
use crate::core::delivery::deployment::{Checkup, Need};
use crate::core::delivery::group_batch::GroupBatch;
use crate::core::delivery::group_counts::GroupCounts;
use crate::core::delivery::lease::{Claim, LeaseState};
use crate::core::settings::WriteForm;
use crate::source::Source;

/// Why a batch, as a whole, was not acknowledged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The link does not work (no server, no primary, wrong credentials, time-out): nothing can
    /// be written until it does.
    Link(LinkError),
    /// The link works but this namespace refuses writes (no privilege, bad name, no unique index).
    /// Others can still be written. One sentence, without values.
    Namespace(String),
    /// A part of the deployment that this namespace needs does not reply (a shard, or one command
    /// while the server replies to others). Other namespaces can still be written.
    Part(LinkError),
}

/// The result of a group batch.
#[derive(Debug, Default)]
pub struct GroupResults {
    /// The result of each of its batches.
    pub batches: Vec<Result<Written, Failure>>,
    /// Numbers of its groups.
    pub counts: GroupCounts,
}

/// Why the link does not work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkError {
    /// One sentence for operators, without credentials.
    pub error: String,
    /// True for a permanent failure: the operator must change a password, a certificate or a
    /// setting. The link is retried rarely.
    pub permanent: bool,
    /// True if a command was sent and not answered, so the server may apply it at any later time.
    pub unanswered: bool,
    /// True if MongoDB can be used, but another server holds the lease. The link is tried again every
    /// second.
    pub waits: bool,
}

impl LinkError {
    /// A transient failure, without an unanswered command.
    pub fn transient(error: impl Into<String>) -> Self {
        LinkError { error: error.into(), permanent: false, unanswered: false, waits: false }
    }

    /// A permanent failure, which the operator must fix.
    pub fn permanent(error: impl Into<String>) -> Self {
        LinkError { permanent: true, ..LinkError::transient(error) }
    }

    /// A transient failure with an unanswered command, whose outcome is indeterminate.
    pub fn unanswered(error: impl Into<String>) -> Self {
        LinkError { unanswered: true, ..LinkError::transient(error) }
    }
}

/// Writes batches.
///
/// Delivery is at-least-once: after a [`Failure`] any part of the batch may have been applied, and
/// the same keys are written again, with the same or newer values. So a write must be an idempotent
/// statement of state: the document becomes this, or the document is deleted.
///
/// Building the commands is separate from sending them, so that the next batch is built while
/// others are in flight.
pub trait Sink: 'static {
    /// The commands that [`build`](Sink::build) creates for a batch.
    type Commands: 'static;

    /// Builds the documents and commands of `batch`. Computes only, never waits.
    fn build(&self, batch: &Batch, form: WriteForm) -> Self::Commands;

    /// Sends the commands that [`build`](Sink::build) created for `batch`, and returns which items
    /// can never be written. The time limit of each command is `within`; the call ends within a
    /// bounded time whatever the server does.
    fn write(
        &self,
        batch: &Batch,
        commands: Self::Commands,
        within: Duration,
    ) -> impl Future<Output = Result<Written, Failure>>;

    /// Writes the groups of `batch`: each becomes visible as a whole, as far as the deployment and the
    /// documents permit. Returns the result of each batch, in order, and how many groups were written
    /// as a whole or split. The call ends within a bounded time.
    fn write_groups(
        &self,
        batch: &GroupBatch,
        form: WriteForm,
        within: Duration,
    ) -> impl Future<Output = GroupResults>;

    /// Maximum number of batches that it can have in flight.
    fn max_in_flight(&self) -> usize;

    /// Checks that the link works, and takes or renews the lease if there is a claim to one. Ends within a
    /// bounded time.
    fn ping(&self, claim: Option<&Claim>) -> impl Future<Output = Result<(), LinkError>>;

    /// What is known of the lease.
    fn lease(&self) -> LeaseState;

    /// Ends when there may be a new [`link_state`](Self::link_state). No change is missed between
    /// two calls.
    fn link_changed(&self) -> impl Future<Output = ()>;

    /// The state of the link that the sink has detected by itself since the last call, also between
    /// writes: whether a server accepts writes, or why none does. Nothing when it has not changed.
    fn link_state(&self) -> Option<Result<(), LinkError>>;

    /// The sessions in which it has sent batches so far; none is ever removed.
    fn sessions(&self) -> Vec<SessionId>;

    /// True if an unanswered command can never be applied after newer writes. If not, the keys of
    /// such a batch must be written once more when the command can no longer be applied.
    fn is_fenced(&self) -> bool;

    /// Gives the lease back and closes every connection. Writes in flight may fail.
    fn close(&self) -> impl Future<Output = ()>;
}

/// Creates sinks: when the link is needed, and again whenever the settings name another deployment.
pub trait Connector: Send + 'static {
    /// The type of the sinks, which are sources, too.
    type Sink: Sink + Source;

    /// A sink for `uri`, which aborts open transactions of the `former` sessions of earlier sinks
    /// before it writes. It may resolve names, but need not reach the server: [`Sink::ping`] checks
    /// that. The error does not repeat the URI.
    fn connect(
        &self,
        uri: &str,
        former: Vec<SessionId>,
    ) -> impl Future<Output = Result<Self::Sink, LinkError>>;

    /// Checks the deployment of `uri`, independent of all sinks, within a bounded time. The result
    /// does not repeat the URI.
    fn check(&self, uri: &str, needs: &[Need]) -> impl Future<Output = Checkup>;
}
