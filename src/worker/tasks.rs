//! The tasks of the worker: what they need, and how they end.

use std::rc::Rc;

use tokio::task::{Id, JoinError, JoinSet};
use tokio::time::Instant;

use super::connect_attempt::{Attempt, Linked};
use super::load_lane::PageEnd;
use crate::core::delivery::batch::{Batch, Written};
use crate::core::delivery::comparison::Compared;
use crate::core::delivery::deployment::Checkup;
use crate::core::delivery::page::{Found, ReadFailure};
use crate::sink::{Failure, GroupResults};
use crate::source::Source;

/// A queued batch.
pub struct WaitingBatch<C> {
    pub(super) batch: Batch,
    pub(super) commands: Option<C>,
}

impl<C> WaitingBatch<C> {
    pub(super) fn is_built(&self) -> bool {
        self.commands.is_some()
    }
}

/// A batch in flight. Its task writes it; this reference keeps the batch if the task panics.
pub struct SentBatch<S> {
    pub(super) batch: Rc<Batch>,
    pub(super) linked: Rc<Linked<S>>,
    /// Number of usual batches in flight when it was sent, including itself.
    pub(super) in_flight: u32,
    /// When it was sent.
    pub(super) since: Instant,
}

/// The result of a task.
pub enum BatchEnd<S: Source> {
    /// The result of writing a batch.
    Write(Result<Written, Failure>),
    /// The result of writing a group batch.
    Groups(GroupResults),
    /// The result of a connect attempt.
    Connected(Attempt<S>),
    /// The result of a check.
    Checked(Checkup),
    /// Documents of a load.
    Page(PageEnd<S>),
    /// Documents of keys that clients wait for.
    Found(Result<Found, ReadFailure>),
    /// Keys and their documents.
    Compared(Result<Box<Compared>, ReadFailure>),
    /// A retired sink is closed.
    Closed,
}

pub type Tasks<S> = JoinSet<BatchEnd<S>>;
pub type Joined<S> = Result<(Id, BatchEnd<S>), JoinError>;
