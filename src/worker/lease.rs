//! The lease between batches: renewed while the link is up, and confirmed before anything is written
//! after a pause of this process.

use std::rc::Rc;

use tokio::time::{Duration, Instant, timeout};

use super::connect_attempt::{Attempt, CONNECT_WITHIN, renew};
use super::tasks::{BatchEnd, Tasks};
use super::write_loop::{SILENT, WriteLoop};
use crate::core::delivery::lease::{LeaseState, RENEW_EVERY, TRUST};
use crate::core::delivery::report::Report;
use crate::sink::{Connector, LinkError, Sink};

impl<C: Connector> WriteLoop<C> {
    /// Reports the sessions that are new.
    pub(super) fn report_sessions(&mut self) {
        let sessions =
            self.linked.as_ref().map(|linked| linked.sink.sessions()).unwrap_or_default();
        if sessions.len() > self.sessions_reported {
            self.sessions_reported = sessions.len();
            self.outbox.push(Report::Sessions(sessions));
        }
    }

    /// Renews the lease when that is due.
    pub(super) fn renew_if_due(&mut self, tasks: &mut Tasks<C::Sink>, now: Instant) {
        if self.attempt.is_some() || self.renewal.at.is_none_or(|at| at > now) {
            return;
        }
        let Some(linked) = self.linked.clone() else { return };
        self.renewal.at = None;
        self.renewal.began = Some(now);
        let options = self.options.clone();
        self.attempt = Some(tasks.spawn_local(async move {
            let last = Rc::clone(&linked);
            let limited = timeout(CONNECT_WITHIN, renew(linked, options)).await;
            BatchEnd::Connected(limited.unwrap_or_else(|_| Attempt {
                linked: Some(last),
                link: Err(LinkError::transient(SILENT)),
            }))
        }));
    }

    /// The link works, and the lease is held if there can be one.
    pub(super) fn renewal_ended(&mut self) {
        let began = self.renewal.began;
        self.renewal.confirmed = began;
        let is_needed = self.lease_state() != LeaseState::None;
        self.renewal.at = began.filter(|_| is_needed).map(|at| at + RENEW_EVERY);
    }

    /// False while the lease must be confirmed first: this process, or its host, may have stood still, and
    /// another server may have taken it.
    pub(super) fn may_write(&mut self) -> bool {
        match self.renewal.reported {
            LeaseState::Held { .. } => {}
            LeaseState::Waiting => return false,
            LeaseState::None | LeaseState::Refused { .. } => return true,
        }
        let now = Instant::now();
        let is_fresh = self.renewal.confirmed.is_some_and(|at| now < at + TRUST);
        if !is_fresh && self.attempt.is_none() && self.link.accepts_batches() {
            self.renewal.at = Some(now);
        }
        is_fresh
    }

    /// The pause before the next attempt: while this server holds the lease, it must not become silent.
    pub(super) fn pause_for_lease(&self, pause: Duration) -> Duration {
        match self.lease_state() {
            LeaseState::Held { .. } => pause.min(RENEW_EVERY),
            _ => pause,
        }
    }

    fn lease_state(&self) -> LeaseState {
        self.linked.as_ref().map(|linked| linked.sink.lease()).unwrap_or_default()
    }

    /// Reports what has become known of the lease.
    pub(super) fn report_lease(&mut self) {
        let lease = self.lease_state();
        if lease != self.renewal.reported {
            self.renewal.reported.clone_from(&lease);
            self.outbox.push(Report::Lease(lease));
        }
    }
}
