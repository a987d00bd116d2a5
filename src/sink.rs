//! The sink: where batches go. One trait, so that the worker can be tested without MongoDB.

use std::future::Future;

use crate::core::batch::{Batch, Written};

/// Why a batch, as a whole, was not acknowledged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The link does not work (no server, no primary, wrong credentials, time-out): nothing can
    /// be written until it does. One sentence, without credentials.
    Link(String),
    /// The link works but this namespace refuses (no privilege, bad name, no unique index).
    /// Others go on. One sentence, without values.
    Namespace(String),
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
    /// written. Ends within a bounded time whatever the server does.
    fn write(
        &self,
        batch: &Batch,
        commands: Self::Commands,
    ) -> impl Future<Output = Result<Written, Failure>>;

    /// Asks whether the link works, within a bounded time. The error is one sentence.
    fn ping(&self) -> impl Future<Output = Result<(), String>>;

    /// Closes every connection. Writes that are under way may fail.
    fn close(&self) -> impl Future<Output = ()>;
}

/// Makes sinks: at the first batch, and again whenever the settings name another place.
pub trait Connector: Send + 'static {
    /// What it makes.
    type Sink: Sink;

    /// A sink for `uri` that carries up to `max_in_flight` batches at a time. It may look up
    /// names, but need not reach the server: that is what [`Sink::ping`] tells. The error is
    /// one sentence without the URI.
    fn connect(
        &self,
        uri: &str,
        max_in_flight: u32,
    ) -> impl Future<Output = Result<Self::Sink, String>>;
}
