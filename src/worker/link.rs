//! The state of the link to MongoDB, and when to try it again.

use crate::core::delivery::backoff::Backoff;
use crate::core::delivery::batch::Link;
use crate::sink::LinkError;

/// The link's state. Each change is reported once.
#[derive(Debug)]
pub struct LinkState {
    state: Link,
    failures: u32,
    /// True if the last failure was permanent, or the lease of another server.
    permanent: bool,
    /// True while another server holds the lease.
    is_waiting: bool,
    /// Number of failures of a link that seemed to work, since the last acknowledged batch.
    relapses: u32,
}

/// After this many relapses, a link that seems to work again is no longer tried at once, but after
/// the usual pause.
const MAX_RELAPSES: u32 = 3;
/// Pause between two looks at the lease of another server, milliseconds.
const WAIT_MS: u64 = 1000;

impl LinkState {
    /// The initial state: nothing needs the link yet.
    pub fn idle() -> Self {
        LinkState {
            state: Link::Idle,
            failures: 0,
            permanent: false,
            is_waiting: false,
            relapses: 0,
        }
    }

    /// Nothing needs the link any more. Returns the change of state, if it is one.
    pub fn become_idle(&mut self) -> Option<Link> {
        self.reset();
        self.change(Link::Idle)
    }

    /// True until the link is needed and the first attempt has ended.
    pub fn is_idle(&self) -> bool {
        self.state == Link::Idle
    }

    /// Counts a relapse: a batch failed on a link that was up, or a ping failed although a server
    /// accepts writes.
    pub fn relapsed(&mut self) {
        self.relapses = self.relapses.saturating_add(1);
    }

    /// True if the link should be tried at once when a server accepts writes again.
    pub fn may_retry_at_once(&self) -> bool {
        !self.accepts_batches() && !self.permanent && self.relapses < MAX_RELAPSES
    }

    /// Why the link is down, if it is.
    pub fn error(&self) -> Option<&str> {
        match &self.state {
            Link::Down { error } => Some(error),
            Link::Idle | Link::Up => None,
        }
    }

    /// True if batches may be sent.
    pub fn accepts_batches(&self) -> bool {
        self.error().is_none()
    }

    /// True while another server holds the lease: that a batch was answered changes nothing.
    pub fn is_waiting(&self) -> bool {
        self.is_waiting
    }

    /// A server has replied. Returns the change of state, if it is one.
    pub fn answered(&mut self) -> Option<Link> {
        self.is_waiting = false;
        self.change(Link::Up)
    }

    /// A batch was acknowledged: earlier failures no longer count, and pauses start short again. A
    /// reply to a ping does not reset them: on some links pings succeed and every write fails.
    pub fn acknowledged(&mut self) -> Option<Link> {
        (self.failures, self.relapses) = (0, 0);
        self.change(Link::Up)
    }

    /// The link failed. Returns the change of state, if it is one, and the pause before the next
    /// attempt, milliseconds.
    pub fn failed(
        &mut self,
        why: &LinkError,
        backoff: Backoff,
        random: u64,
    ) -> (Option<Link>, u64) {
        self.failures = self.failures.saturating_add(1);
        self.permanent = why.permanent || why.waits;
        self.is_waiting = why.waits;
        let pause_ms = match (why.waits, why.permanent) {
            (true, _) => WAIT_MS,
            (false, true) => backoff.slow_delay_ms(random),
            (false, false) => backoff.delay_ms(self.failures, random),
        };
        (self.change(Link::Down { error: why.error.clone() }), pause_ms)
    }

    /// Updates the reason for which the link is down. Returns the change of state, if it is one.
    pub fn update_reason(&mut self, why: &LinkError) -> Option<Link> {
        if self.accepts_batches() || self.permanent {
            return None;
        }
        self.change(Link::Down { error: why.error.clone() })
    }

    /// The settings have another deployment: failures of the old one do not count.
    pub fn reset(&mut self) {
        (self.failures, self.relapses, self.permanent) = (0, 0, false);
        self.is_waiting = false;
    }

