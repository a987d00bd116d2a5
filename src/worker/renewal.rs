//! When the lease is renewed.

use tokio::time::Instant;

use crate::core::delivery::lease::LeaseState;

/// The renewal of the lease.
#[derive(Debug, Default)]
pub struct Renewal {
    /// When it is due.
    pub at: Option<Instant>,
    /// When the one in progress, or the last one, began.
    pub began: Option<Instant>,
    /// When the last one began that succeeded.
    pub confirmed: Option<Instant>,
    /// True for a former master: what it has queued must not be written.
    pub is_replaced: bool,
    /// The lease as it was reported last.
    pub reported: LeaseState,
}
