//! The sink: where batches go. One trait, so that the worker can be tested without MongoDB.

use std::future::Future;
use std::time::Duration;

use crate::core::delivery::batch::{Batch, SessionId, Written};
use crate::core::delivery::deployment::{Checkup, Need};

/// Why a batch, as a whole, was not acknowledged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The link does not work (no server, no primary, wrong credentials, time-out): nothing can
    /// be written until it does.
    Link(LinkError),
    /// The link works but this namespace refuses (no privilege, bad name, no unique index).
    /// Others go on. One sentence, without values.
    Namespace(String),
    /// Something that this namespace needs does not answer (a shard, or one command while the
    /// server answers others). Others go on.
    Part(LinkError),
}

/// Why the link does not work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkError {
    /// One sentence for people, without credentials.
    pub error: String,
    /// It does not pass by itself: the operator must change a password, a certificate, a setting. It
    /// is tried again seldom.
    pub permanent: bool,
    /// Something was sent and not answered, so the server may apply it at any later time.
    pub unanswered: bool,
}

impl LinkError {
    /// A failure that passes by itself, after which nothing is under way.
    pub fn transient(error: impl Into<String>) -> Self {
        LinkError { error: error.into(), permanent: false, unanswered: false }
    }

    /// A failure that the operator must see to.
    pub fn permanent(error: impl Into<String>) -> Self {
        LinkError { permanent: true, ..LinkError::transient(error) }
    }

    /// A failure that leaves open what becomes of what was sent.
    pub fn unanswered(error: impl Into<String>) -> Self {
        LinkError { unanswered: true, ..LinkError::transient(error) }
    }
}

/// Writes batches.
///
/// Delivery is at-least-once: after a [`Failure`] any part of the batch may have been applied,
/// and the same keys come again, with the same or newer values. So a write must be an
/// idempotent statement of state: the document becomes this, the document is gone.
///
/// Building the commands is apart from sending them, so that the next batch is built while
/// others are on the wire.
pub trait Sink: 'static {
    /// What [`build`](Sink::build) makes of a batch: ready to send.
    type Commands: 'static;

    /// Builds the documents and commands of `batch`. Computes only, never waits.
    fn build(&self, batch: &Batch) -> Self::Commands;

    /// Sends what [`build`](Sink::build) made of `batch`, and says which items can never be
    /// written. The server may take `within` for each command; it ends within a bounded time
    /// whatever the server does.
    fn write(
        &self,
        batch: &Batch,
        commands: Self::Commands,
        within: Duration,
    ) -> impl Future<Output = Result<Written, Failure>>;

    /// Batches that it can have on the wire at a time.
    fn places(&self) -> usize;

    /// Asks whether the link works, within a bounded time.
    fn ping(&self) -> impl Future<Output = Result<(), LinkError>>;

    /// Ends when there may be [`news`](Self::news). No news is missed between two calls.
    fn has_news(&self) -> impl Future<Output = ()>;

    /// What the sink has learned of the link by itself since this was last asked, between writes
    /// too: whether a server takes writes, or why none does. Nothing when nothing has changed.
    fn news(&self) -> Option<Result<(), LinkError>>;

    /// The sessions in which it has sent batches so far; they only grow in number.
    fn sessions(&self) -> Vec<SessionId>;

    /// Whether what was sent and not answered can never be applied after newer writes. If not,
    /// the keys of such a batch must be written once more when it can no longer be under way.
    fn is_fenced(&self) -> bool;

    /// Closes every connection. Writes that are under way may fail.
    fn close(&self) -> impl Future<Output = ()>;
}

/// Makes sinks: when there is something to write for, and again whenever the settings name another
/// place.
pub trait Connector: Send + 'static {
    /// What it makes.
    type Sink: Sink;

    /// A sink for `uri`, which ends what the `former` sessions of earlier ones hold before it
    /// writes. It may look up names, but need not reach the server: that is what [`Sink::ping`]
    /// tells. The error does not repeat the URI.
    fn connect(
        &self,
        uri: &str,
        former: Vec<SessionId>,
    ) -> impl Future<Output = Result<Self::Sink, LinkError>>;

    /// Looks at the deployment of `uri`, beside all sinks, within a bounded time. What it found does not
    /// repeat the URI.
    fn check(&self, uri: &str, needs: &[Need]) -> impl Future<Output = Checkup>;
}