    fn change(&mut self, state: Link) -> Option<Link> {
        (self.state != state).then(|| {
            self.state.clone_from(&state);
            state
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BACKOFF: Backoff = Backoff { min_ms: 100, max_ms: 1000 };
    const LONGEST: u64 = 99;

    #[test]
    fn only_changes_are_reported() {
        let mut link = LinkState::idle();
        assert_eq!(link.answered(), Some(Link::Up));
        assert_eq!(link.acknowledged(), None);
        let down = |error: &str| Some(Link::Down { error: error.to_owned() });
        assert_eq!(link.failed(&LinkError::transient("away"), BACKOFF, 0).0, down("away"));
        assert_eq!(link.failed(&LinkError::transient("away"), BACKOFF, 0).0, None);
        assert_eq!(
            link.failed(&LinkError::transient("no primary"), BACKOFF, 0).0,
            down("no primary")
        );
        assert_eq!(link.answered(), Some(Link::Up));
    }

    #[test]
    fn an_idle_link_accepts_batches_and_a_broken_one_does_not() {
        let mut link = LinkState::idle();
        assert!(link.accepts_batches());
        link.failed(&LinkError::transient("away"), BACKOFF, 0);
        assert!(!link.accepts_batches());
        assert_eq!(link.error(), Some("away"));
    }

    #[test]
    fn pauses_grow_despite_successful_pings_until_a_batch_is_acknowledged() {
        let mut link = LinkState::idle();
        assert_eq!(link.failed(&LinkError::transient("a"), BACKOFF, LONGEST).1, 100);
        link.answered();
        assert!(link.failed(&LinkError::transient("a"), BACKOFF, 199).1 > 100);
        link.acknowledged();
        assert_eq!(link.failed(&LinkError::transient("a"), BACKOFF, LONGEST).1, 100);
    }

    #[test]
    fn a_permanent_failure_is_retried_rarely() {
        let mut link = LinkState::idle();
        assert!(link.failed(&LinkError::permanent("password"), BACKOFF, 0).1 >= 500);
        assert!(!link.may_retry_at_once());
    }

    #[test]
    fn the_lease_of_another_server_is_looked_at_every_second() {
        let mut link = LinkState::idle();
        let waits = LinkError { waits: true, ..LinkError::transient("another holds it") };
        for _ in 0..20 {
            assert_eq!(link.failed(&waits, BACKOFF, 0).1, 1000);
        }
        assert!(!link.may_retry_at_once());
    }

    #[test]
    fn a_server_that_is_up_again_is_tried_at_once_until_it_has_failed_too_often() {
        let mut link = LinkState::idle();
        link.answered();
        for _ in 0..3 {
            assert!(!link.may_retry_at_once(), "it is up");
            link.failed(&LinkError::transient("cut"), BACKOFF, 0);
            assert!(link.may_retry_at_once());
            link.relapsed();
            link.answered();
        }
        link.failed(&LinkError::transient("cut"), BACKOFF, 0);
        assert!(!link.may_retry_at_once());
        link.acknowledged();
        link.failed(&LinkError::transient("cut"), BACKOFF, 0);
        assert!(link.may_retry_at_once());
    }

    #[test]
    fn a_newer_reason_replaces_a_transient_one() {
        let mut link = LinkState::idle();
        link.answered();
        assert_eq!(link.update_reason(&LinkError::transient("refused")), None, "it is up");
        link.failed(&LinkError::transient("cut"), BACKOFF, 0);
        let refused = Some(Link::Down { error: "refused".to_owned() });
        assert_eq!(link.update_reason(&LinkError::transient("refused")), refused);
        assert_eq!(link.update_reason(&LinkError::transient("refused")), None);
        link.failed(&LinkError::permanent("password"), BACKOFF, 0);
        assert_eq!(link.update_reason(&LinkError::transient("refused")), None);
    }

    #[test]
    fn a_link_that_is_not_needed_any_more_is_idle() {
        let mut link = LinkState::idle();
        link.failed(&LinkError::permanent("password"), BACKOFF, 0);
        assert_eq!(link.become_idle(), Some(Link::Idle));
        assert_eq!(link.become_idle(), None);
        assert!(link.accepts_batches() && link.is_idle());
    }
}
