//! The link between batches: it is kept up while it is needed, and follows the link state that the
//! sink reports.

use tokio::time::{Duration, Instant};

use super::link_view::View;
use super::write_loop::WriteLoop;
use crate::sink::{Connector, Sink};

/// Grace time for the sink to find a server again: the driver re-establishes a broken connection at
/// once, and a server that has only closed one is no failure of the link.
const GRACE: Duration = Duration::from_millis(250);
/// Maximum pause after a ping failed although a server accepts writes.
pub(super) const RETRY_IN: Duration = Duration::from_millis(500);

impl<C: Connector> WriteLoop<C> {
    /// True if the link is needed: an option requires it, or there are batches.
    pub(super) fn needs_link(&self) -> bool {
        self.options.keeps_link || !self.waiting.is_empty() || !self.flights.is_empty()
    }

    /// Closes a link that is no longer needed.
    pub(super) fn close_link(&mut self) {
        if let Some(attempt) = self.attempt.take() {
            attempt.abort();
        }
        (self.attempt_at, self.renewal.at) = (None, None);
        self.view = View::default();
        if let Some(linked) = self.linked.take() {
            self.retire(linked);
        }
        let change = self.link.become_idle();
        self.report_link(change);
    }

    /// Handles the link state that the sink has reported.
    pub(super) fn follow_link_state(&mut self) {
        match self.linked.as_ref().and_then(|linked| linked.sink.link_state()) {
            Some(Ok(())) => {
                self.view = View { accepts_writes: true, fails: None };
                if self.link.may_retry_at_once() {
                    self.attempt_at = Some(Instant::now());
                }
            }
            Some(Err(error)) => {
                let fails = Some((Instant::now() + GRACE, error));
                self.view = View { accepts_writes: false, fails };
            }
            None => {}
        }
        if self.view.fails_at().is_none_or(|at| at > Instant::now()) {
            return;
        }
        let Some((_, error)) = self.view.fails.take() else { return };
        if !self.link.accepts_batches() {
            let change = self.link.update_reason(&error);
            self.report_link(change);
        } else if !self.link.is_idle() {
            self.link_failed(&error);
        }
    }
}
