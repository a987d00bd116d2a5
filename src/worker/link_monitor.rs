//! The link between batches: it is up while there is something to write for, and follows what the sink
//! learns of MongoDB by itself.

use tokio::time::{Duration, Instant};

use super::link_view::View;
use super::write_loop::WriteLoop;
use crate::sink::{Connector, Sink};

/// A broken connection is made anew at once, and a server that only closed one is no failure of the
/// link: so long the sink may take to find it again.
const GRACE: Duration = Duration::from_millis(250);
/// Longest pause after a ping failed although a server takes writes.
pub(super) const RETRY_IN: Duration = Duration::from_millis(500);

impl<C: Connector> WriteLoop<C> {
    /// Whether there is something to write for.
    pub(super) fn needs_link(&self) -> bool {
        self.options.keeps_link || !self.waiting.is_empty() || !self.flights.is_empty()
    }

    /// Closes a link that nothing needs.
    pub(super) fn let_go(&mut self) {
        if let Some(contact) = self.contact.take() {
            contact.abort();
        }
        self.contact_at = None;
        self.view = View::default();
        if let Some(linked) = self.linked.take() {
            self.retire(linked);
        }
        let change = self.link.become_idle();
        self.report_link(change);
    }

    /// Takes in what the sink has learned.
    pub(super) fn follow_news(&mut self) {
        match self.linked.as_ref().and_then(|linked| linked.sink.news()) {
            Some(Ok(())) => {
                self.view = View { takes_writes: true, fails: None };
                if self.link.may_hasten() {
                    self.contact_at = Some(Instant::now());
                }
            }
            Some(Err(error)) => {
                let fails = Some((Instant::now() + GRACE, error));
                self.view = View { takes_writes: false, fails };
            }
            None => {}
        }
        if self.view.fails_at().is_none_or(|at| at > Instant::now()) {
            return;
        }
        let Some((_, error)) = self.view.fails.take() else { return };
        if !self.link.takes_batches() {
            let change = self.link.explained(&error);
            self.report_link(change);
        } else if !self.link.is_idle() {
            self.link_failed(&error);
        }
    }
}
